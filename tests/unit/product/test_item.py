"""The outline of a product: the area, valid, and small enough for a catalog."""

from __future__ import annotations

import antimeridian
import numpy as np
import pytest
import shapely
from shapely.geometry import mapping

from cloudfree.geometry.aoi import read_aoi
from cloudfree.product.item import outline


def star(points: int, lon: float, lat: float) -> shapely.Polygon:
    """Return a coast: a round area whose edge goes in and out."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = 0.3 + 0.002 * np.sin(np.arange(points) * 2.4)
    return shapely.Polygon(
        np.column_stack([lon + radius * np.cos(angles), lat + radius * np.sin(angles)])
    )


def test_an_area_is_its_own_outline_counterclockwise() -> None:
    hole = [(11.2, 48.2), (11.3, 48.2), (11.3, 48.3)]
    area = shapely.Polygon([(11, 48), (11, 49), (12.5, 49), (12, 48)], [hole])
    found = outline(read_aoi(area))
    assert found.equals(area)
    assert isinstance(found, shapely.Polygon)
    assert found.exterior.is_ccw and not found.interiors[0].is_ccw


@pytest.mark.parametrize(
    "area",
    [
        star(20_000, 11.4, 48.1),
        shapely.union_all([star(3, 3 + x, 50 + y) for x in range(25) for y in range(25)]),
        star(5_000, 179.9, -16.2),
        star(5_000, 20, 89.8),
    ],
    ids=["coast", "many parts", "antimeridian", "pole"],
)
def test_a_huge_area_is_widened_a_little_and_no_more(area: shapely.Geometry) -> None:
    if area.bounds[3] > 90:
        area = area.intersection(shapely.box(-180, -90, 180, 90))
    known = read_aoi(area).geometry
    found = outline(read_aoi(area))
    assert shapely.get_num_coordinates(found) <= 1000
    assert found.is_valid
    assert found.covers(known)
    west, south, east, north = found.bounds
    assert -180 <= west < east <= 180 and -90 <= south < north <= 90
    if len(shapely.get_parts(known)) < 3:
        assert found.area < 1.05 * known.area
    box = antimeridian.bbox(mapping(found))
    assert (box[0] > box[2]) == (area.bounds[2] > 180)
    assert box[2] - box[0] < 26
