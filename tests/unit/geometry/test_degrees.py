"""From any CRS to degrees, by the datum too; and numbers that are not what their CRS says."""

import pytest
import shapely
from pyproj import Geod, Transformer

from cloudfree.core.errors import AoiError
from cloudfree.geometry.degrees import find_way

PLACE = shapely.box(613_340, 5_340_720, 616_124, 5_342_856)
"""In UTM zone 32, around 10.54 E, 48.22 N."""


@pytest.mark.parametrize("crs", [None, "EPSG:4326", "OGC:CRS84", "EPSG:4979", 4326])
def test_degrees_stay_what_they_are_to_the_last_digit(crs: object) -> None:
    place = shapely.Point(10.123456789012345, 48.987654321098765)
    assert find_way(crs, "a.gpkg")(place, "a.gpkg") is place


@pytest.mark.parametrize(
    ("crs", "x", "y", "shift_m"),
    [
        ("EPSG:4314", 10.527229863625914, 48.2234702060996, 138),
        ("EPSG:4258", 10.526, 48.2225, 0),
        ("EPSG:4283", 149.1, -35.3, 0),
        ("EPSG:4267", -100.0, 40.0, 35),
    ],
)
def test_the_datum_counts(crs: str, x: float, y: float, shift_m: float) -> None:
    """Shifts of about this size are published for the places."""
    moved = find_way(crs, "a.gpkg")(shapely.Point(x, y), "a.gpkg")
    *_, metres = Geod(ellps="WGS84").inv(x, y, moved.x, moved.y)
    assert metres == pytest.approx(shift_m, rel=0.1, abs=2)


def test_edges_are_straight_in_the_crs_of_the_file() -> None:
    line = shapely.LineString([(200_000, 5_340_000), (800_000, 5_340_000)])
    moved = find_way("EPSG:32632", "a.shp")(line, "a.shp")
    middle = Transformer.from_crs(32632, 4326, always_xy=True).transform(499_500, 5_340_000)
    assert moved.distance(shapely.Point(middle)) < 1e-5  # a chord of degrees is 0.03 off
    assert len(moved.coords) == 601


@pytest.mark.parametrize(
    ("crs", "drawn", "hint"),
    [
        ("EPSG:32632", (613.34, 5340.72, 616.1, 5342.8), "in kilometres; give metres"),
        ("EPSG:32632", (10.5, 48.2, 10.6, 48.3), "in degrees; name the CRS EPSG:4326"),
        ("EPSG:31467", (5_350_000, 3_500_000, 5_351_000, 3_501_000), "give the easting first"),
        ("EPSG:2154", (6_860_000, 650_000, 6_861_000, 651_000), "give the easting first"),
    ],
)
def test_numbers_that_are_not_those_of_the_crs_say_what_they_are(
    crs: str, drawn: tuple[float, float, float, float], hint: str
) -> None:
    with pytest.raises(AoiError, match=hint) as caught:
        find_way(crs, "a.gpkg")(shapely.box(*drawn), "a.gpkg")
    assert "coordinates in a.gpkg reach from" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zone_may_be_used_far_beyond_its_edges() -> None:
    """All of Norway is drawn in zone 33."""
    bergen = shapely.Point(-32_000, 6_735_000)
    moved = find_way("EPSG:25833", "a.gpkg")(bergen, "a.gpkg")
    assert (moved.x, moved.y) == pytest.approx((5.3, 60.4), abs=0.1)


def test_a_datum_that_is_not_known_is_taken_and_said() -> None:
    own = find_way("+proj=utm +zone=32 +ellps=GRS80 +units=m", "a.shp")
    assert own.remarks == ("took the datum of unknown for WGS 84: it is not known",)
    known = find_way("EPSG:32632", "a.shp")
    assert known.remarks == ()
    assert own(PLACE, "a.shp").hausdorff_distance(known(PLACE, "a.shp")) < 1e-8


@pytest.mark.parametrize("crs", ["EPSG:99", "nowhere", object()])
def test_a_crs_that_is_not_known_is_refused(crs: object) -> None:
    with pytest.raises(AoiError, match=r"of a\.shp; name it like EPSG:32633") as caught:
        find_way(crs, "a.shp")
    assert "\n" not in str(caught.value)


def test_numbers_that_a_crs_cannot_place_are_refused() -> None:
    with pytest.raises(AoiError, match="cannot place"):
        find_way("EPSG:3035", "a.shp")(shapely.box(1e9, 1e9, 2e9, 2e9), "a.shp")
