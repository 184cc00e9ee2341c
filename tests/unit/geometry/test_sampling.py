"""Nearest and bilinear pixels against pyproj, one pixel at a time."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from cloudfree.geometry.sampling import (
    Positions,
    locate,
    source_window,
    take_bilinear,
    take_nearest,
)

MERCATOR = Affine(
    10.000276825538094, 0, -13183742.225067396, 0, -10.000276825538094, 4017420.347023542
)
UTM = Affine(10, 0, 464640, 0, -10, 3773760)
WKT = {code: CRS(code).to_wkt() for code in ("EPSG:3395", "EPSG:32611", "EPSG:32612")}


def put(code: str, affine: Affine, row: int, col: int, height: int, width: int) -> GeoBox:
    """Return a block of a grid whose pixel (0, 0) lies at the affine's origin."""
    return GeoBox((height, width), affine @ Affine.translation(col, row), code)


def exactly(target: GeoBox, code: str, source: Affine) -> tuple[np.ndarray, np.ndarray]:
    """Return fractional source rows and columns of every pixel centre, by pyproj alone."""
    rows, cols = np.mgrid[: target.height, : target.width] + 0.5
    a = target.affine
    x, y = a.c + cols * a.a, a.f + rows * a.e
    u, v = Transformer.from_crs(str(target.crs), code, always_xy=True).transform(x, y)
    return (v - source.f) / source.e, (u - source.c) / source.a


def on_60_m(resolution: float, height: int, width: int) -> GeoBox:
    return put(
        "EPSG:32611", Affine(resolution, 0, 464640, 0, -resolution, 3773760), 0, 7, height, width
    )


GRIDS = {
    "mercator on utm": (put("EPSG:32611", UTM, 3, 40, 211, 317), "EPSG:3395", MERCATOR),
    "utm on mercator": (put("EPSG:3395", MERCATOR, 37, 5, 211, 317), "EPSG:32611", UTM),
    "next zone": (
        put("EPSG:32612", Affine(10, 0, 199980, 0, -10, 3700020), 5, 2, 120, 170),
        "EPSG:32611",
        Affine(20, 0, 699960, 0, -20, 3800040),
    ),
    "60 m": (on_60_m(60.0, 190, 240), "EPSG:3395", MERCATOR),
    "100 m": (on_60_m(100.0, 390, 440), "EPSG:3395", MERCATOR),
}


@pytest.mark.parametrize("grids", GRIDS)
def test_nearest_is_the_pixel_that_holds_the_exact_centre(grids: str) -> None:
    target, code, source = GRIDS[grids]
    rows, cols = exactly(target, code, source)
    found = locate(target, WKT[code], source)
    np.testing.assert_array_equal(np.floor(found.rows), np.floor(rows))
    np.testing.assert_array_equal(np.floor(found.cols), np.floor(cols))


@pytest.mark.parametrize("grids", GRIDS)
def test_fractions_are_those_of_the_exact_centre_but_for_a_ten_thousandth(grids: str) -> None:
    target, code, source = GRIDS[grids]
    rows, cols = exactly(target, code, source)
    found = locate(target, WKT[code], source)
    assert max(np.abs(found.rows - rows).max(), np.abs(found.cols - cols).max()) < 5e-4


def test_the_taken_value_is_that_of_the_exact_pixel() -> None:
    target = put("EPSG:32611", UTM, 20, 8, 61, 47)
    rows, cols = exactly(target, "EPSG:3395", MERCATOR)
    first = int(rows.min()) - 3, int(cols.min()) - 2
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 9999, (90, 80)).astype(np.uint16)
    expected = pixels[np.floor(rows).astype(int) - first[0], np.floor(cols).astype(int) - first[1]]
    positions = locate(target, WKT["EPSG:3395"], MERCATOR)
    np.testing.assert_array_equal(take_nearest(pixels, positions, first, 0), expected)


def test_grids_of_one_crs_need_no_transform() -> None:
    target = GeoBox((4, 6), Affine(10, 0, 464700, 0, -10, 3773700), "EPSG:32611")
    positions = locate(target, WKT["EPSG:32611"], Affine(20, 0, 464640, 0, -20, 3773760))
    assert (positions.rows.shape, positions.cols.shape) == ((4, 1), (1, 6))
    np.testing.assert_array_equal(positions.rows.ravel(), [3.25, 3.75, 4.25, 4.75])
    np.testing.assert_array_equal(positions.cols.ravel(), [3.25, 3.75, 4.25, 4.75, 5.25, 5.75])


def test_a_source_whose_rows_go_north_is_read_the_right_way_up() -> None:
    target = GeoBox((3, 4), Affine(10, 0, 464640, 0, -10, 3773760), "EPSG:32611")
    upward = Affine(10, 0, 464640, 0, 10, 3773730)
    positions = locate(target, WKT["EPSG:32611"], upward)
    pixels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(take_nearest(pixels, positions, (0, 0), -1), pixels[::-1])


def grid(rows: list[float], cols: list[float]) -> Positions:
    return Positions(rows=np.array(rows)[:, None], cols=np.array(cols)[None, :])


def full(positions: Positions) -> Positions:
    """Return the same positions for each pixel, as between grids that are not parallel."""
    rows, cols = np.broadcast_arrays(positions.rows, positions.cols)
    return Positions(rows=rows.copy(), cols=cols.copy())


def test_outside_of_the_source_nearest_gives_the_fill() -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 6]], np.uint16)
    positions = grid([9.99, 10.0, 11.999, 12.0], [4.5, 5.0, 7.99, 8.0])
    expected = [[7, 7, 7, 7], [7, 1, 3, 7], [7, 4, 6, 7], [7, 7, 7, 7]]
    for places in (positions, full(positions)):
        np.testing.assert_array_equal(take_nearest(pixels, places, (10, 5), 7), expected)


@pytest.mark.parametrize("spread", [False, True])
def test_outside_of_the_source_bilinear_gives_nan(spread: bool) -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    positions = grid([-9.0, -0.01, 0.01, 1.99, 2.0, 30.0], [-4.0, -0.4, 0.3, 2.9, 3.1])
    found = take_bilinear(pixels, full(positions) if spread else positions, (0, 0))
    outside = np.ones((6, 5), bool)
    outside[2:4, 2:4] = False
    np.testing.assert_array_equal(np.isnan(found), outside)


@pytest.mark.parametrize("spread", [False, True])
def test_bilinear_gives_a_plane_back_between_centres(spread: bool) -> None:
    y, x = np.mgrid[:9, :12] + 0.5
    pixels = (3 * y - 2 * x).astype(np.float32)
    positions = grid([0.5, 2.125, 7.75], [0.9, 3.25, 4.0, 11.5])
    found = take_bilinear(pixels, full(positions) if spread else positions, (0, 0))
    np.testing.assert_allclose(found, 3 * positions.rows - 2 * positions.cols, atol=1e-5)


@pytest.mark.parametrize("spread", [False, True])
def test_a_missing_neighbour_is_left_out(spread: bool) -> None:
    pixels = np.array([[1, 2, 3, 4], [5, np.nan, 7, 8], [9, 10, 11, 12]], np.float32)
    positions = grid([1.5], [0.9, 1.5, 2.1])
    found = take_bilinear(pixels, full(positions) if spread else positions, (0, 0))
    np.testing.assert_array_equal(found, [[5, np.nan, 7]])


def test_the_window_of_the_source_holds_every_position_and_its_margin() -> None:
    positions = grid([3.2, 7.9], [10.0, 12.4])
    assert source_window(positions, (50, 60), margin=1) == (slice(2, 9), slice(9, 14))
    assert source_window(positions, (8, 12), margin=3) == (slice(0, 8), slice(7, 12))


@pytest.mark.parametrize(
    "positions", [grid([-5, -2], [1, 2]), grid([1, 2], [22, 30]), grid([11.0, 12.5], [1, 2])]
)
def test_positions_beyond_the_source_touch_nothing(positions: Positions) -> None:
    assert source_window(positions, (10, 20), margin=1) is None


def test_a_block_lies_where_it_lies_in_the_whole_also_where_interpolation_hardly_does() -> None:
    resolution = 22.75
    left, top = 500_000, round(7_210_000 / resolution) * resolution
    whole = GeoBox((320, 900), Affine(resolution, 0, left, 0, -resolution, top), "EPSG:32632")
    degrees = Affine(1e-4, 0, 8.9, 0, -1e-4, 65.1)
    wkt = CRS("EPSG:4326").to_wkt()
    expected = locate(whole, wkt, degrees)
    for row in range(0, 320, 64):
        found = locate(whole[row : row + 64, 700:764], wkt, degrees)
        np.testing.assert_allclose(found.rows, expected.rows[row : row + 64, 700:764], atol=1e-8)
        np.testing.assert_allclose(found.cols, expected.cols[row : row + 64, 700:764], atol=1e-8)
