"""Row 1 of the walk: the area of interest, from a file, a mapping or a geometry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import antimeridian
import numpy as np
import shapely
from shapely.geometry import LineString, MultiPolygon, Polygon, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from cloudfree.core.errors import AoiError
from cloudfree.geometry.degrees import find_way
from cloudfree.geometry.geojson import Shape, read_shapes
from cloudfree.geometry.vector_file import read_vector_file

_HALF_GLOBE = 180.0
"""Degrees of longitude."""
_DOUBTFUL = 1e-3
"""Share of a polygon that may be this way or that where it crosses itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aoi:
    """An area on the ground."""

    geometry: Polygon | MultiPolygon
    """In longitude and latitude (WGS 84); valid, not empty."""
    remarks: tuple[str, ...] = ()
    """What its reader took, left out or mended, that the user should know."""

    @property
    def geojson(self) -> dict[str, Any]:
        """The geometry as a GeoJSON mapping."""
        mapping: dict[str, Any] = json.loads(shapely.to_geojson(self.geometry))
        return mapping


class HasGeometry(Protocol):
    """What shows itself as GeoJSON, such as a GeoDataFrame; its ``crs`` counts where it has one."""

    @property
    def __geo_interface__(self) -> Any:
        """A GeoJSON mapping."""
        ...


Area: TypeAlias = Path | str | Mapping[str, Any] | BaseGeometry | HasGeometry
"""What read_aoi takes: a file of polygons, a GeoJSON mapping, or what has a __geo_interface__."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """All polygons of a source, joined."""

    geometry: Polygon | MultiPolygon
    """In longitude and latitude (WGS 84); valid; empty where the source holds none."""
    name: str
    """What messages call the source."""
    remarks: tuple[str, ...]
    """As of Aoi."""
    empty: int
    """How many features have no geometry."""


def read_aoi(area: Area) -> Aoi:
    """Return the area that the polygons of ``area`` cover.

    It is a file (GeoJSON, GeoPackage, Shapefile, KML and what else GDAL reads, one of them in a
    zip, WKT), a GeoJSON mapping, or anything with a ``__geo_interface__`` such as a shapely
    geometry or a GeoDataFrame. Coordinates are in the CRS that it names, else longitude and
    latitude. Several polygons are joined; where there is none, closed lines are taken for their
    insides. Raises AoiError, in one line, for anything else.
    """
    found = read_polygons(area)
    if found.geometry.is_empty:
        what = f", and {found.empty} that are empty or missing" if found.empty else ""
        raise AoiError(f"{found.name} holds no geometry{what}; give a polygon with an inside")
    return Aoi(geometry=found.geometry, remarks=found.remarks)


def read_polygons(area: Area) -> Polygons:
    """Return the polygons of what read_aoi takes; there may be none.

    Raises AoiError where it cannot be read, holds other geometries only, or polygons that have no
    one meaning.
    """
    shapes, name, remarks = _read_source(area)
    polygons, empty = _take_polygons(shapes, name, remarks)
    parts = [
        part
        for _, alike in groupby(polygons, key=lambda one: one.crs)
        for part in _place(list(alike), name, remarks)
    ]
    once = tuple(dict.fromkeys(remarks))
    return Polygons(geometry=_join(parts), name=name, remarks=once, empty=empty)


def _take_polygons(shapes: list[Shape], name: str, remarks: list[str]) -> tuple[list[Shape], int]:
    """Return the polygons among geometries, or closed lines as such; and how many are empty.

    What else there is, is said in ``remarks``; AoiError where there is nothing but that.
    """
    polygons: list[Shape] = []
    lines: list[Shape] = []
    others = Counter[str]()
    drawn = [one for one in shapes if one.geometry is not None and not one.geometry.is_empty]
    for part, crs in ((part, one.crs) for one in drawn for part in _simple_parts(one.geometry)):
        if isinstance(part, Polygon):
            polygons.append(Shape(part, crs))
        elif isinstance(part, LineString) and part.is_closed and len(part.coords) > 3:
            lines.append(Shape(Polygon(part), crs))
        else:
            others[part.geom_type] += 1
    if lines and not polygons:
        polygons = lines
        remarks.append(f"took closed lines of {name} for the polygons that they go round")
    elif lines:
        others["LineString"] += len(lines)
    if others and not polygons:
        raise AoiError(f"{name} holds {_count(others)}; give a Polygon or MultiPolygon")
    if others:
        remarks.append(f"left out {_count(others)} of {name}: an area is made of polygons")
    empty = len(shapes) - len(drawn)
    if empty and polygons:
        remarks.append(f"left out {empty} of the geometries of {name}: empty or missing")
    return polygons, empty


def _place(polygons: list[Shape], name: str, remarks: list[str]) -> list[BaseGeometry]:
    """Return polygons of one CRS in longitude and latitude, valid, all at once for speed.

    What is to be said of them goes to ``remarks``. Raises AoiError where their numbers can be no
    such place, or one has no one meaning.
    """
    drawn = shapely.GeometryCollection([one.geometry for one in polygons])
    if not np.isfinite(shapely.get_coordinates(drawn)).all():
        raise AoiError(f"the coordinates in {name} hold one that is no number; mend it")
    way = find_way(polygons[0].crs, name)
    remarks += [f"{name}: {said}" for said in way.remarks]
    placed = [cut_at_antimeridian(part) for part in shapely.get_parts(way(drawn, name))]
    for index, part in enumerate(placed):
        _check_degrees(part, name)
        if not part.is_valid:
            placed[index] = _mend(part, name)
            remarks.append(f"mended a polygon of {name}: {_explain(part)}")
    return placed


def _join(parts: list[BaseGeometry]) -> Polygon | MultiPolygon:
    """Return the union of polygons; what has no inside is left away."""
    joined = shapely.union_all(parts)
    if not isinstance(joined, Polygon | MultiPolygon):
        joined = MultiPolygon([p for p in shapely.get_parts(joined) if isinstance(p, Polygon)])
    return shapely.normalize(joined)


def _read_source(area: Area) -> tuple[list[Shape], str, list[str]]:
    """Return the geometries of an area, what messages call it, and what is to be said of it."""
    if isinstance(area, Path | str):
        drawn = read_vector_file(Path(area))
        return drawn.shapes, str(area), list(drawn.remarks)
    if isinstance(area, BaseGeometry):
        return [Shape(area, None)], "the geometry", []
    if isinstance(area, Mapping):
        return list(read_shapes(area, "the mapping")), "the mapping", []
    name = f"the {type(area).__name__}"
    if not hasattr(area, "__geo_interface__"):
        raise AoiError(
            f"the area is a {type(area).__name__}; give a file of polygons, a GeoJSON mapping or "
            "a geometry"
        )
    return list(read_shapes(area.__geo_interface__, name, getattr(area, "crs", None))), name, []


def _simple_parts(geometry: BaseGeometry) -> list[BaseGeometry]:
    """Return the parts of a geometry, those of collections in collections too."""
    if not hasattr(geometry, "geoms"):
        return [] if geometry.is_empty else [geometry]
    return [one for part in geometry.geoms for one in _simple_parts(part)]


def _count(kinds: Counter[str]) -> str:
    """Return how many there are of each kind: ``a Point``, ``2 Points and 3 LineStrings``."""
    return " and ".join(f"a {k}" if n == 1 else f"{n} {k}s" for k, n in kinds.items())


def cut_at_antimeridian(geometry: BaseGeometry) -> BaseGeometry:
    """Return a longitude/latitude geometry cut in two where it crosses the antimeridian.

    What reaches beyond 180 degrees, or seems more than half a globe wide, crosses it. Others, and
    what is not longitude and latitude at all, come back as they are.
    """
    west, south, east, north = geometry.bounds
    inside = west >= -_HALF_GLOBE and east <= _HALF_GLOBE
    on_earth = west >= -2 * _HALF_GLOBE and east <= 2 * _HALF_GLOBE and -90 <= south <= north <= 90
    if (inside and east - west <= _HALF_GLOBE) or not on_earth:
        return geometry
    fixed = antimeridian.fix_geojson(mapping(geometry), fix_winding=True, great_circle=False)
    return shapely.union_all([shapely.make_valid(part) for part in shapely.get_parts(shape(fixed))])


def _check_degrees(polygon: BaseGeometry, name: str) -> None:
    west, south, east, north = polygon.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        turned = -90 <= west <= east <= 90 and -180 <= south <= north <= 180
        do = "give longitude first" if turned else "reproject the file to EPSG:4326"
        raise AoiError(
            f"the coordinates in {name} reach from ({west:g}, {south:g}) to ({east:g}, {north:g}), "
            f"which is not longitude and latitude in degrees; {do}"
        )


def _mend(polygon: BaseGeometry, name: str) -> BaseGeometry:
    """Return what a polygon that is not valid draws, where nearly all of it has one meaning.

    Where a ring crosses itself, its area with the sign of its turning differs from what it draws:
    by nothing where it only touches itself, by all where it is an hourglass.
    """
    drawn = shapely.make_valid(polygon)
    if abs(drawn.area - polygon.area) > _DOUBTFUL * drawn.area or drawn.area == 0:
        raise AoiError(
            f"a polygon in {name} is not valid: {_explain(polygon)}; mend it, as with Fix "
            "geometries in QGIS"
        )
    return drawn


def _explain(polygon: BaseGeometry) -> str:
    """Return what is wrong with a polygon, and where."""
    return str(explain_validity(polygon)).replace("[", " at ").replace("]", "")
