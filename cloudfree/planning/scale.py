"""What a grid's metres are worth on the ground, and what to do where they are not metres."""

from __future__ import annotations

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
    if max(scale.largest_m2 - 1, 1 - scale.smallest_m2) <= TOLERANCE:
        return [f"{said}; areas counted in them are right"]
    counted = grid.area.area / to_equal_area(aoi.geometry).area - 1
    worst = max((1 / scale.smallest_m2 - 1, 1 / scale.largest_m2 - 1), key=abs)
    return [
        f"{said}; counted in them the area is {_percent(counted)}, its "
        f"worst part {_percent(worst)}. Give --crs {_cure(aoi)}"
    ]


def _cure(aoi: Aoi) -> str:
    """Return the first setting whose grid has areas that are right."""
    utm = choose_crs(aoi.geometry, UTM, {})
    return UTM if measure_scale(utm, aoi.geometry).is_true else EQUAL_AREA


def _percent(share: float) -> str:
    percent = 100 * abs(share)
    digits = f"{percent:.2g}" if percent < 10 else f"{percent:.0f}"
    return f"{digits} % too {'large' if share > 0 else 'small'}"
