"""Row 8 of the walk: a user's own cloud mask, from a raster or polygons.

A raster holds 0 where the ground is seen and one other value where cloud hides it; its nodata, and
what lies outside of it, are unknown. Polygons hide what lies in them and show the rest. Both are
read at the exact centres of the grid's pixels, as scenes are, so that any cutting gives the same.
"""

from __future__ import annotations

import hashlib
import shlex
import warnings
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, Polygon

from cloudfree.core.errors import AoiError, MaskError, ReadError, UnknownFileError
from cloudfree.core.types import AnyArray, BoolArray, UInt8Array
from cloudfree.geometry.aoi import Polygons, read_polygons
from cloudfree.geometry.crs import name_crs
from cloudfree.geometry.grid import GridPlan, crs_of, pixels_inside, project_area
from cloudfree.geometry.sampling import Positions, locate, source_window, take_nearest
from cloudfree.geometry.vector_file import split_layer
from cloudfree.pixels.masks import DRAWN_HIDDEN, DRAWN_SEEN, DRAWN_UNKNOWN

_STRIP_PX = 2**22
"""So many pixels of a mask are looked at at once."""
_SAMPLED = 97
"""Every so many of them first: a mask has two values, and then the rest is quickly compared."""
_LAST_CLASS = 11
"""Of the scene classification."""
_MOST_CLASSES = 16
"""What holds more values is no classification."""
_SHOWN = 6
_MARGIN_DEG = 0.01
"""Boxes are transformed by points on their edges."""


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file's content, and its layer; MaskError where it cannot be read."""
    file, layer = split_layer(path)
    with _open(file) as stream:
        content = hashlib.file_digest(stream, "sha256")
    content.update(layer.encode())
    return content.hexdigest()


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise MaskError(
            f"cannot read the mask {path}: {error.strerror}. Give auto, detector or a mask file"
        ) from None


def check_mask(path: Path, grid: GridPlan) -> tuple[str, ...]:
    """Return what a user should know of a mask; reads its values over the grid.

    Raises MaskError, in one line, where it is no mask for the grid.
    """
    _open(split_layer(path)[0]).close()
    try:
        with _georeferenced_or_not(), rasterio.open(path) as source:
            return _check_raster(source, path, grid)
    except RasterioError:
        return _check_polygons(path, grid)


def turned_round(path: Path) -> str | None:
    """Return a command that makes a mask of what a raster shows; None where it is polygons."""
    try:
        rasterio.open(path).close()
    except RasterioError:
        return None
    return _calculate("(== (read 1) 0)", path)


def _georeferenced_or_not() -> warnings.catch_warnings[None]:
    """Return a context without the warning of pictures that have no place."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)


def _check_raster(source: Any, path: Path, grid: GridPlan) -> tuple[str, ...]:
    bands = sum(meaning != ColorInterp.alpha for meaning in source.colorinterp)
    if bands != 1:
        raise MaskError(f"the mask {path} has {bands} bands; give a raster of one")
    if source.dtypes[0].startswith("complex"):
        raise MaskError(f"the mask {path} holds {source.dtypes[0]}, no real numbers")
    if source.crs is None:
        raise MaskError(
            f"the mask {path} has no CRS; give a georeferenced raster. Where only its name is "
            f"missing: rio edit-info --crs {shlex.quote(name_crs(grid.crs))} "
            f"{shlex.quote(str(path))}"
        )
    try:
        there = transform_bounds(source.crs, crs_of(grid.geobox).to_wkt(), *source.bounds)
        box = shapely.box(*there)
    except RasterioError:
        box = Polygon()
    if not box.intersects(grid.area):
        raise MaskError(f"the mask {path} does not touch the area; give one that covers it")
    return _check_values(source, path, grid)


def _check_values(source: Any, path: Path, grid: GridPlan) -> tuple[str, ...]:
    """Raise MaskError where a raster holds other values over the grid than those of a mask."""
    values = _find_values(source, grid)
    if not values:
        raise MaskError(
            f"the mask {path} says nothing of the area: all of it is nodata; give one that covers "
            "it, or leave --mask away"
        )
    if len(values) > 2 or (len(values) == 2 and 0 not in values):
        raise MaskError(
            f"the mask {path} holds {_describe(values)}; a mask holds 0 where the ground is seen "
            f"and one other value where cloud hides it. {_suggest(values, path)}"
        )
    if source.nodata != 0:
        return ()
    all_seen = ", so that it hides nothing of the area" if values == [0] else ""
    return (
        f"the mask {path} declares 0 to be nodata: it was taken for ground that is seen{all_seen}",
    )


def _find_values(source: Any, grid: GridPlan) -> list[float]:
    """Return the values that a raster knows over the grid, in order; not all where they are many.

    Its nodata is none of them, unless it is 0.
    """
    bounds = grid.geobox.boundingbox.bbox
    west, south, east, north = transform_bounds(crs_of(grid.geobox).to_wkt(), source.crs, *bounds)
    x, y = np.array([west, west, east, east]), np.array([south, north, south, north])
    cols, rows = ~source.transform @ (x, y)
    part = source_window(Positions(rows=rows, cols=cols), source.shape, margin=1)
    found = np.zeros(0)
    if part is None:
        return []
    (top, bottom), (left, right) = ((one.start, one.stop) for one in part)
    height = max(_STRIP_PX // (right - left), 1)
    for row in range(top, bottom, height):
        window = Window.from_slices((row, min(row + height, bottom)), (left, right))
        values, known = _read_values(source, window)
        values = values[known]
        found = np.union1d(found, np.unique(values[::_SAMPLED]))
        if len(found) <= _MOST_CLASSES:
            found = np.union1d(found, np.unique(values[~np.isin(values, found)]))
    return [float(value) for value in found]


def _read_values(source: Any, window: Window) -> tuple[AnyArray, BoolArray]:
    """Return (y, x) of a mask's values, and where they are known: 0 is, declared nodata or not."""
    values = source.read(1, window=window)
    if source.nodata == 0:
        known = np.ones(values.shape, bool)
    else:
        known = source.read_masks(1, window=window) > 0
    return values, known & ~np.isnan(values)


def _describe(values: list[float]) -> str:
    if len(values) > _MOST_CLASSES:
        return f"many values from {values[0]:g} to {values[-1]:g}"
    shown = ", ".join(f"{value:g}" for value in values[:_SHOWN])
    return f"{len(values)} values ({shown}{', ...' if len(values) > _SHOWN else ''})"


def _suggest(values: list[float], path: Path) -> str:
    """Return what values look like that are not those of a mask, and a command that makes one."""
    whole = all(value.is_integer() for value in values)
    if not whole or len(values) > _MOST_CLASSES:
        half = next(most for most in (1, 100, 255, values[-1]) if values[-1] <= most) / 2
        return (
            "They look like a probability; hide what is above half, or another share, with: "
            f"{_calculate(f'(> (read 1) {half:g})', path)}"
        )
    said = "They look like classes"
    if values[0] >= 0 and values[-1] <= _LAST_CLASS:
        said += "; if they are the scene classification (SCL), leave --mask away: it is read anyway"
    return f"{said}. Hide one, or others, with: {_calculate(f'(== (read 1) {values[-1]:g})', path)}"


def _calculate(expression: str, path: Path) -> str:
    """Return the command of rasterio that writes a mask of an expression of a raster."""
    return (
        f"rio calc --dtype uint8 --co nodata=255 {shlex.quote(expression)} "
        f"{shlex.quote(str(path))} mask.tif"
    )


def _check_polygons(path: Path, grid: GridPlan) -> tuple[str, ...]:
    try:
        found = read_polygons(path)
        near = _project_near(found, grid.geobox)
    except UnknownFileError:
        raise MaskError(
            f"the mask {path} is no raster that GDAL reads, nor polygons; give one of them"
        ) from None
    except AoiError as error:
        raise MaskError(f"the mask {path} cannot be used: {error}") from None
    if found.geometry.is_empty or near.intersects(grid.area):
        return found.remarks
    x, y = shapely.get_coordinates(found.geometry.centroid)[0]
    return (
        *found.remarks,
        f"the mask {path} hides nothing of the area: its polygons lie around {y:.1f} N, {x:.1f} E",
    )


def read_mask(path: Path, geobox: GeoBox) -> UInt8Array:
    """Return (y, x) what a mask says at ``geobox``: masks.DRAWN_SEEN, _HIDDEN or _UNKNOWN."""
    try:
        source = rasterio.open(path)
    except RasterioError:
        return _draw_polygons(path, geobox)
    try:
        with source:
            positions = locate(geobox, str(source.crs.to_wkt()), source.transform)
            part = source_window(positions, source.shape, margin=1)
            if part is None:
                return np.full(geobox.shape, DRAWN_UNKNOWN, np.uint8)
            values, known = _read_values(source, Window.from_slices(*part))
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise ReadError(f"cannot read the mask {path}: {reason}") from None
    drawn = np.where(values != 0, DRAWN_HIDDEN, DRAWN_SEEN)
    drawn[~known] = DRAWN_UNKNOWN
    corner = (part[0].start, part[1].start)
    taken: UInt8Array = take_nearest(drawn.astype(np.uint8), positions, corner, DRAWN_UNKNOWN)
    return taken


def _draw_polygons(path: Path, geobox: GeoBox) -> UInt8Array:
    near = _project_near(read_polygons(path), geobox)
    inside = pixels_inside(near, geobox)
    return np.where(inside, DRAWN_HIDDEN, DRAWN_SEEN).astype(np.uint8)


def _project_near(polygons: Polygons, geobox: GeoBox) -> Polygon | MultiPolygon:
    """Return the polygons that a geobox can touch, in its CRS.

    They are whole: where clipping puts an edge would depend on the cut. Those far away are left
    out before the CRS, in which they may have no place.
    """
    crs = crs_of(geobox)
    parts = shapely.get_parts(polygons.geometry)
    west, south, east, north = transform_bounds(crs.to_wkt(), "EPSG:4326", *geobox.boundingbox.bbox)
    if west <= east:  # else across the antimeridian
        box = shapely.box(west, south, east, north).buffer(_MARGIN_DEG)
        parts = parts[shapely.intersects(parts, box)]
    return project_area(MultiPolygon(list(parts)), crs) if len(parts) else MultiPolygon()
