"""Row 1 of the walk: the area of interest, from GeoJSON or a shapely geometry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import antimeridian
import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from cloudfree.core.errors import AoiError

_HALF_GLOBE = 180.0
"""Degrees of longitude."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aoi:
    """An area on the ground."""

    geometry: Polygon | MultiPolygon
    """In longitude and latitude (WGS 84); valid, not empty."""

    @property
    def geojson(self) -> dict[str, Any]:
        """The geometry as a GeoJSON mapping."""
        mapping: dict[str, Any] = json.loads(shapely.to_geojson(self.geometry))
        return mapping


Area: TypeAlias = Path | str | Mapping[str, Any] | BaseGeometry
"""What read_aoi takes: a GeoJSON file, a GeoJSON mapping, or a shapely geometry."""


def read_aoi(area: Area) -> Aoi:
    """Return the area in a GeoJSON geometry, Feature or FeatureCollection of polygons.

    ``area`` is a file of it, the mapping itself, or a shapely geometry; coordinates are longitude
    and latitude. Several polygons are joined. Raises AoiError, in one line, for anything else.
    """
    document, name = _read_document(area)
    parts = [_polygon(geometry, name) for geometry in _geometries(document, name)]
    if not parts:
        raise AoiError(f"{name} holds no geometry; give at least one polygon")
    joined = shapely.union_all(parts)
    if joined.area == 0:
        raise AoiError(f"the area in {name} is empty; give a polygon with an inside")
    if not isinstance(joined, Polygon | MultiPolygon):
        joined = MultiPolygon([p for p in shapely.get_parts(joined) if isinstance(p, Polygon)])
    return Aoi(geometry=shapely.normalize(joined))


def _read_document(area: Area) -> tuple[Any, str]:
    """Return what should be GeoJSON, and what messages call it."""
    if isinstance(area, BaseGeometry):
        return mapping(area), "the geometry"
    if isinstance(area, Mapping):
        return area, "the mapping"
    if not isinstance(area, Path | str):
        raise AoiError(
            f"the area is a {type(area).__name__}; give a GeoJSON file, a mapping or a geometry"
        )
    try:
        return json.loads(Path(area).read_text(encoding="utf-8-sig")), str(area)
    except OSError as error:
        raise AoiError(
            f"cannot read the area {area}: {error.strerror}. Give a GeoJSON file"
        ) from None
    except UnicodeDecodeError:
        raise AoiError(
            f"{area} is not text, as a Shapefile or GeoPackage is not. Give a GeoJSON file "
            "(ogr2ogr -t_srs EPSG:4326 aoi.geojson makes one)"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AoiError(f"{area} is not JSON: {error}. Give a GeoJSON file") from None


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


def _geometries(document: Any, name: str) -> list[Mapping[str, Any]]:
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "FeatureCollection" and isinstance(document.get("features"), list | tuple):
        return [g for feature in document["features"] for g in _geometries(feature, name)]
    if kind == "Feature":
        return _geometries(document.get("geometry"), name)
    if kind == "GeometryCollection" and isinstance(document.get("geometries"), list | tuple):
        return [g for part in document["geometries"] for g in _geometries(part, name)]
    if kind in ("Polygon", "MultiPolygon"):
        return [document]
    found = f"a {kind}" if kind else "no GeoJSON object"
    raise AoiError(f"{name} holds {found}; give a Polygon or MultiPolygon")


def _polygon(geometry: Mapping[str, Any], name: str) -> BaseGeometry:
    try:
        polygon = cut_at_antimeridian(shapely.force_2d(shape(geometry)))
    except (ValueError, TypeError, LookupError, RecursionError, shapely.errors.GEOSException):
        raise AoiError(f"the coordinates in {name} are not those of a polygon") from None
    if polygon.is_empty:
        raise AoiError(f"the area in {name} is empty; give a polygon with an inside")
    west, south, east, north = polygon.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        turned = -90 <= west <= east <= 90 and -180 <= south <= north <= 180
        do = "give longitude first" if turned else "reproject the file to EPSG:4326"
        raise AoiError(
            f"the coordinates in {name} reach from ({west:g}, {south:g}) to ({east:g}, {north:g}), "
            f"which is not longitude and latitude in degrees; {do}"
        )
    if not polygon.is_valid:
        raise AoiError(f"the polygon in {name} is not valid: {explain_validity(polygon)}; mend it")
    return polygon
