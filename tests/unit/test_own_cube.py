"""A user's own cube: lazy, seen pixels exact, the same bits however it is cut, clear errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from cloudfree import restore_cube
from cloudfree.core.errors import RequestError
from cloudfree.restoration.bundle import open_bundle
from cloudfree.synthetic.landscape import paint_landscape

HEIGHT, WIDTH = 416, 544
BANDS = ["B02", "B03", "B04"]
Arrays = tuple[xr.DataArray, xr.DataArray, xr.DataArray]


@pytest.fixture(scope="module")
def scene() -> Arrays:
    """Reflectance (band, y, x), decibel of VV and VH, mask; with nodata and a gap in the radar."""
    land = paint_landscape(np.random.default_rng(5), (HEIGHT, WIDTH))
    grid = {
        "y": 5_343_005 - 10.0 * np.arange(HEIGHT),
        "x": 613_025 + 10.0 * np.arange(WIDTH),
    }
    optical = land.cloudy[:3].copy()
    optical[:, :60, :40] = np.nan
    decibel = 10 * np.log10(land.power)
    decibel[:, 300:, 480:] = np.nan
    hidden = np.isin(land.classes, (3, 8, 9, 10)).repeat(2, 0).repeat(2, 1)
    hidden[320:340, 490:530] = True
    return (
        xr.DataArray(
            optical,
            {"band": BANDS, **grid, "spatial_ref": 0},
            ("band", "y", "x"),
            attrs={"made_by": "a test"},
        ),
        xr.DataArray(decibel, {"polarization": ["VV", "VH"], **grid}, ("polarization", "y", "x")),
        xr.DataArray(hidden, grid, ("y", "x")),
    )


def as_numbers(optical: xr.DataArray) -> xr.DataArray:
    return (optical.fillna(0) * 1e4).round().astype(np.uint16)


def at(array: xr.DataArray, *moments: str) -> xr.DataArray:
    """Return an array once for each of some times."""
    times = np.array(moments, "datetime64[ns]")
    return xr.concat([array] * len(times), xr.Variable("time", times))


def refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("something was computed")


def test_nothing_is_read_before_it_is_computed(scene: Arrays) -> None:
    def poison(array: xr.DataArray) -> xr.DataArray:
        lazy = da.map_blocks(refuse, da.zeros(array.shape, chunks=100), dtype=array.dtype)
        return array.copy(data=lazy)

    with dask.config.set(scheduler=refuse):
        cube = restore_cube(*map(poison, scene), model="baseline")
    assert isinstance(cube.reflectance.data, da.Array)
    assert isinstance(cube.source.data, da.Array)
    assert cube.reflectance.shape == (3, HEIGHT, WIDTH)


def test_seen_pixels_are_exact_and_hidden_ones_made_or_nodata(scene: Arrays) -> None:
    optical, radar, mask = scene
    cube = restore_cube(*scene, model="baseline").load()
    made, source = cube.reflectance, cube.source
    xr.testing.assert_identical(made.where(~mask), optical.rename("reflectance").where(~mask))
    has_radar = radar.notnull().all("polarization")
    known = optical.notnull().all("band")
    assert (source == xr.where(mask, xr.where(has_radar, 2, 3), xr.where(known, 1, 0))).all()
    assert {0, 1, 2, 3} == set(np.unique(source))
    assert made.where(source == 3).isnull().all()
    assert ((made > 0) & (made < 1)).where(source == 2, True).all()
    assert made.dtype == optical.dtype
    assert made.attrs == optical.attrs


def test_what_is_made_is_nearer_to_the_ground_than_the_mean_colour(scene: Arrays) -> None:
    land = paint_landscape(np.random.default_rng(5), (HEIGHT, WIDTH))
    cube = restore_cube(*scene, model="baseline").load()
    truth = scene[0].copy(data=land.clear[:3])
    mean = cube.reflectance.where(cube.source == 1).mean(("y", "x"))
    error = [float((abs(one - truth)).where(cube.source == 2).mean()) for one in
             (cube.reflectance, mean)]  # fmt: skip
    assert error[0] < 0.8 * error[1]


def test_whole_numbers_give_the_same_picture_as_reflectance(scene: Arrays) -> None:
    optical, radar, mask = scene
    numbers = restore_cube(as_numbers(optical), radar, mask, model="baseline").load()
    floats = restore_cube(as_numbers(optical).where(optical.notnull()) * 1e-4, radar, mask,
                          model="baseline").load()  # fmt: skip
    assert numbers.reflectance.dtype == np.uint16
    xr.testing.assert_equal(numbers.source, floats.source)
    np.testing.assert_allclose(numbers.reflectance * 1e-4, floats.reflectance.fillna(0), atol=1e-9)


@pytest.mark.parametrize("model", ["baseline", "small"])
def test_any_cutting_gives_the_same_bits(scene: Arrays, model: str) -> None:
    mask = scene[2] & False
    mask[180:200, 190:210] = True  # few windows: networks are slow
    optical, radar = scene[:2]
    whole = restore_cube(optical, radar, mask, model).load()
    cut = restore_cube(
        optical.chunk(y=77, x=200), radar.chunk(y=130), mask.chunk(x=41), model, chunk_px=192
    )
    assert cut.source.data.numblocks == (3, 3)
    xr.testing.assert_identical(whole, cut.compute(scheduler="threads"))


class Ramp:
    """A model whose answer shows where its windows begin."""

    contract = open_bundle("baseline").contract

    def __call__(self, optical: Any, radar: Any, masks: Any) -> Any:
        ramp = np.linspace(-1, 1, self.contract.window_px, dtype=np.float32)
        return np.broadcast_to(ramp * ramp[:, None], optical.shape)


def test_windows_lie_where_the_coordinates_say(scene: Arrays) -> None:
    optical, radar, mask = scene
    stripes = xr.DataArray(np.where(np.arange(WIDTH) % 2, 0.1, 0.3), dims="x")
    few = optical.where(optical.isnull(), stripes).where(optical.x < optical.x[80])
    whole = restore_cube(few, radar, mask, Ramp()).load()
    assert (whole.source == 1).sum() > 1000  # of two values, so that any sample stretches alike
    part = {"y": slice(7, None), "x": slice(13, None)}
    cut = restore_cube(few.isel(part), radar.isel(part), mask.isel(part), Ramp()).load()
    far = {"y": slice(7, 240), "x": slice(210, None)}  # of seen pixels
    assert (whole.isel(far).source == 2).sum() > 1000
    xr.testing.assert_equal(whole.isel(far), cut.sel(x=whole.x[far["x"]], y=whole.y[far["y"]]))


def test_times_are_restored_each_for_itself(scene: Arrays) -> None:
    optical, radar, mask = scene
    days = xr.date_range("2024-06-01", periods=2, freq="D")
    twice = xr.concat([optical, optical * 0.5], xr.Variable("time", days))
    masks = xr.concat([mask, mask & False], xr.Variable("time", days))
    cube = restore_cube(twice, radar, masks, model="baseline", reference_days=0).load()
    assert cube.reflectance.dims == ("time", "band", "y", "x")
    alone = restore_cube(optical, radar, mask, model="baseline").load()
    xr.testing.assert_equal(cube.isel(time=0, drop=True), alone)
    xr.testing.assert_equal(cube.reflectance[1], twice[1])


def test_radar_and_mask_belong_to_the_picture_nearest_in_time(scene: Arrays) -> None:
    optical, radar, mask = scene
    series = at(optical, "2024-06-01T10:20", "2024-06-11T10:20", "2024-07-01T10:20")
    # not in order, one too many, and none near the last
    passes = at(radar, "2024-06-09T17:00", "2024-06-02T17:00", "2024-08-01T17:00")
    passes = passes + xr.DataArray([0.0, -3.0, 9.0], dims="time")
    hides = xr.DataArray([False, True, True], dims="time")
    masks = at(mask, "2024-07-01T10:25", "2024-06-01T10:18", "2024-06-11T10:20:31") & hides
    cube = restore_cube(series, passes, masks, model="baseline", reference_days=0).load()
    for step, level in ((0, -3.0), (1, 0.0)):
        alone = restore_cube(optical, radar + level, mask, model="baseline").load()
        xr.testing.assert_equal(cube.isel(time=step).drop_vars("time"), alone)
    assert not (cube.source[2] == 2).any()
    assert not (cube.source[2] == 3).any()  # its mask shows all of it
    late = restore_cube(
        series, passes, at(mask, *series.time.values.astype(str)), "baseline", reference_days=0
    )
    np.testing.assert_array_equal(late.source[2].to_numpy() == 3, mask)


@pytest.mark.parametrize("chunk_px", [128, 1024])
def test_a_picture_that_shows_nothing_is_left_as_it_is(scene: Arrays, chunk_px: int) -> None:
    optical, radar, mask = scene
    cube = restore_cube(optical, radar, mask | True, model="baseline", chunk_px=chunk_px)
    with pytest.warns(UserWarning, match="0 seen pixels in 6 windows .* radar makes nothing of it"):
        cube = cube.load()
    assert np.unique(cube.source).tolist() == [3]
    assert cube.reflectance.isnull().all()


def test_nothing_in_every_band_is_nodata_in_floats_too(scene: Arrays) -> None:
    optical, radar, mask = scene
    expected = restore_cube(optical, radar, mask, model="baseline").load()
    cube = restore_cube(optical.fillna(0), radar, mask, model="baseline").load()
    xr.testing.assert_equal(cube.source, expected.source)
    made = expected.source == 2
    xr.testing.assert_equal(cube.reflectance.where(made), expected.reflectance.where(made))


def test_dimensions_keep_their_order(scene: Arrays) -> None:
    optical, radar, mask = scene
    turned = restore_cube(optical.transpose("y", "x", "band"), radar.transpose("y", "x", ...),
                          mask.T, model="baseline")  # fmt: skip
    assert turned.reflectance.dims == ("y", "x", "band")
    xr.testing.assert_equal(
        turned.transpose("band", "y", "x").compute(),
        restore_cube(*scene, model="baseline").compute(),
    )


def test_a_picture_already_cut_out_under_cloud_is_filled(scene: Arrays) -> None:
    optical, radar, mask = scene
    cube = restore_cube(optical.where(~mask), radar, mask, model="baseline").load()
    assert cube.reflectance.notnull().all("band").where(cube.source == 2, True).all()


def test_nothing_under_the_mask_is_taken_for_thick_cloud(scene: Arrays) -> None:
    optical, radar, mask = (array.isel(y=slice(0, 200), x=slice(100, 300)) for array in scene)
    hole = mask & False
    hole[80:120, 90:130] = True
    nothing = restore_cube(optical.where(~hole), radar, hole, "small").load()
    cloud = restore_cube(optical.where(~hole, 3.0), radar, hole, "small").load()
    xr.testing.assert_identical(nothing, cloud)


def test_a_cube_smaller_than_a_window(scene: Arrays) -> None:
    small = [array.isel(y=slice(100, 190), x=slice(200, 300)) for array in scene]
    cube = restore_cube(*small, model="baseline").load()
    assert cube.sizes == {"band": 3, "y": 90, "x": 100}


Change = Callable[[xr.DataArray], Any]


def same(array: xr.DataArray) -> xr.DataArray:
    return array


@pytest.mark.parametrize(
    ("optical", "radar", "mask", "message"),
    [
        (lambda a: a.to_numpy(), same, same, "optical is a ndarray; give an xarray.DataArray"),
        (lambda a: a.rename(band="bands"), same, same, "optical has dimensions bands, y, x"),
        (same, lambda a: a.expand_dims("member").expand_dims("run"), same, "radar has dimensions"),
        (same, same, lambda a: a.astype(np.uint8), "mask is of type uint8; give bool"),
        (same, lambda a: a.fillna(0).astype(np.int16), same, "radar is of type int16"),
        (same, same, lambda a: a.isel(x=slice(1, None)), "mask lies on other x"),
        (same, lambda a: a.assign_coords(y=a.y + 5), same, "radar lies on other y"),
        (lambda a: a.drop_vars("y"), same, same, "has no coordinates y"),
        (lambda a: a.isel(y=slice(None, None, -1)),) * 3 + ("y does not fall evenly",),
        (lambda a: a.isel(x=[0, 1, 2, 4, 5]),) * 3 + ("x does not rise evenly",),
        (lambda a: a.isel(x=slice(0, None, 2)),) * 3 + ("y does not fall evenly by 20",),
        (lambda a: a.assign_coords(band=["B02", "B03", "B4"]), same, same, "are B02, B03, B4"),
        (lambda a: a.drop_vars("band"), same, same, "no coordinate band"),
        (same, lambda a: a.assign_coords(polarization=["hh", "hv"]), same, "takes VV or VH"),
        (lambda a: as_numbers(a).assign_attrs(nodata=65535), same, same, "says nodata 65535"),
        (lambda a: a.astype(complex), same, same, "optical is of type complex128"),
        (same, lambda a: xr.concat([a, a], "time"), same, "radar has 2 times and the"),
        (lambda a: a.to_dataset("band"), same, same, r"a Dataset; .* optical.to_array\('band'\)"),
        (lambda a: a.rio.write_crs(32632), lambda a: a.rio.write_crs(32633), same,
         "radar is in EPSG:32633 and the optical picture in EPSG:32632"),
        (lambda a: a.assign_attrs(crs="epsg:32632"), same, lambda a: a.assign_coords(epsg=32633),
         "mask is in EPSG:32633"),
        (lambda a: at(a, "2024-06-10"), lambda a: at(a, "2024-06-17"), same,
         "no time of radar lies within 6 days .*2024-06-17 to 2024-06-17, not 2024-06-10"),
        (lambda a: at(a, "2024-06-10"), same, lambda a: at(a, "2024-06-11"),
         "no time of mask lies within 15 minutes"),
        (lambda a: at(a, "2024-06-10"), lambda a: a.expand_dims(time=[1.0]), same,
         "the times of radar are float64; give dates"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(
    scene: Arrays, optical: Change, radar: Change, mask: Change, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        restore_cube(optical(scene[0]), radar(scene[1]), mask(scene[2]))
    assert "\n" not in str(caught.value)


def test_bands_that_a_model_does_not_restore_are_named(scene: Arrays) -> None:
    optical, radar, mask = scene
    with pytest.raises(RequestError, match="model small restores bands B04, B03, B02"):
        restore_cube(optical.isel(band=[0, 1]), radar, mask, model="small")


@pytest.mark.parametrize(
    ("optical", "radar", "message"),
    [
        (lambda a: a * 1e4, same, "half of the optical values are above 2"),
        (lambda a: a * 100, same, "half of the optical values are above 2"),
        (same, lambda a: 10 ** (a / 10), "they seem to be linear power"),
        (same, lambda a: a.where(a.x > a.x[2], -9999), "the radar is -9999 somewhere, .* give NaN"),
        (same, lambda a: a.fillna(-50), "% of the radar values are exactly -50, .*!= -50"),
        (same, lambda a: a.fillna(0), "% of the radar values are exactly 0, .*!= 0"),
        (lambda a: a.where(a.x > a.x[99], -0.0999), same, r"% of the optical .* exactly -0.0999"),
        (lambda a: a.where(a.x > a.x[99], -9.99), same, r"optical.where\(optical != -9.99\)$"),
        (lambda a: as_numbers(a).where(a.x > a.x[99], -999).astype(np.int16), same,
         r"exactly -999, .*optical.where\(optical != -999\) \* 1e-4"),
        (same, lambda a: (10 ** (a / 10)).where(a > a.min(), -1), "they seem to be linear power"),
    ],
)  # fmt: skip
def test_values_of_other_units_are_refused_when_they_are_seen(
    scene: Arrays, optical: Change, radar: Change, message: str
) -> None:
    cube = restore_cube(optical(scene[0]), radar(scene[1]), scene[2], model="baseline")
    with pytest.raises(RequestError, match=message):
        cube.source.compute()
