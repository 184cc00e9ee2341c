"""What metres of a CRS are on the ground, beside lengths and areas of geodesics."""

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from cloudfree.geometry.grid import project_area
from cloudfree.geometry.ground import measure_scale, pixel_sides_m

MERCATOR = "EPSG:3857"


def at(crs: str, longitude: float, latitude: float, height: int, width: int) -> GeoBox:
    """Return a geobox of 10 m whose first pixel lies near a place."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    affine = Affine(10, 0, round(x / 10) * 10, 0, -10, round(y / 10) * 10)
    return GeoBox((height, width), affine, crs)


def test_within_a_zone_metres_are_metres() -> None:
    scale = measure_scale(CRS("EPSG:32633"), shapely.box(12, 40, 18, 45))
    assert scale.is_true
    assert scale.longest == pytest.approx(1 / 0.9996, abs=1e-7)
    assert scale.smallest_pixel_m(10.0) == 10.0


def test_mercators_metres_shrink_to_the_north() -> None:
    """By the cosine of the latitude, on a sphere; the ellipsoid moves them by some thousandths."""
    scale = measure_scale(CRS(MERCATOR), shapely.box(10, 30, 11, 60))
    assert scale.shortest == pytest.approx(np.cos(np.radians(60)), rel=0.007)
    assert scale.longest == pytest.approx(np.cos(np.radians(30)), rel=0.007)
    assert scale.smallest_m2 == pytest.approx(0.25, rel=0.01)
    assert not scale.is_true
    assert 4.9 < scale.smallest_pixel_m(10.0) < 10 * scale.smallest_m2**0.5


def test_equal_areas_are_equal_and_shapes_are_not() -> None:
    scale = measure_scale(CRS("EPSG:6933"), shapely.box(-76, -56, -66, -17))
    assert scale.smallest_m2 == pytest.approx(1, abs=1e-6) == scale.largest_m2
    assert scale.longest == pytest.approx(1 / scale.shortest, rel=1e-6)
    assert 1.5 < scale.longest < 1.6
    assert not scale.is_true
    assert scale.smallest_pixel_m(10.0) == 10.0


def test_a_standard_parallel_inside_an_area_is_found() -> None:
    """CONUS Albers is true at 29.5 and 45.5 N, shortest across between them."""
    scale = measure_scale(CRS("EPSG:5070"), shapely.box(-125, 25, -67, 49))
    assert scale.shortest == pytest.approx(0.9876, abs=1e-3)
    assert scale.longest == pytest.approx(1.0125, abs=1e-3)


@pytest.mark.parametrize(
    ("crs", "area"),
    [
        ("EPSG:5041", shapely.box(-180, 84, 180, 90)),
        ("EPSG:6933", shapely.box(-180, -90, 180, 90)),
        ("EPSG:32760", shapely.MultiPolygon([shapely.box(179, -19, 180, -16),
                                             shapely.box(-180, -19, -179, -16)])),
    ],
)  # fmt: skip
def test_poles_and_the_antimeridian_are_places_like_others(
    crs: str, area: shapely.Geometry
) -> None:
    scale = measure_scale(CRS(crs), area)
    assert 0.99 < scale.smallest_m2 <= scale.largest_m2 < 1.013
    assert np.isfinite([scale.shortest, scale.longest]).all()


@pytest.mark.parametrize(("crs", "latitude"), [(MERCATOR, 65.0), (MERCATOR, -40.0)])
def test_sides_of_pixels_are_those_of_squares_as_large(crs: str, latitude: float) -> None:
    geobox = at(crs, 15.0, latitude, 150, 210)
    sides = pixel_sides_m(geobox)
    assert isinstance(sides, np.ndarray)
    assert sides.shape == (150, 210)
    whole = project_area(shapely.box(*geobox.geographic_extent.boundingbox.bbox), CRS("EPSG:6933"))
    assert (sides**2).sum() == pytest.approx(whole.area, rel=1e-3)


def test_a_side_is_the_nominal_one_in_a_zone_and_where_shapes_alone_are_off() -> None:
    assert pixel_sides_m(at("EPSG:32633", 12.0, 48.0, 300, 200)) == 10.0
    assert pixel_sides_m(at("EPSG:6933", -70.0, -50.0, 300, 200)) == 10.0


def test_a_pixels_side_does_not_depend_on_the_block() -> None:
    whole = at(MERCATOR, 15.0, 6.68, 400, 90)  # across the latitude at which 1 % is passed
    sides = pixel_sides_m(whole)
    assert isinstance(sides, np.ndarray)
    assert (sides == 10).any()
    assert (sides < 10).any()
    for rows in (slice(0, 130), slice(77, 141), slice(250, 400)):
        part = np.broadcast_to(pixel_sides_m(whole[rows, 11:70]), (rows.stop - rows.start, 59))
        np.testing.assert_array_equal(part, sides[rows, 11:70])
