"""Row 8 of the walk: a user's own cloud mask, from a raster or GeoJSON polygons.

A raster hides where it is not 0; its nodata, and what lies outside of it, are unknown. Polygons
hide what lies in them and show the rest. Both are read at the exact centres of the grid's pixels,
as scenes are, so that any cutting gives the same.
"""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path

import numpy as np
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from cloudfree.core.errors import AoiError, MaskError, ReadError
from cloudfree.core.types import UInt8Array
from cloudfree.geometry.aoi import read_aoi
from cloudfree.geometry.grid import GridPlan, crs_of, pixels_inside, project_area
from cloudfree.geometry.sampling import locate, source_window, take_nearest
from cloudfree.pixels.masks import DRAWN_HIDDEN, DRAWN_SEEN, DRAWN_UNKNOWN

_POLYGONS = (".json", ".geojson")


def fingerprint(path: Path) -> str:
    """Return the sha256 of a file's content; MaskError where it cannot be read."""
    with _open(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise MaskError(
            f"cannot read the mask {path}: {error.strerror}. Give auto, detector or a mask file"
        ) from None


def check_mask(path: Path, grid: GridPlan) -> None:
    """Raise MaskError, in one line, where a file is no mask for the grid; reads no pixel."""
    _open(path).close()
    if path.suffix.lower() in _POLYGONS:
        try:
            project_area(read_aoi(path).geometry, crs_of(grid.geobox))
        except AoiError as error:
            raise MaskError(f"the mask {path} cannot be used: {error}") from None
        return
    try:
        with rasterio.open(path) as source:
            count, crs, bounds = source.count, source.crs, source.bounds
    except RasterioError:
        raise MaskError(
            f"the mask {path} is no raster that GDAL reads; give one, or polygons as .geojson"
        ) from None
    if count != 1:
        raise MaskError(f"the mask {path} has {count} bands; give a raster of one")
    if crs is None:
        raise MaskError(f"the mask {path} has no CRS; give a georeferenced raster")
    try:
        box = shapely.box(*transform_bounds(crs, crs_of(grid.geobox).to_wkt(), *bounds))
    except RasterioError:
        box = shapely.Polygon()
    if not box.intersects(grid.area):
        raise MaskError(f"the mask {path} does not touch the area; give one that covers it")


def read_mask(path: Path, geobox: GeoBox) -> UInt8Array:
    """Return (y, x) what a mask says at ``geobox``: masks.DRAWN_SEEN, _HIDDEN or _UNKNOWN."""
    if path.suffix.lower() in _POLYGONS:
        return _draw_polygons(path, geobox)
    try:
        with rasterio.open(path) as source:
            positions = locate(geobox, str(source.crs.to_wkt()), source.transform)
            part = source_window(positions, source.shape, margin=1)
            if part is None:
                return np.full(geobox.shape, DRAWN_UNKNOWN, np.uint8)
            window = Window.from_slices(*part)
            values = source.read(1, window=window)
            known = (source.read_masks(1, window=window) > 0) & ~np.isnan(values)
    except RasterioError as error:
        reason = " ".join(str(error).split())
        raise ReadError(f"cannot read the mask {path}: {reason}") from None
    drawn = np.where(values != 0, DRAWN_HIDDEN, DRAWN_SEEN)
    drawn[~known] = DRAWN_UNKNOWN
    corner = (part[0].start, part[1].start)
    taken: UInt8Array = take_nearest(drawn.astype(np.uint8), positions, corner, DRAWN_UNKNOWN)
    return taken


def _draw_polygons(path: Path, geobox: GeoBox) -> UInt8Array:
    whole = project_area(read_aoi(path).geometry, crs_of(geobox))
    box = shapely.box(*geobox.boundingbox.bbox)
    # Whole polygons: where clipping puts an edge would depend on the cut.
    near = [part for part in shapely.get_parts(whole) if part.intersects(box)]
    inside = pixels_inside(shapely.MultiPolygon(near), geobox)
    return np.where(inside, DRAWN_HIDDEN, DRAWN_SEEN).astype(np.uint8)
