"""Which CRS an area gets."""

import numpy as np
import pytest
import shapely
from odc.geo.crs import CRS
from scipy import integrate

from cloudfree.core.errors import SettingsError
from cloudfree.geometry.aoi import cut_at_antimeridian
from cloudfree.geometry.crs import (
    choose_crs,
    describe_crs,
    find_middle,
    name_crs,
    zone_at,
    zones_of,
)

BERGEN = shapely.box(5.2, 60.3, 5.4, 60.4)
EDGE = shapely.box(11.95, 48.0, 12.1, 48.1)
USA = shapely.box(-125, 25, -67, 49)
ALASKA = shapely.MultiPolygon([shapely.box(-170, 51, -130, 71), shapely.box(172, 51, 180, 54)])


@pytest.mark.parametrize(
    ("place", "epsg"),
    [
        ((2.99, 60.3), 32631),
        ((3.0, 60.3), 32632),
        ((5.3, 55.99), 32631),
        ((5.3, 64.0), 32631),
        ((8.99, 78.0), 32631),
        ((9.0, 78.0), 32633),
        ((20.99, 78.0), 32633),
        ((21.0, 78.0), 32635),
        ((33.0, 78.0), 32637),
        ((41.99, 78.0), 32637),
        ((42.0, 78.0), 32638),
        ((-0.01, 78.0), 32630),
        ((9.0, 71.99), 32632),
        ((37.0, 0.0), 32637),
        ((37.0, -0.01), 32737),
        ((180.0, -17.0), 32701),
        ((-180.0, -17.0), 32701),
        ((179.99, -17.0), 32760),
        ((10.0, 84.01), 5041),
        ((10.0, -80.01), 5042),
    ],
)
def test_zones_are_those_of_mgrs(place: tuple[float, float], epsg: int) -> None:
    assert zone_at(*place) == epsg


def mean_place(west: float, south: float, east: float, north: float) -> tuple[float, float]:
    """Return where the mean of a box's places on the globe lies, each as large as the others."""
    heights = np.linspace(*np.sin(np.radians([south, north])), 2001)
    longitude, height = np.meshgrid(np.radians(np.linspace(west, east, 301)), heights)
    around = np.sqrt(1 - height**2)
    places = [around * np.cos(longitude), around * np.sin(longitude), height]
    x, y, z = (integrate.trapezoid(integrate.trapezoid(one)) for one in places)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


@pytest.mark.parametrize(
    "box",
    [
        (11, 47, 13, 49),
        (177, -19, 182, -16),
        (-130, 20, -60, 75),
        (10, -1, 10.001, 1),
        (11, 48, 11.0001, 48.0001),
    ],
)
def test_the_middle_is_the_mean_of_all_places(box: tuple[float, float, float, float]) -> None:
    area = cut_at_antimeridian(shapely.box(*box))
    assert find_middle(area) == pytest.approx(mean_place(*box), abs=2e-4)


def test_the_middle_is_where_the_mass_is() -> None:
    ring = shapely.box(0, 40, 10, 50).difference(shapely.box(5, 41, 9, 49))
    longitude, _ = find_middle(ring)
    assert longitude == pytest.approx((10 * 5 - 3.2 * 7) / 6.8, abs=0.05)
    assert find_middle(shapely.box(-180, 70, 180, 90))[1] == 90
    _, latitude = find_middle(shapely.box(0, 40, 1, 60))  # farther north degrees are shorter
    assert 49 < latitude < 49.9


@pytest.mark.parametrize(("area", "epsg"), [(USA, 32615), (ALASKA, 32605), (BERGEN, 32632)])
def test_a_wide_area_gets_the_zone_of_its_middle(area: shapely.Geometry, epsg: int) -> None:
    assert choose_crs(area, "UTM", {}).epsg == epsg


@pytest.mark.parametrize(
    ("scenes", "epsg"),
    [
        ({}, 32633),
        ({32632: 0.5}, 32632),
        ({32632: 0.5, 32633: 0.01}, 32633),
        ({32632: 0.2, 32634: 0.1}, 32632),
        ({32631: 0.2, 32632: 0.2}, 32631),
    ],
)
def test_the_zone_of_the_scenes_is_taken_where_none_lies_in_the_areas(
    scenes: dict[int, float], epsg: int
) -> None:
    assert choose_crs(EDGE, "utm", scenes).epsg == epsg
    assert choose_crs(EDGE, "utm", dict(reversed(scenes.items()))).epsg == epsg


def test_a_zone_in_which_a_wide_area_is_not_true_is_not_taken_for_a_scene_in_it() -> None:
    assert choose_crs(USA, "utm", {32611: 3.0}).epsg == 32615
    assert choose_crs(EDGE, "EPSG:3035", {32632: 1.0}).epsg == 3035


def test_an_equal_area_crs_has_its_middle_at_whole_5_degrees() -> None:
    crs = choose_crs(shapely.box(-76, -56, -66, -17), "equal-area", {})
    assert crs == CRS("+proj=laea +lat_0=-35 +lon_0=-70 +datum=WGS84 +units=m")
    assert crs == choose_crs(shapely.box(-72, -37, -70, -35), "Equal-Area", {})
    assert crs == CRS(name_crs(crs)) == CRS(describe_crs(crs)["proj:wkt2"])
    assert list(describe_crs(crs)) == ["proj:wkt2"]
    pole = choose_crs(shapely.box(30, -89.9, 60, -88), "equal-area", {})
    assert pole == CRS("+proj=laea +lat_0=-90 +lon_0=0 +datum=WGS84 +units=m")


def test_a_crs_with_a_code_goes_by_it() -> None:
    crs = CRS("EPSG:3035")
    assert (name_crs(crs), describe_crs(crs)) == ("EPSG:3035", {"proj:code": "EPSG:3035"})


def test_a_footprint_reaches_the_zones_that_it_touches() -> None:
    assert zones_of(shapely.box(11.4, -0.5, 12.6, 0.6)) == {32632, 32633, 32732, 32733}
    assert zones_of(shapely.box(4.7, 59.8, 5.9, 60.9)) == {32632}
    assert zones_of(shapely.box(4.7, 84.5, 5.9, 85)) == set()


@pytest.mark.parametrize("name", ["equal_area", "EPSG:4326", "+proj=laea +units=ft"])
def test_what_is_no_crs_in_metres_is_refused_with_what_can_be_given(name: str) -> None:
    with pytest.raises(SettingsError, match="give utm, equal-area or a code such as EPSG:32633"):
        choose_crs(EDGE, name, {})
