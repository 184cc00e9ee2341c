"""GeoJSON as it is written: every geometry of a document, with the CRS that is named for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from cloudfree.core.errors import AoiError

_COLLECTION = "GeometryCollection"
_KINDS = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


class Shape(NamedTuple):
    """One geometry as it is written."""

    geometry: BaseGeometry | None
    """In x and y of the CRS; None of a feature without one."""
    crs: Any
    """What pyproj takes for a CRS; None where none is named."""


def read_shapes(document: Any, name: str, crs: Any = None) -> Iterator[Shape]:
    """Yield the geometries of a GeoJSON geometry, Feature or FeatureCollection.

    ``crs`` holds where no member ``crs``, of the GeoJSON of 2008, names another. Rings are closed,
    and of a position the first two numbers are taken. Raises AoiError, in one line that calls the
    document ``name``, for anything else.
    """
    kind = document.get("type") if isinstance(document, Mapping) else None
    if isinstance(document, Mapping) and "crs" in document:
        crs = _named_crs(document["crs"], name)
    if kind == "FeatureCollection" and isinstance(document.get("features"), list | tuple):
        for feature in document["features"]:
            yield from read_shapes(feature, name, crs)
    elif kind == "Feature":
        if document.get("geometry") is None:
            yield Shape(None, crs)
        else:
            yield from read_shapes(document["geometry"], name, crs)
    elif kind == _COLLECTION and isinstance(document.get("geometries"), list | tuple):
        for part in document["geometries"]:
            yield from read_shapes(part, name, crs)
    elif isinstance(kind, str) and kind in _KINDS:
        yield Shape(_draw(document, name), crs)
    else:
        found = f"a {kind}" if kind else "no GeoJSON object"
        raise AoiError(f"{name} holds {found}; give a Polygon or MultiPolygon{_as_box(document)}")


def _draw(geometry: Mapping[str, Any], name: str) -> BaseGeometry:
    try:
        flat = {"type": geometry["type"], "coordinates": _flatten(geometry["coordinates"])}
        with np.errstate(invalid="ignore"):  # what is no number is told by who takes it
            return shape(flat)
    except (ValueError, TypeError, LookupError, RecursionError, shapely.errors.GEOSException):
        kind = geometry["type"]
        raise AoiError(f"the coordinates in {name} are not those of a {kind.lower()}") from None


def _flatten(coordinates: Any) -> list[Any]:
    """Return positions as two numbers each: heights and measures say nothing of an area."""
    if coordinates and not isinstance(coordinates[0], list | tuple):
        return [float(number) for number in coordinates[:2]]
    return [_flatten(part) for part in coordinates]


def _named_crs(member: Any, name: str) -> Any:
    """Return the CRS of a member ``crs``; None where it is null."""
    if member is None:
        return None
    try:
        named = {key.lower(): value for key, value in member["properties"].items()}
        return named["name"] if member["type"].lower() == "name" else f"EPSG:{int(named['code'])}"
    except (KeyError, TypeError, ValueError, AttributeError):
        raise AoiError(
            f"the crs of {name} names none; give it a name such as "
            '{"type": "name", "properties": {"name": "EPSG:32633"}}'
        ) from None


def _as_box(document: Any) -> str:
    """Return how to write four numbers as the box that they are likely to mean."""
    if not isinstance(document, list | tuple) or len(document) != 4:
        return ""
    if not all(isinstance(number, int | float) for number in document):
        return ""
    return f", such as {shapely.box(*document).wkt} for the box of these four numbers"
