"""What a grid's metres are worth on the ground, and what to do where they are not metres."""

from __future__ import annotations

import math

import shapely
from odc.geo.crs import CRS
from shapely.geometry.base import BaseGeometry

from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.crs import EQUAL_AREA, UTM, choose_crs, name_crs
from cloudfree.geometry.grid import GridPlan, project_area
from cloudfree.geometry.ground import TOLERANCE, measure_scale

_MEASURED_IN = CRS("EPSG:6933")
"""Equal-area all over the globe, and a parallel of latitude is straight in it."""


def to_equal_area(geometry: BaseGeometry) -> BaseGeometry:
    """Return a longitude/latitude area as one whose planar area is that on the ground, in m2."""
    parts = [project_area(part, _MEASURED_IN) for part in shapely.get_parts(geometry)]
    return shapely.union_all(parts)


def warn_of_scale(grid: GridPlan, aoi: Aoi) -> list[str]:
    """Return a line where pixels are off by more than 1 % from what they say: how far, the cure."""
    scale = measure_scale(grid.crs, aoi.geometry)
    if scale.is_true:
        return []
    side = grid.resolution_m
    said = (
        f"pixels of {side:g} m in {name_crs(grid.crs)} measure {side * scale.shortest:.3g} to "
        f"{side * scale.longest:.3g} m on the ground"
    )
    worst = max((1 / scale.smallest_m2 - 1, 1 / scale.largest_m2 - 1), key=abs)
    if abs(worst) <= TOLERANCE:
        areas = "areas counted in them are right"
        least_uneven = scale.longest / scale.shortest
    else:
        counted = grid.area.area / to_equal_area(aoi.geometry).area - 1
        areas = f"counted in them the area is {_percent(counted)}, its worst part {_percent(worst)}"
        least_uneven = math.inf  # any grid with areas that are right is better
    return [f"{said}; {areas}{_cure(aoi, least_uneven)}"]


def _cure(aoi: Aoi, least_uneven: float) -> str:
    """Return what to give instead, if anything: a zone that is true, or equal areas.

    Equal areas are no cure where lengths there differ as much as ``least_uneven``, longest by
    shortest.
    """
    for name in (UTM, EQUAL_AREA):
        scale = measure_scale(choose_crs(aoi.geometry, name, {}), aoi.geometry)
        if scale.is_true or (name == EQUAL_AREA and scale.longest / scale.shortest < least_uneven):
            return f". Give --crs {name}"
    return ""


def _percent(share: float) -> str:
    percent = 100 * abs(share)
    digits = f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"
    return f"{digits} % too {'large' if share > 0 else 'small'}"
