"""Chunks tile the product; a pixel's place and its being inside do not depend on the cut."""

import numpy as np
import shapely
import shapely.affinity
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from cloudfree.core.config import GridSettings
from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.grid import (
    GridPlan,
    origin_px,
    pixels_inside,
    plan_grid,
    widen_to_pixels,
)

SIDE = 256


def star(seed: int, reach: float) -> shapely.Polygon:
    """Return a ragged polygon around (0, 0)."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radius = reach * rng.uniform(0.2, 1.0, 12)
    return shapely.Polygon(np.c_[radius * np.cos(angle), radius * np.sin(angle)])


def place(shape: shapely.Geometry, x: float, y: float) -> shapely.Geometry:
    return shapely.affinity.translate(shape, x, y)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 9999),
    reach=st.floats(0.0005, 0.06),
    longitude=st.floats(-179, 179),
    latitude=st.floats(-75, 75),
    resolution=st.sampled_from([10.0, 20.0, 60.0]),
)
def test_edges_lie_on_60_m_and_chunks_tile_the_area(
    seed: int, reach: float, longitude: float, latitude: float, resolution: float
) -> None:
    aoi = Aoi(geometry=place(star(seed, reach), longitude, latitude))
    plan = plan_grid(aoi, GridSettings(resolution_m=resolution, chunk_px=SIDE), halo=0)
    bounds = plan.geobox.boundingbox.bbox
    assert [edge % 60 for edge in bounds] == [0, 0, 0, 0]
    assert shapely.box(*bounds).covers(plan.area)
    count = np.zeros(plan.geobox.shape, np.uint8)
    for chunk in plan.chunks():
        assert (chunk.y.start, chunk.x.start) == (chunk.row * SIDE, chunk.col * SIDE)
        assert chunk.geobox == plan.geobox[chunk.y, chunk.x]
        count[chunk.y, chunk.x] += 1
    assert count.max() == 1
    assert count[pixels_inside(plan.area, plan.geobox)].all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    left=st.integers(-5000, 5000),
    top=st.integers(-5000, 5000),
    y=st.tuples(st.integers(0, 60), st.integers(1, 60)),
    x=st.tuples(st.integers(0, 80), st.integers(1, 60)),
)
def test_a_block_agrees_with_the_whole(
    seed: int, left: int, top: int, y: tuple[int, int], x: tuple[int, int]
) -> None:
    whole = GeoBox((120, 140), Affine(10, 0, left * 10, 0, -10, top * 10), "EPSG:32611")
    block = whole[y[0] : y[0] + y[1], x[0] : x[0] + x[1]]
    assert origin_px(whole) == (-top, left)
    assert origin_px(block) == (-top + y[0], left + x[0])
    area = place(star(seed, 900), left * 10 + 700, top * 10 - 600)
    expected = pixels_inside(area, whole)[y[0] : y[0] + y[1], x[0] : x[0] + x[1]]
    np.testing.assert_array_equal(pixels_inside(area, block), expected)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    halo=st.integers(0, 40),
)
def test_chunks_of_any_size_of_product_are_whole_but_the_last(
    height: int, width: int, halo: int
) -> None:
    geobox = GeoBox((height, width), Affine(10, 0, -600, 0, -10, 1200), "EPSG:32611")
    plan = GridPlan(
        geobox=geobox, area=shapely.box(*geobox.boundingbox.bbox), chunk_px=SIDE, halo_px=halo
    )
    chunks = list(plan.chunks())
    assert sum(chunk.pixels for chunk in chunks) == height * width
    for chunk in chunks:
        assert chunk.geobox.shape == (
            min(SIDE, height - chunk.row * SIDE),
            min(SIDE, width - chunk.col * SIDE),
        )
        assert origin_px(plan.haloed(chunk)) == (
            origin_px(geobox)[0] + chunk.y.start - halo,
            origin_px(geobox)[1] + chunk.x.start - halo,
        )


@settings(max_examples=80, deadline=None)
@given(
    length=st.floats(0.001, 40),
    width=st.floats(0.001, 1.3),
    turn=st.floats(0, 180),
    x=st.floats(-5000, 5000),
    y=st.floats(-5000, 5000),
    resolution=st.sampled_from([7.0, 10.0, 60.0]),
)
def test_no_part_of_an_area_is_lost_between_the_centres(
    length: float, width: float, turn: float, x: float, y: float, resolution: float
) -> None:
    """What is narrow is the pixels that it touches, by more than its outermost millimetre."""
    sides = np.array([length, width]) * resolution
    strip = shapely.affinity.rotate(shapely.box(x, y, *(np.array([x, y]) + sides)), turn)
    widened = widen_to_pixels(strip, resolution)
    west, south, east, north = (int(edge // resolution) for edge in strip.bounds)
    cols, rows = np.arange(west - 1, east + 2), np.arange(south - 1, north + 2)
    left, low = (axis.ravel() * resolution for axis in np.meshgrid(cols, rows))
    pixels = shapely.box(left, low, left + resolution, low + resolution)
    inside = shapely.contains_xy(widened, left + resolution / 2, low + resolution / 2)
    assert inside.any()
    assert shapely.intersects(strip, pixels)[inside].all()
    assert inside[shapely.intersects(strip.buffer(-2e-3), pixels)].all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    reach=st.floats(0.001, 3),
    x=st.floats(-50, 50),
    y=st.floats(-50, 50),
)
def test_an_area_however_small_holds_a_pixel(seed: int, reach: float, x: float, y: float) -> None:
    """In pixels: what is left as it is has a centre inside."""
    area = widen_to_pixels(place(star(seed, reach), x, y), 1.0)
    box = GeoBox((120, 130), Affine(1, 0, -65, 0, -1, 60), "EPSG:32611")
    assert pixels_inside(area, box).any()
