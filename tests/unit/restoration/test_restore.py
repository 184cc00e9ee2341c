"""Windows through a model: who owns them, what has no candidate, and that batches do not matter."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from cloudfree.core.contract import Channels, Contract
from cloudfree.core.types import Float32Array, Masks
from cloudfree.geometry.windows import Lattice, WindowChoice, choose_windows
from cloudfree.pixels.observation import Observation, OtherDays
from cloudfree.pixels.radiometry import OpticalStatistics, RadarStatistics
from cloudfree.restoration.baseline import N_FEATURES, Baseline
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.restore import PairModel, cut_other_days, restore_windows
from tests.gans import INPUTS, OF_OTHER_DAYS, write_tiny_gans

LATTICE = Lattice(window_px=32, stride_px=24)
HEIGHT, WIDTH = 104, 152
CONTRACT = Contract(name="m", version="1", network="x", window_px=32, stride_px=24)
OPTICAL = OpticalStatistics(low=(0.0, 500.0), high=(1000.0, 2500.0), seen_pixels=9999)
RADAR = RadarStatistics(mean_db=(-10.0,), std_db=(2.0,), pixels=9999)


@dataclass(frozen=True)
class Constant:
    """A model that answers with one value."""

    value: float
    contract: Contract = CONTRACT

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        return np.full_like(optical, self.value)


def pair(value: float) -> PairModel:
    return PairModel(model=Constant(value), optical=OPTICAL, radar=RADAR, bands=(0, 1))


@pytest.fixture
def observation() -> Observation:
    rng = np.random.default_rng(7)
    made = np.zeros((HEIGHT, WIDTH), bool)
    made[10:90, 20:140] = rng.random((80, 120)) < 0.7
    return Observation(
        reflectance=rng.integers(1, 3000, (2, HEIGHT, WIDTH)).astype(np.uint16),
        masks=Masks(seen=~made, made=made),
        decibel=rng.normal(-10, 2, (1, HEIGHT, WIDTH)).astype(np.float32),
        optical_scene=np.ones((HEIGHT, WIDTH), np.uint16),
        radar_scene=np.ones((HEIGHT, WIDTH), np.uint16),
    )


def everything() -> WindowChoice:
    y, x = np.meshgrid(LATTICE.starts(0, HEIGHT), LATTICE.starts(0, WIDTH), indexing="ij")
    return WindowChoice(rows=y.ravel(), cols=x.ravel(), skipped=0)


def restore(
    seen: Observation, pairs: dict[tuple[int, int], PairModel], batch_windows: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    return restore_windows(seen, everything(), pairs, lattice=LATTICE, batch_windows=batch_windows)


def test_windows_of_one_value_blend_to_that_value(observation: Observation) -> None:
    candidate, covered = restore(observation, {(1, 1): pair(0.5)})
    assert covered.all()
    np.testing.assert_allclose(candidate[0], 750, rtol=1e-5)
    np.testing.assert_allclose(candidate[1], 2000, rtol=1e-5)


def test_windows_not_chosen_leave_their_place_uncovered(observation: Observation) -> None:
    choice = WindowChoice(rows=np.array([24, 24]), cols=np.array([48, 72]), skipped=0)
    candidate, covered = restore_windows(
        observation, choice, {(1, 1): pair(0.5)}, lattice=LATTICE, batch_windows=9
    )
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[24:56, 48:104] = True
    np.testing.assert_array_equal(covered, expected)
    assert (candidate[:, ~expected] == 0).all()


def test_a_window_belongs_to_the_scenes_that_hold_most_of_it(observation: Observation) -> None:
    scenes = observation.optical_scene.copy()
    scenes[:, 64:] = 2
    radar = observation.radar_scene.copy()
    radar[60:] = 2
    seen = replace(observation, optical_scene=scenes, radar_scene=radar)
    pairs = {(i, j): pair(0.1 * i + 0.4 * j) for i in (1, 2) for j in (1, 2)}
    candidate, _ = restore(seen, pairs)
    picture = candidate[0] / 500 - 1
    for y, x, expected in ((5, 5, 0.5), (5, 145, 0.6), (100, 5, 0.9), (100, 145, 1.0)):
        assert picture[y, x] == pytest.approx(expected, abs=1e-5)
    # columns 48..79 hold scene 1 on 16 of 32 columns, columns 72.. none of it
    assert picture[5, 90] == pytest.approx(0.6, abs=1e-5)


def test_nodata_does_not_own_a_window(observation: Observation) -> None:
    scenes = np.zeros((HEIGHT, WIDTH), np.uint16)
    scenes[:, 0::8] = 2
    _, covered = restore(replace(observation, optical_scene=scenes), {(2, 1): pair(0.0)})
    assert covered.all()


def test_without_radar_there_is_no_candidate(observation: Observation) -> None:
    decibel = observation.decibel.copy()
    decibel[..., 70:] = np.nan
    scenes = np.where(np.isnan(decibel[0]), 0, 1).astype(np.uint16)
    seen = replace(observation, decibel=decibel, radar_scene=scenes)
    candidate, covered = restore(seen, {(1, 1): pair(0.5)})
    np.testing.assert_array_equal(covered, ~np.isnan(decibel[0]))
    assert np.isfinite(candidate).all()


def test_a_pixel_that_lacks_one_of_two_channels_has_no_candidate(observation: Observation) -> None:
    decibel = observation.decibel.repeat(2, axis=0)
    decibel[0, :20] = decibel[1, :, 70:] = np.nan
    seen = replace(observation, decibel=decibel)
    radar = RadarStatistics(mean_db=(-10.0, -17.0), std_db=(2.0, 2.0), pixels=9999)
    _, covered = restore(seen, {(1, 1): replace(pair(0.5), radar=radar)})
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[:20] = expected[:, 70:] = False
    np.testing.assert_array_equal(covered, expected)


def test_without_any_radar_no_model_is_asked(observation: Observation) -> None:
    nothing = replace(
        observation,
        decibel=np.full((1, HEIGHT, WIDTH), np.nan, np.float32),
        radar_scene=np.zeros((HEIGHT, WIDTH), np.uint16),
    )
    candidate, covered = restore(nothing, {})
    assert not covered.any()
    assert not candidate.any()


def test_scenes_that_were_not_measured_together_do_not_stop_the_others(
    observation: Observation,
) -> None:
    radar = observation.radar_scene.copy()
    radar[:, 80:] = 2
    _, covered = restore(replace(observation, radar_scene=radar), {(1, 1): pair(0.5)})
    assert covered[:, :70].all()


def baseline() -> PairModel:
    rng = np.random.default_rng(8)
    model = Baseline(contract=CONTRACT).fitted(rng.normal(0, 0.2, (2, N_FEATURES)).tolist())
    return PairModel(model=model, optical=OPTICAL, radar=RADAR, bands=(0, 1))


@pytest.mark.parametrize("batch_windows", [1, 2, 3, 7, 100])
def test_the_size_of_a_batch_does_not_change_a_bit(
    observation: Observation, batch_windows: int
) -> None:
    scenes = observation.optical_scene.copy()
    scenes[:, 90:] = 2
    seen = replace(observation, optical_scene=scenes)
    pairs = {(1, 1): baseline(), (2, 1): baseline()}
    one, covered = restore(seen, pairs, batch_windows=4)
    other, again = restore(seen, pairs, batch_windows=batch_windows)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(covered, again)


def test_a_part_with_a_window_around_has_the_bits_of_the_whole(observation: Observation) -> None:
    def run(y: slice, x: slice) -> np.ndarray:
        part = Observation(
            reflectance=observation.reflectance[:, y, x],
            masks=Masks(seen=observation.masks.seen[y, x], made=observation.masks.made[y, x]),
            decibel=observation.decibel[:, y, x],
            optical_scene=observation.optical_scene[y, x],
            radar_scene=observation.radar_scene[y, x],
        )
        shape = part.masks.made.shape
        choice = choose_windows(
            LATTICE,
            made=part.masks.made,
            core=(slice(0, shape[0]), slice(0, shape[1])),
            wanted=part.masks.made,
            origin=(-40 + y.start, 1000 + x.start),
            reach_px=4,
        )
        found, _ = restore_windows(
            part, choice, {(1, 1): baseline()}, lattice=LATTICE, batch_windows=4
        )
        return found

    whole = run(slice(0, HEIGHT), slice(0, WIDTH))
    part = run(slice(3, 99), slice(11, 150))
    core = (slice(34, 68), slice(42, 119))
    np.testing.assert_array_equal(part[:, 34 - 3 : 68 - 3, 42 - 11 : 119 - 11], whole[:, *core])
    assert whole[:, *core].any()


def tiny(folder: Path, inputs: tuple[str, ...]) -> PairModel:
    """A network with windows of 32 px on the two bands."""
    channels = Channels(bands=("B04", "B08"))
    write_tiny_gans(folder, channels=channels, inputs=inputs, stride_px=24)
    contract = folder / "model.toml"
    contract.write_text("window_px = 32\n" + contract.read_text())
    model = open_bundle(str(folder)).load()
    return PairModel(model=model, optical=OPTICAL, radar=RADAR, bands=(0, 1))


def with_other_days(observation: Observation) -> Observation:
    rng = np.random.default_rng(9)
    known = rng.random((HEIGHT, WIDTH)) < 0.8
    reflectance = rng.uniform(1, 3000, (2, HEIGHT, WIDTH)).astype(np.float32)
    error = rng.uniform(0, 300, (HEIGHT, WIDTH)).astype(np.float32)
    other_days = OtherDays(
        reflectance=np.where(known, reflectance, np.float32(0)),
        known=known,
        error=np.where(known, error, np.float32(np.nan)),
    )
    return replace(observation, other_days=other_days)


def test_other_days_are_cut_in_the_units_of_the_picture(
    observation: Observation, tmp_path: Path
) -> None:
    """The stretch of one band is 0 to 1000, of the other 500 to 2500: 1 is 750 numbers."""
    pair = replace(tiny(tmp_path, OF_OTHER_DAYS), bands=(1, 0))
    observation = with_other_days(observation)
    told = observation.other_days
    assert told is not None
    told.reflectance[:, 50, 60], told.known[50, 60], told.error[50, 60] = (250, 2000), True, 75
    told.reflectance[:, 51, 61], told.known[51, 61], told.error[51, 61] = (900, 9000), True, np.nan
    told.error[52, 62], told.known[52, 62] = 9000, True
    told.reflectance[:, 53, 63], told.known[53, 63], told.error[53, 63] = 0, False, np.nan
    part = (slice(40, 72), slice(55, 87))
    cut = cut_other_days(observation, [(slice(0, 32), slice(0, 32)), part], pair)
    assert cut is not None
    assert cut.picture.shape == (2, 2, 32, 32)
    assert (cut.picture.dtype, cut.error.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(cut.picture[1, :, 10, 5], (0.5, -0.5), rtol=1e-6)
    np.testing.assert_allclose(cut.picture[1, :, 11, 6], (1, 0.8), rtol=1e-6)
    np.testing.assert_array_equal(cut.picture[1, :, 13, 8], (-1, -1))
    here = [10, 11, 12, 13], [5, 6, 7, 8]
    np.testing.assert_allclose(cut.error[1][here], (0.1, 1, 1, 1), rtol=1e-6)
    np.testing.assert_array_equal(cut.known[1], told.known[part])


def test_only_a_model_that_wants_other_days_gets_them(
    observation: Observation, tmp_path: Path
) -> None:
    told = with_other_days(observation)
    old, new = (tiny(tmp_path / kind[1], kind) for kind in (INPUTS, OF_OTHER_DAYS))
    here = [(slice(0, 32), slice(8, 40))]
    assert cut_other_days(told, here, old) is None
    assert cut_other_days(observation, here, new) is None
    assert cut_other_days(told, here, new) is not None
    alone, _ = restore(observation, {(1, 1): old})
    np.testing.assert_array_equal(restore(told, {(1, 1): old})[0], alone)
    without, covered = restore(observation, {(1, 1): new})
    assert covered.all()
    assert (restore(told, {(1, 1): new})[0] != without).any()


@pytest.mark.parametrize("with_signs", [False, True])
def test_an_estimate_moves_only_the_windows_that_hold_it(
    observation: Observation, tmp_path: Path, with_signs: bool
) -> None:
    told, pair = with_other_days(observation), tiny(tmp_path, OF_OTHER_DAYS)
    others = told.other_days
    assert others is not None
    reflectance, known = others.reflectance.copy(), others.known.copy()
    reflectance[:, 50:54, 80:85] = 1700 - reflectance[:, 50:54, 80:85] / 2
    known[50:54, 80:85] = True
    changed = replace(told, other_days=replace(others, reflectance=reflectance, known=known))
    one, other = (
        restore_windows(
            seen, everything(), {(1, 1): pair}, lattice=LATTICE, batch_windows=3,
            with_signs=with_signs,
        )[0]
        for seen in (told, changed)
    )  # fmt: skip
    moved = (one != other).any(axis=0)
    holds = np.zeros((HEIGHT, WIDTH), bool)
    for row, col in zip(everything().rows, everything().cols, strict=True):
        if row < 54 and row + 32 > 50 and col < 85 and col + 32 > 80:
            holds[row : row + 32, col : col + 32] = True
    assert moved[50:54, 80:85].any()
    assert not moved[~holds].any()
    assert 0 < np.count_nonzero(~holds) < holds.size
    assert len(one) == (4 if with_signs else 2)
