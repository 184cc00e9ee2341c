"""The product's grid: where its edges lie, how it is cut, what it refuses."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from cloudfree.core.config import GridSettings
from cloudfree.core.errors import AoiError, SettingsError
from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.grid import (
    GridPlan,
    halo_px,
    origin_px,
    pixels_inside,
    plan_grid,
    project_area,
    widen_to_pixels,
)

AREA = Aoi(geometry=shapely.box(-117.31, 33.91, -117.17, 33.98))


def plan(area: Aoi = AREA, halo: int = 300, **settings: object) -> GridPlan:
    return plan_grid(area, GridSettings(**settings), halo=halo)  # type: ignore[arg-type]


def test_a_product_covers_its_area_in_the_utm_zone_with_edges_on_60_m() -> None:
    grid = plan()
    assert grid.crs.epsg == 32611
    assert grid.resolution_m == 10.0
    bounds = grid.geobox.boundingbox.bbox
    assert all(edge % 60 == 0 for edge in bounds)
    box = shapely.box(*bounds)
    assert box.contains(grid.area)
    assert box.area < grid.area.envelope.buffer(60, join_style="mitre").area


def test_the_area_is_drawn_with_curved_edges() -> None:
    wide = Aoi(geometry=shapely.box(-119.0, 33.0, -115.0, 36.0))
    transformer = Transformer.from_crs("EPSG:4326", "EPSG:32611", always_xy=True)
    area = project_area(wide.geometry, CRS("EPSG:32611"))
    middle = shapely.Point(transformer.transform(-117.003, 36.0))
    assert area.exterior.distance(middle) < 1.0


@pytest.mark.parametrize(
    ("place", "epsg"),
    [((18.1, -34.0), 32734), ((-117.2, 34.0), 32611), ((179.5, -17.0), 32760)],
)
def test_the_zone_is_that_of_the_area(place: tuple[float, float], epsg: int) -> None:
    x, y = place
    area = Aoi(geometry=shapely.box(x, y, x + 0.02, y + 0.01))
    assert plan(area).crs.epsg == epsg


@pytest.mark.parametrize(("resolution", "snap"), [(20.0, 60), (60.0, 60), (7.0, 7), (100.0, 100)])
def test_other_resolutions_stay_on_their_own_lattice(resolution: float, snap: int) -> None:
    grid = plan(resolution_m=resolution)
    assert grid.resolution_m == resolution
    left, bottom, right, top = grid.geobox.boundingbox.bbox
    assert [edge % snap for edge in (left, bottom, right, top)] == [0, 0, 0, 0]
    assert shapely.box(left, bottom, right, top).contains(grid.area)


def test_a_chosen_crs_is_used() -> None:
    assert plan(crs="EPSG:3310").crs.epsg == 3310


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:4978", "EPSG:2229", "EPSG:999999", "somewhere", ""]
)
def test_a_crs_that_is_not_projected_in_metres_is_refused(crs: str) -> None:
    with pytest.raises(SettingsError, match="give utm") as caught:
        plan(crs=crs)
    assert "\n" not in str(caught.value)


def test_an_area_that_the_crs_cannot_draw_is_refused() -> None:
    area = Aoi(geometry=shapely.box(-27.5, 0.2, -27, 0.6))
    with pytest.raises(AoiError, match="choose another --crs, such as EPSG:6933"):
        plan(area, crs="EPSG:32611")
    assert plan(area, crs="EPSG:6933").crs.epsg == 6933


def test_a_hole_in_the_area_needs_no_chunk() -> None:
    ring = AREA.geometry.difference(AREA.geometry.buffer(-0.008))
    whole = list(plan(chunk_px=256).chunks())
    left = list(plan(Aoi(geometry=ring), chunk_px=256).chunks())
    assert {(c.row, c.col) for c in left} < {(c.row, c.col) for c in whole}


def test_a_chunk_reads_its_core_and_the_halo_around() -> None:
    grid = plan(chunk_px=256, halo=37)
    chunk = list(grid.chunks())[-1]
    haloed = grid.haloed(chunk)
    height, width = chunk.geobox.shape
    assert haloed.shape == (height + 74, width + 74)
    assert haloed[37 : 37 + height, 37 : 37 + width] == chunk.geobox
    assert chunk.pixels == height * width


def test_bytes_are_those_of_the_arrays_and_their_overviews() -> None:
    geobox = GeoBox((570, 1210), Affine(10, 0, 0, 0, -10, 0), "EPSG:32611")
    grid = GridPlan(geobox=geobox, area=shapely.box(0, -10, 10, 0), chunk_px=256, halo_px=0)
    assert grid.overview_factors == (2, 4)
    full, half, quarter = 570 * 1210, 285 * 605, 143 * 303
    assert grid.stored_bytes(12, 8) == full * 12 + (half + quarter) * 8
    assert grid.reduced(4).geobox.affine == Affine(40, 0, 0, 0, -40, 0)


def test_the_halo_adds_up() -> None:
    assert halo_px(window_px=256, reach_px=128, mask_px=10) == 128 + 255 + 10


@pytest.mark.parametrize(
    ("left", "top", "expected"),
    [
        (600_000, 4_000_020, (-400_002, 60_000)),
        (-120, 60, (-6, -12)),
        (-120, -60, (6, -12)),
        (0, 0, (0, 0)),
    ],
)
def test_the_first_pixel_is_counted_from_the_origin_of_the_crs(
    left: float, top: float, expected: tuple[int, int]
) -> None:
    geobox = GeoBox((5, 7), Affine(10, 0, left, 0, -10, top), "EPSG:32611")
    assert origin_px(geobox) == expected
    assert origin_px(geobox[2:, 3:]) == (expected[0] + 2, expected[1] + 3)


def test_a_pixel_is_inside_by_its_centre() -> None:
    geobox = GeoBox((4, 5), Affine(10, 0, 600_000, 0, -10, 40), "EPSG:32611")
    area = shapely.box(600_006, 12, 600_036, 34.9)
    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(pixels_inside(area, geobox), expected)


@pytest.mark.parametrize("pole", [90, -90])
def test_an_area_around_a_pole_is_whole(pole: int) -> None:
    rim = pole * 88 / 90
    cap = Aoi(geometry=shapely.box(-180, min(pole, rim), 180, max(pole, rim)))
    grid = plan(cap)
    assert grid.crs.epsg == (5041 if pole > 0 else 5042)
    radius_m = 2 * 111_694 * 0.994  # degrees of a meridian there, and the scale at the pole
    assert grid.area.area == pytest.approx(np.pi * radius_m**2, rel=1e-3)


def test_a_dot_between_the_centres_is_the_pixel_that_it_touches() -> None:
    dot = shapely.Point(600_012.5, 5_200_027.5).buffer(1e-3)
    assert widen_to_pixels(dot, 10.0).equals(shapely.box(600_010, 5_200_020, 600_020, 5_200_030))
    x, y = -117.300_004, 33.950_003
    grid = plan(Aoi(geometry=shapely.box(x, y, x + 1e-7, y + 1e-7)))
    assert pixels_inside(grid.area, grid.geobox).sum() == 1
    assert [chunk.pixels for chunk in grid.chunks()] == [36]  # edges lie on 60 m


def test_a_pixel_is_itself_within_rounding() -> None:
    pixel = shapely.box(600_010, 5_200_020, 600_020, 5_200_030)
    for noise in (-1e-8, 0, 1e-8):
        assert widen_to_pixels(pixel.buffer(noise, join_style="mitre"), 10.0).equals(pixel)


def test_a_corner_of_four_pixels_is_all_four() -> None:
    dot = shapely.Point(600_010, 5_200_020).buffer(0.01)
    assert widen_to_pixels(dot, 10.0).equals(shapely.box(600_000, 5_200_010, 600_020, 5_200_030))


def test_only_narrow_parts_become_pixels() -> None:
    wide = shapely.Polygon([(3, 4), (97, 12), (71, 88), (9, 64)])
    sliver = shapely.box(201, 3, 203, 38)
    assert widen_to_pixels(wide, 10.0) == wide
    both = widen_to_pixels(shapely.MultiPolygon([wide, sliver]), 10.0)
    assert both.equals(wide.union(shapely.box(200, 0, 210, 40)))


def test_a_ring_narrower_than_a_pixel_is_no_filled_area() -> None:
    ring = shapely.box(1, 1, 99, 79).exterior.buffer(0.5)
    widened = widen_to_pixels(ring, 10.0)
    assert widened.area == 100 * (10 * 8 - 8 * 6)
