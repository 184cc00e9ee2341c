"""A user's series is its own archive: what is hidden at one time was seen at others."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import NamedTuple

import dask.array
import numpy as np
import pytest
import xarray as xr

from cloudfree import restore_cube
from cloudfree.core.contract import Contract
from cloudfree.core.errors import RequestError
from cloudfree.core.types import Float32Array, Masks, OtherDaysPicture
from cloudfree.own_layers import Layers
from cloudfree.own_other_days import find_references
from cloudfree.restoration.bundle import open_bundle
from cloudfree.synthetic.landscape import Day, paint_days
from cloudfree.synthetic.seasons import look_on
from tests.gans import OF_OTHER_DAYS, write_tiny_gans

HEIGHT, WIDTH = 192, 256
DAYS = ("2024-05-20", "2024-05-30", "2024-06-09", "2024-06-14", "2024-06-29")
TARGET = 2


class Series(NamedTuple):
    """A place on five days, each under other clouds."""

    optical: xr.DataArray
    radar: xr.DataArray
    mask: xr.DataArray
    truth: np.ndarray
    """(time, band, y, x)."""


@pytest.fixture(scope="module")
def series() -> Series:
    rng = np.random.default_rng(11)
    days = [Day(look=look_on(dt.date.fromisoformat(day)), cloud_share=0.3) for day in DAYS]
    lands = list(paint_days(rng, (HEIGHT, WIDTH), days))
    haze = 1 + 0.04 * np.arange(len(DAYS))[:, None, None, None]
    truth = (np.stack([land.clear[:3] for land in lands]) * haze).astype(np.float32)
    hidden = np.zeros((len(DAYS), HEIGHT, WIDTH), bool)
    for day in range(len(DAYS)):  # a third, another on each day
        hidden[day, :, 40 * day : 40 * day + 85] = True
    times = xr.Variable("time", np.array(DAYS, "datetime64[ns]"))
    grid = {"y": 5_343_005 - 10.0 * np.arange(HEIGHT), "x": 613_025 + 10.0 * np.arange(WIDTH)}
    return Series(
        xr.DataArray(
            np.where(hidden[:, None], np.float32(0.6), truth),
            {"time": times, "band": ["B02", "B03", "B04"], **grid},
            ("time", "band", "y", "x"),
        ),
        xr.DataArray(10 * np.log10(lands[0].power[0]), grid, ("y", "x")),
        xr.DataArray(hidden, {"time": times, **grid}, ("time", "y", "x")),
        truth,
    )


def error(cube: xr.Dataset, series: Series) -> float:
    """Return the root mean square error under the target's cloud."""
    hidden = series.mask[TARGET].to_numpy()
    missed = (cube.reflectance.to_numpy() - series.truth[TARGET])[:, hidden]
    return float(np.sqrt(np.mean(missed**2)))


def test_what_other_days_saw_is_made_of_them(series: Series) -> None:
    optical, radar, mask, truth = series
    cube = restore_cube(optical, radar, mask, "baseline").isel(time=TARGET).load()
    alone = restore_cube(optical, radar, mask, "baseline", reference_days=0)
    alone = alone.isel(time=TARGET).load()
    hidden = mask[TARGET].to_numpy()
    assert (cube.source.to_numpy()[hidden] == 4).all()
    assert set(np.unique(alone.source.to_numpy()[hidden])) == {2}
    np.testing.assert_array_equal(
        cube.reflectance.to_numpy()[:, ~hidden], truth[TARGET][:, ~hidden]
    )
    assert error(cube, series) < 0.5 * error(alone, series)
    assert cube.source.attrs["flag_meanings"].split()[4] == "other_days"


@pytest.mark.parametrize("chunk_px", [64, 150])
def test_any_cutting_gives_the_same_bits(series: Series, chunk_px: int) -> None:
    optical, radar, mask, _ = series
    whole = restore_cube(optical, radar, mask, "baseline").isel(time=TARGET)
    cut = restore_cube(
        optical.chunk({"time": 1, "y": 70, "x": 90}), radar, mask, "baseline", chunk_px=chunk_px
    )
    xr.testing.assert_equal(whole.load(), cut.isel(time=TARGET).load())


def test_what_no_other_day_saw_is_left_to_radar(series: Series) -> None:
    optical, radar, mask, _ = series
    always = mask.copy()
    always[:, 60:90, 130:170] = True
    cube = restore_cube(optical, radar, always, "baseline").isel(time=TARGET).load()
    spot = cube.source.to_numpy()[60:90, 130:170]
    assert (spot == 2).all()
    assert (cube.source == 4).sum() > 10_000
    without = restore_cube(optical, radar * np.nan, always, "baseline").isel(time=TARGET).load()
    assert (without.source.to_numpy()[60:90, 130:170] == 3).all()
    np.testing.assert_array_equal(without.source == 4, cube.source == 4)


SPOT = np.s_[60:90, 5:35]
"""Hidden on every day, so that a model makes it."""


@pytest.fixture
def spotted(series: Series) -> Series:
    """The series with a spot that is always hidden; of the target only the left is."""
    mask = series.mask.copy()
    mask[TARGET] = mask.x < mask.x[40]
    mask[:, *SPOT] = True
    optical = series.optical.copy()
    optical[TARGET] = series.truth[TARGET]
    return series._replace(mask=mask, optical=optical)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a network that wants other days."""
    return str(write_tiny_gans(tmp_path_factory.mktemp("told"), inputs=OF_OTHER_DAYS))


@dataclass(frozen=True)
class Listener:
    """A model that answers with the mean of what it is told, and remembers it."""

    contract: Contract
    told: list[tuple[Float32Array, Masks, OtherDaysPicture]] = field(default_factory=list)

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        raise AssertionError("it was told nothing")

    def fuse(
        self,
        optical: Float32Array,
        radar: Float32Array,
        masks: Masks,
        other_days: OtherDaysPicture | None,
    ) -> Float32Array:
        assert other_days is not None
        self.told.append((optical, masks, other_days))
        mean = (other_days.picture - other_days.error[:, None]).mean(axis=(2, 3), keepdims=True)
        return np.broadcast_to(mean, optical.shape).astype(np.float32)


def test_a_model_that_wants_other_days_is_told_of_whole_windows_however_a_cube_is_cut(
    spotted: Series, bundle: str
) -> None:
    """What it is told of seen pixels is close to what was seen; nothing is known of the spot."""
    optical, radar, mask, _ = spotted
    whole, cut = (Listener(open_bundle(bundle).contract) for _ in range(2))
    cubes = [
        restore_cube(optical, radar, mask, model, chunk_px=chunk_px).isel(time=TARGET).load()
        for model, chunk_px in ((whole, 1024), (cut, 150))
    ]
    xr.testing.assert_equal(*cubes)
    assert (cubes[0].source.to_numpy()[SPOT] == 2).all()
    for picture, masks, told in (*whole.told, *cut.told):
        inside = masks.seen | masks.made
        assert told.known[masks.seen].mean() > 0.9
        assert not told.known[~inside].any()
        off = np.abs(told.picture - picture).mean(axis=1)[masks.seen & told.known]
        assert off.mean() < 0.1
        assert 0 < told.error[told.known].mean() < 0.2
        assert (told.picture.mean(axis=1)[~told.known] == -1).all()
    unknown = [np.count_nonzero(masks.made & ~told.known) for _, masks, told in whole.told]
    assert mask[TARGET, *SPOT].size <= max(unknown) < 3000


def test_what_other_days_say_around_changes_what_a_network_makes(
    spotted: Series, bundle: str
) -> None:
    optical, radar, mask, _ = spotted
    cube = restore_cube(optical, radar, mask, bundle).isel(time=TARGET).load()
    brighter = optical.copy()
    brighter[1, :, 60:90, 36:40] += 0.05
    other = restore_cube(brighter, radar, mask, bundle).isel(time=TARGET).load()
    changed = (cube.reflectance != other.reflectance).any("band").to_numpy()
    assert changed[SPOT].any()
    seen = ~mask[TARGET].to_numpy()
    assert not changed[seen].any()


def test_without_other_days_such_a_network_runs_too(series: Series, bundle: str) -> None:
    optical, radar, mask, _ = series
    cube = restore_cube(optical, radar, mask, bundle, reference_days=0).isel(time=TARGET).load()
    hidden = mask[TARGET].to_numpy()
    assert (cube.source.to_numpy()[hidden] == 2).all()
    assert np.isfinite(cube.reflectance.to_numpy()).all()


def test_a_time_that_shows_nothing_is_made_of_the_others(series: Series) -> None:
    optical, radar, mask, _ = series
    overcast = mask.copy()
    overcast[TARGET] = True
    cube = restore_cube(optical, radar, overcast, "baseline").isel(time=TARGET)
    with pytest.warns(UserWarning, match="radar makes nothing of it"):
        cube = cube.load()
    assert set(np.unique(cube.source)) == {4}
    missed = cube.reflectance.to_numpy() - series.truth[TARGET]
    assert np.sqrt(np.mean(missed**2)) < 0.05


def test_whole_numbers_are_made_too(series: Series) -> None:
    optical, radar, mask, _ = series
    numbers = (optical * 1e4).round().astype(np.uint16)
    cube = restore_cube(numbers, radar, mask, "baseline").isel(time=TARGET).load()
    floats = restore_cube(optical, radar, mask, "baseline").isel(time=TARGET).load()
    assert cube.reflectance.dtype == np.uint16
    np.testing.assert_allclose(cube.reflectance * 1e-4, floats.reflectance, atol=2.5e-4)


def test_only_so_many_times_near_enough_serve() -> None:
    times = np.arange("2024-01-01", "2024-12-31", 5, dtype="datetime64[D]").astype("datetime64[s]")
    layers = Layers(optical=None, radar=None, hidden=None, bands=(), origin=(0, 0), times=times)
    chosen, days = find_references(layers, 30, 75)
    assert sorted(chosen) == [*range(22, 30), *range(31, 39)]
    assert np.abs(days).tolist() == sorted(np.abs(days).tolist())
    assert set(days.tolist()) == {5 * k for k in range(-8, 9) if k}
    chosen, days = find_references(layers, 0, 12)
    assert (chosen, days.tolist()) == ([1, 2], [5, 10])
    assert find_references(layers, 30, 0)[0] == []


def test_blocks_stay_lazy_and_read_only_what_serves(series: Series) -> None:
    optical, radar, mask, _ = series
    later = optical.assign_coords(time=optical.time + np.timedelta64(200, "D"))
    long = xr.concat([optical, later], "time").chunk({"time": 1})
    masks = xr.concat([mask, mask.assign_coords(time=later.time)], "time")
    poisoned = long.copy(
        data=dask.array.concatenate(
            [long.data[:5], dask.array.map_blocks(refuse, long.data[5:], dtype=long.dtype)]
        )
    )
    cube = restore_cube(poisoned, radar, masks, "baseline").isel(time=TARGET)
    assert (cube.source.load() == 4).any()


def refuse(*_: object) -> None:
    raise AssertionError("a time out of reach was read")


def test_times_that_are_no_dates_are_refused(series: Series) -> None:
    optical, radar, mask, _ = series
    with pytest.raises(RequestError, match="the times of optical are int64; give dates"):
        restore_cube(
            optical.assign_coords(time=range(5)), radar, mask.drop_vars("time"), "baseline"
        )
    cube = restore_cube(optical.drop_vars("time"), radar, mask.drop_vars("time"), "baseline")
    assert not (cube.source.isel(time=TARGET).load() == 4).any()
