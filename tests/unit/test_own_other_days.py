"""A user's series is its own archive: what is hidden at one time was seen at others."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import dask.array
import numpy as np
import pytest
import xarray as xr

from cloudfree import restore_cube
from cloudfree.core.errors import RequestError
from cloudfree.own_layers import Layers
from cloudfree.own_other_days import find_references
from cloudfree.synthetic.landscape import Day, paint_days
from cloudfree.synthetic.seasons import look_on

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
    np.testing.assert_allclose(cube.reflectance * 1e-4, floats.reflectance, atol=1.5e-4)


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
