"""Which model makes a scene's pixels: the one that was measured to be best on hidden seen ones."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from cloudfree.core.config import RadiometrySettings
from cloudfree.core.contract import Contract
from cloudfree.core.types import Float32Array, Masks
from cloudfree.pixels.observation import Observation
from cloudfree.restoration.auto import BASELINE, INPAINTING, Auto
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.inpainting import Inpainting
from cloudfree.restoration.restore import cut_windows
from cloudfree.restoration.smoothing import gaussian
from cloudfree.walk.makers import Choice, choose_maker
from cloudfree.walk.measure import PairStatistics, learn_pair

SIDE = 128
BANDS = ("B04", "B03")
CONTRACT = Contract(name="auto", version="1", network="auto", window_px=SIDE, stride_px=64)
SETTINGS = RadiometrySettings(low_percent=0, high_percent=100)


@dataclass(frozen=True)
class Knowing:
    """A network that knows the truth, up to noise: of each window by what its radar looks like."""

    truths: dict[bytes, Float32Array]
    noise: float
    contract: Contract = field(
        default_factory=lambda: replace(CONTRACT, name="knowing", network="gan", bands=BANDS)
    )

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        rng = np.random.default_rng(0)
        known = np.stack([self.truths[one.tobytes()] for one in radar])
        return np.clip(known + rng.normal(0, self.noise, known.shape), -1, 1).astype(np.float32)


def paint(seed: int, *, cloud: float, by_radar: float) -> Observation:
    """Return a window whose colour follows the radar as far as ``by_radar`` says."""
    rng = np.random.default_rng(seed)
    radar, texture, thickness = (
        gaussian(rng.standard_normal((SIDE, SIDE)), sigma) for sigma in (6.0, 6.0, 12.0)
    )
    radar, texture = radar / radar.std(), texture / texture.std()
    ground = 2000 + 300 * (by_radar * radar + (1 - by_radar) * texture)
    made = thickness > np.quantile(thickness, 1 - cloud) if cloud else np.zeros(radar.shape, bool)
    numbers = np.stack([ground, 0.5 * ground])
    return Observation(
        reflectance=np.where(made, 9000, np.clip(numbers, 1, None)).astype(np.uint16),
        masks=Masks(seen=~made, made=made),
        decibel=(-12 + 3 * radar[None]).astype(np.float32),
        optical_scene=np.ones(made.shape, np.uint16),
        radar_scene=np.ones(made.shape, np.uint16),
    )


def sample(count: int = 6, cloud: float = 0.3, by_radar: float = 0.5) -> list[Observation]:
    return [paint(seed, cloud=cloud, by_radar=by_radar) for seed in range(count)]


def auto(noise: float | None, looks: list[Observation]) -> Auto:
    """Return an auto whose network, if any, is as good as ``noise`` says on these windows."""
    baseline = Baseline(contract=replace(CONTRACT, name=BASELINE, network="baseline"))
    model = Auto(contract=CONTRACT, networks={}, baseline=baseline)
    if noise is None:
        return model
    ready = learn_pair(looks, model, BANDS, SETTINGS).pair(baseline, BANDS)
    truths = {}
    for look in looks:
        whole = (slice(None), slice(None))
        optical, radar, _ = cut_windows(look, [whole], ready)
        truths[radar[0].tobytes()] = optical[0]
    return replace(model, networks={"knowing": Knowing(truths, noise)})


def choose(looks: list[Observation], model: Auto) -> Choice:
    choice = learn_pair(looks, model, BANDS, SETTINGS).choice
    assert choice is not None
    return choice


def test_a_network_that_knows_better_makes_the_pixels() -> None:
    looks = sample()
    found = choose(looks, auto(0.05, looks))
    assert found.maker == "knowing"
    assert found.why.startswith("knowing is better than ")
    assert set(found.rmse) == {"knowing", BASELINE, INPAINTING}
    assert found.rmse["knowing"] == min(found.rmse.values())
    assert found.windows == 6
    assert found.pixels > 6 * 200


def test_a_network_that_is_not_clearly_better_does_not() -> None:
    looks = sample()
    fills = choose(looks, auto(None, looks)).rmse
    noises = np.linspace(0.0, 0.1, 12)
    gains = []
    for noise in noises:
        found = choose(looks, auto(float(noise), looks))
        gain = 20 * np.log10(min(fills.values()) / found.rmse["knowing"])
        gains.append(gain)
        assert (found.maker == "knowing") <= (gain >= 0.3)
        assert found.maker == "knowing" or gain < 1
    assert max(gains) > 1
    assert min(gains) < 0


def test_radar_serves_where_colour_follows_it() -> None:
    looks = sample(by_radar=1.0)
    found = choose(looks, auto(None, looks))
    assert found.maker == BASELINE
    assert found.rmse[BASELINE] < 0.5 * found.rmse[INPAINTING]


def test_radar_that_misleads_does_not_serve() -> None:
    looks = sample()
    model = auto(0.5, looks)  # as noisy as a regression that is wrong
    fitted = learn_pair(looks, model, BANDS, SETTINGS)
    spread = Inpainting(contract=CONTRACT, colour=(0.1, -0.1))
    found = choose_maker(
        looks,
        {
            BASELINE: fitted.pair(model.networks["knowing"], BANDS),
            INPAINTING: replace(fitted, learnt=[]).pair(spread, BANDS),
        },
    )
    assert found.rmse[INPAINTING] < found.rmse[BASELINE]
    assert found.maker == INPAINTING


def test_what_is_stated_is_the_error_of_hidden_pixels() -> None:
    looks = sample()
    assert choose(looks, auto(0.0, looks)).rmse["knowing"] < 1  # rounding
    found = choose(looks, auto(0.05, looks))
    statistics = learn_pair(looks, auto(None, looks), BANDS, SETTINGS).optical
    units = (np.array(statistics.high) - np.array(statistics.low)) / 2
    assert found.rmse["knowing"] == pytest.approx(0.05 * np.sqrt(np.mean(units**2)), rel=0.1)


def test_too_little_is_not_measured() -> None:
    for looks in (sample(2), sample(6, cloud=0.95)):
        found = choose(looks, auto(0.0, looks))
        assert (found.maker, found.rmse) == (BASELINE, {})
        assert np.isnan(found.smallest_rmse)


def test_without_clouds_of_its_own_a_scene_is_measured_under_drawn_ones() -> None:
    looks = sample(4, cloud=0.0)
    found = choose(looks, auto(0.0, looks))
    assert found.maker == "knowing"
    assert 0.2 < found.pixels / (4 * (SIDE - SIDE // 4) ** 2) < 0.6


def test_without_radar_it_is_the_inpainting() -> None:
    looks = [replace(one, decibel=np.full_like(one.decibel, np.nan)) for one in sample()]
    statistics = learn_pair(looks, auto(None, sample()), BANDS, SETTINGS)
    assert statistics.choice is not None
    assert statistics.choice.maker == INPAINTING
    assert statistics.choice.rmse[INPAINTING] > 0
    seen = np.concatenate([one.reflectance[:, one.masks.seen] for one in looks], axis=1)
    np.testing.assert_allclose(statistics.choice.colour, seen.mean(axis=1), rtol=1e-3)


def test_the_colour_is_the_optical_scenes_own_whatever_the_radar_covers() -> None:
    looks = sample()
    partly = []
    for one in looks:
        decibel = one.decibel.copy()
        decibel[:, :, : SIDE // 3] = np.nan
        partly.append(replace(one, decibel=decibel))
    assert choose(looks, auto(None, looks)).colour == choose(partly, auto(None, looks)).colour


def test_a_choice_goes_through_json_and_gives_its_model() -> None:
    looks = sample()
    model = auto(0.0, looks)
    statistics = learn_pair(looks, model, BANDS, SETTINGS)
    again = PairStatistics.from_json(statistics.as_json())
    assert again == statistics
    assert again.pair(model, BANDS).model is model.networks["knowing"]
    radar_only = learn_pair(sample(by_radar=1.0), auto(None, looks), BANDS, SETTINGS)
    fitted = radar_only.pair(model, BANDS).model
    assert isinstance(fitted, Baseline)
    assert fitted.coefficients


def test_a_network_of_other_bands_is_no_candidate() -> None:
    looks = sample()
    model = auto(0.0, looks)
    assert set(model.makers(BANDS, with_radar=True)) == {"knowing", BASELINE, INPAINTING}
    assert set(model.makers(("B04", "B08"), with_radar=True)) == {BASELINE, INPAINTING}
    assert set(model.makers(BANDS, with_radar=False)) == {INPAINTING}


def test_models_that_choose_nothing_keep_what_is_written_of_them() -> None:
    looks = sample()
    baseline = Baseline(contract=replace(CONTRACT, network="baseline"))
    assert "choice" not in learn_pair(looks, baseline, BANDS, SETTINGS).as_json()
