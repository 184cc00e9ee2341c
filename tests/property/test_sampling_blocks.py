"""Which pixel is taken does not depend on the block that was asked for."""

import numpy as np
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from cloudfree.geometry.sampling import locate, source_window, take_bilinear, take_nearest

MERCATOR = Affine(
    10.000276825538094, 0, -13183742.225067396, 0, -10.000276825538094, 4017420.347023542
)
WKT = CRS("EPSG:3395").to_wkt()
TO_MERCATOR = Transformer.from_crs("EPSG:32611", "EPSG:3395", always_xy=True)
HEIGHT, WIDTH = 530, 530
SOURCE = (np.random.default_rng(0).random((2300, 2400)) * 9999 + 1).astype(np.float32)

starts = st.integers(0, 400)
sizes = st.integers(1, 130)


def product(resolution: float) -> GeoBox:
    """Return a grid in UTM whose centre lies in the source."""
    left, top = 464640 + 60 * 7, 3773760 - 60 * 5
    return GeoBox((HEIGHT, WIDTH), Affine(resolution, 0, left, 0, -resolution, top), "EPSG:32611")


def place_source() -> Affine:
    """Return where the source lies: a part of the Mercator grid around the product."""
    x, y = TO_MERCATOR.transform(464640, 3773760)
    col, row = ~MERCATOR @ (x, y)
    return MERCATOR @ Affine.translation(int(col) - 200, int(row) - 200)


PLACE = place_source()


def take(target: GeoBox, method: str) -> np.ndarray:
    """Read like cube's reader: the touched part of a source, then its pixels."""
    positions = locate(target, WKT, PLACE)
    part = source_window(positions, SOURCE.shape, margin=1)
    assert part is not None
    pixels, corner = SOURCE[part], (part[0].start, part[1].start)
    if method == "nearest":
        return take_nearest(pixels, positions, corner, 0)
    return take_bilinear(pixels, positions, corner)


WHOLE = {
    (method, resolution): take(product(resolution), method)
    for method in ("nearest", "bilinear")
    for resolution in (10.0, 20.0, 30.0)
}


@settings(max_examples=60, deadline=None)
@given(row=starts, col=starts, height=sizes, width=sizes)
def test_nearest_is_exact_in_any_block(row: int, col: int, height: int, width: int) -> None:
    block = product(10.0)[row : row + height, col : col + width]
    a = block.affine
    y, x = np.mgrid[:height, :width] + 0.5
    cols, rows = ~PLACE @ TO_MERCATOR.transform(a.c + x * a.a, a.f + y * a.e)
    positions = locate(block, WKT, PLACE)
    np.testing.assert_array_equal(np.floor(positions.rows), np.floor(rows))
    np.testing.assert_array_equal(np.floor(positions.cols), np.floor(cols))


@settings(max_examples=80, deadline=None)
@given(
    row=starts,
    col=starts,
    height=sizes,
    width=sizes,
    method=st.sampled_from(["nearest", "bilinear"]),
    resolution=st.sampled_from([10.0, 20.0, 30.0]),
)
def test_a_block_has_the_bits_of_the_whole(
    row: int, col: int, height: int, width: int, method: str, resolution: float
) -> None:
    block = product(resolution)[row : row + height, col : col + width]
    expected = WHOLE[method, resolution][row : row + height, col : col + width]
    np.testing.assert_array_equal(take(block, method), expected)
