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
from cloudfree.geometry.grid import GridPlan, origin_px, pixels_inside, plan_grid

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
