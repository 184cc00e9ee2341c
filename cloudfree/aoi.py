"""Row 1 of the walk: the area of interest, from GeoJSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import antimeridian
import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from cloudfree.errors import AoiError

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


def read_aoi(path: Path) -> Aoi:
    """Return the area in a GeoJSON geometry, Feature or FeatureCollection of polygons.

    Several polygons are joined. Raises AoiError, in one line, for anything else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AoiError(
            f"cannot read the area {path}: {error.strerror}. Give a GeoJSON file"
        ) from None
    except ValueError as error:
        raise AoiError(f"{path} is not JSON: {error}. Give a GeoJSON file") from None
    parts = [_polygon(geometry, path) for geometry in _geometries(document, path)]
    if not parts:
        raise AoiError(f"{path} holds no geometry; give at least one polygon")
    joined = shapely.union_all(parts)
    if joined.area == 0:
        raise AoiError(f"the area in {path} is empty; give a polygon with an inside")
    if not isinstance(joined, Polygon | MultiPolygon):
        joined = MultiPolygon([p for p in shapely.get_parts(joined) if isinstance(p, Polygon)])
    return Aoi(geometry=shapely.normalize(joined))


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


def _geometries(document: Any, path: Path) -> list[dict[str, Any]]:
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection" and isinstance(document.get("features"), list):
        return [g for feature in document["features"] for g in _geometries(feature, path)]
    if kind == "Feature":
        return _geometries(document.get("geometry"), path)
    if kind == "GeometryCollection" and isinstance(document.get("geometries"), list):
        return [g for part in document["geometries"] for g in _geometries(part, path)]
    if kind in ("Polygon", "MultiPolygon"):
        return [document]
    found = f"a {kind}" if kind else "no GeoJSON object"
    raise AoiError(f"{path} holds {found}; give a Polygon or MultiPolygon")


def _polygon(geometry: dict[str, Any], path: Path) -> BaseGeometry:
    try:
        polygon = cut_at_antimeridian(shapely.force_2d(shape(geometry)))
    except (ValueError, TypeError, KeyError, IndexError, shapely.errors.GEOSException):
        raise AoiError(f"the coordinates in {path} are not those of a polygon") from None
    if polygon.is_empty:
        raise AoiError(f"the area in {path} is empty; give a polygon with an inside")
    west, south, east, north = polygon.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise AoiError(
            f"the coordinates in {path} reach from ({west:g}, {south:g}) to ({east:g}, {north:g}), "
            "which is not longitude and latitude in degrees; reproject the file to EPSG:4326"
        )
    if not polygon.is_valid:
        raise AoiError(f"the polygon in {path} is not valid: {explain_validity(polygon)}; mend it")
    return polygon
