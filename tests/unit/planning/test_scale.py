"""What is said of a grid whose pixels are not what they say."""

import pytest
import shapely

from cloudfree.core.config import GridSettings
from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.grid import plan_grid
from cloudfree.planning.scale import to_equal_area, warn_of_scale

MUNICH = shapely.box(11.4, 48.0, 11.8, 48.3)
USA = shapely.box(-125, 25, -67, 49)


def warn(area: shapely.Geometry, crs: str) -> list[str]:
    aoi = Aoi(geometry=area)
    return warn_of_scale(plan_grid(aoi, GridSettings(crs=crs), halo=0), aoi)


@pytest.mark.parametrize(
    ("area", "crs"),
    [(MUNICH, "utm"), (MUNICH, "EPSG:3035"), (MUNICH, "equal-area"), (MUNICH, "EPSG:32633"),
     (shapely.box(0, 84.5, 20, 86), "utm"), (shapely.box(34, -4.7, 42, 5), "utm")],
)  # fmt: skip
def test_nothing_is_said_where_metres_are_metres(area: shapely.Geometry, crs: str) -> None:
    assert warn(area, crs) == []


def test_a_wide_area_is_told_how_far_pixels_are_off_and_what_to_give() -> None:
    assert warn(USA, "utm") == [
        "pixels of 10 m in EPSG:32615 measure 8.77 to 10 m on the ground; counted in them the "
        "area is 5.9 % too large, its worst part 30 % too large. Give --crs equal-area"
    ]
    (line,) = warn(USA, "equal-area")
    assert line.startswith("pixels of 10 m in +proj=laea +lat_0=40 +lon_0=-95 ")
    assert line.endswith("measure 9.68 to 10.3 m on the ground; areas counted in them are right")


def test_an_area_that_fits_a_zone_is_told_to_take_it() -> None:
    assert warn(MUNICH, "EPSG:3857") == [
        "pixels of 10 m in EPSG:3857 measure 6.64 to 6.7 m on the ground; counted in them the "
        "area is 124 % too large, its worst part 126 % too large. Give --crs utm"
    ]
    (other,) = warn(MUNICH, "EPSG:32637")
    assert other.endswith("Give --crs utm")


def test_right_areas_in_wrong_shapes_are_told_of_a_grid_with_truer_ones() -> None:
    patagonia = shapely.box(-76, -56, -66, -40)
    assert warn(MUNICH, "EPSG:6933") == [
        "pixels of 10 m in EPSG:6933 measure 7.69 to 13 m on the ground; areas counted in them are "
        "right. Give --crs utm"
    ]
    (line,) = warn(USA, "EPSG:6933")
    assert line.endswith("are right. Give --crs equal-area")
    (line,) = warn(USA, "EPSG:5070")
    assert line.endswith("measure 9.88 to 10.1 m on the ground; areas counted in them are right")
    (line,) = warn(patagonia, "EPSG:6933")
    assert line.endswith("are right. Give --crs utm")


def test_areas_are_those_on_the_ground() -> None:
    """A quarter of the northern hemisphere, and two halves at the antimeridian."""
    globe_m2 = 510_065_621_724_089
    assert to_equal_area(shapely.box(10, 0, 100, 90)).area == pytest.approx(globe_m2 / 8, rel=1e-6)
    halves = shapely.MultiPolygon([shapely.box(170, 0, 180, 90), shapely.box(-180, 0, -170, 90)])
    assert to_equal_area(halves).area == pytest.approx(globe_m2 / 36, rel=1e-6)
