"""Row 4 of the walk: the product's grid, its chunks, and what lies inside the area.

All positions are anchored at coordinate (0, 0) of the CRS: a pixel has the same absolute row
and column whatever area it is part of, so areas that overlap share pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import shapely
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from cloudfree.core.config import GridSettings
from cloudfree.core.errors import AoiError, SettingsError
from cloudfree.core.types import BoolArray, Float64Array
from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.crs import choose_crs, name_crs

SNAP_M = 60.0
"""Edges lie on multiples of the coarsest Sentinel-2 pixel, so that every band can share them."""
_DENSIFY_DEG = 0.01
_SEAM_M = 1e-3
_NARROW_PX = 0.72
"""Half a pixel's diagonal and a little: a circle as large holds the centre of a pixel."""
_SMALLEST_PX = 512
"""An array no larger has no overview: it is read as fast as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The unit of work and of writing: one shard of the store."""

    row: int
    """Index of the chunk from the top."""
    col: int
    """Index of the chunk from the left."""
    y: slice
    """Rows of the product that it writes."""
    x: slice
    """Columns of the product that it writes."""
    geobox: GeoBox
    """Its core: the pixels that it writes."""

    @property
    def pixels(self) -> int:
        """How many pixels it writes."""
        return int(self.geobox.height * self.geobox.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPlan:
    """Where the product's pixels lie and how they are cut."""

    geobox: GeoBox
    """The whole product."""
    area: Polygon | MultiPolygon
    """The area of interest in the grid's CRS, where it is narrow all pixels that it touches;
    pixels with their centre outside stay nodata."""
    chunk_px: int
    """Side of a chunk and of a shard."""
    halo_px: int
    """What a chunk sees beyond its core on each side."""

    @property
    def resolution_m(self) -> float:
        """Side of a pixel."""
        return float(self.geobox.affine.a)

    @property
    def crs(self) -> CRS:
        """Its CRS."""
        return crs_of(self.geobox)

    @property
    def cuts(self) -> tuple[int, int]:
        """How many rows and columns of chunks there are, those outside of the area too."""
        height, width = self.geobox.shape
        return math.ceil(height / self.chunk_px), math.ceil(width / self.chunk_px)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks that touch the area, row by row."""
        shapely.prepare(self.area)
        height, width = self.geobox.shape
        rows, cols = self.cuts
        for row in range(rows):
            for col in range(cols):
                y = slice(row * self.chunk_px, min((row + 1) * self.chunk_px, height))
                x = slice(col * self.chunk_px, min((col + 1) * self.chunk_px, width))
                core = self.geobox[y, x]
                if self.area.intersects(shapely.box(*core.boundingbox.bbox)):
                    yield Chunk(row=row, col=col, y=y, x=x, geobox=core)

    def haloed(self, chunk: Chunk) -> GeoBox:
        """Return the geobox that a chunk reads: its core with the halo around."""
        return chunk.geobox.pad(self.halo_px, self.halo_px)

    @property
    def overview_factors(self) -> tuple[int, ...]:
        """How many times smaller each overview is: 2, 4, ... until one is small."""
        factors, factor = [], 1
        while max(self.geobox.shape) > _SMALLEST_PX * factor:
            factor *= 2
            factors.append(factor)
        return tuple(factors)

    def reduced(self, factor: int) -> GridPlan:
        """Return the grid of an overview: the same corner, pixels ``factor`` times as wide.

        Its last row and column may stick out.
        """
        height, width = (math.ceil(side / factor) for side in self.geobox.shape)
        a = self.geobox.affine
        affine = Affine(a.a * factor, a.b * factor, a.c, a.d * factor, a.e * factor, a.f)
        return replace(self, geobox=GeoBox((height, width), affine, self.geobox.crs))

    def stored_bytes(self, whole: int, shrunk: int) -> int:
        """Return the size of a step's arrays with their overviews before compression.

        A pixel takes ``whole`` bytes, one of an overview ``shrunk``.
        """
        return self._pixels * whole + shrunk * sum(
            self.reduced(factor)._pixels for factor in self.overview_factors
        )

    @property
    def _pixels(self) -> int:
        return int(self.geobox.height * self.geobox.width)


def halo_px(*, window_px: int, reach_px: int, mask_px: int) -> int:
    """Return how far a chunk must see for its core not to depend on how the area was cut.

    A made pixel is corrected from seen ones within ``reach_px``; the candidate there comes from
    windows that reach up to ``window_px - 1`` further; their masks depend on classes up to
    ``mask_px`` beyond.
    """
    return reach_px + window_px - 1 + mask_px


def plan_grid(
    aoi: Aoi, settings: GridSettings, *, halo: int, zones: Mapping[int, float] | None = None
) -> GridPlan:
    """Return the grid of a product over ``aoi``, its edges on multiples of 60 m.

    ``zones`` are those that its scenes lie in, see ``crs.choose_crs``. Raises AoiError where the
    area cannot be drawn in the CRS and SettingsError where the CRS is not one in metres.
    """
    crs = choose_crs(aoi.geometry, settings.crs, zones or {})
    resolution = settings.resolution_m
    area = widen_to_pixels(project_area(aoi.geometry, crs), resolution)
    snap = SNAP_M if SNAP_M % resolution == 0 else resolution
    west, south, east, north = area.bounds
    left, bottom = math.floor(west / snap) * snap, math.floor(south / snap) * snap
    width = round((math.ceil(east / snap) * snap - left) / resolution)
    height = round((math.ceil(north / snap) * snap - bottom) / resolution)
    top = bottom + height * resolution
    geobox = GeoBox((height, width), Affine(resolution, 0, left, 0, -resolution, top), crs)
    return GridPlan(geobox=geobox, area=area, chunk_px=settings.chunk_px, halo_px=halo)


def project_area(geometry: Polygon | MultiPolygon, crs: CRS) -> Polygon | MultiPolygon:
    """Return a longitude/latitude area in ``crs``, its edges densified first."""
    transform = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform
    dense = shapely.segmentize(geometry, _DENSIFY_DEG)
    area = shapely.transform(dense, transform, interleaved=False)
    if (geometry.bounds[0], geometry.bounds[2]) == (-180, 180):  # its halves are one again
        area = shapely.union_all(shapely.get_parts(shapely.make_valid(area)), grid_size=_SEAM_M)
    if not np.isfinite(area.bounds).all() or not area.is_valid:
        raise AoiError(
            f"the area cannot be drawn in {name_crs(crs)}; choose another --crs, such as EPSG:6933"
        )
    return area


def widen_to_pixels(area: Polygon | MultiPolygon, resolution_m: float) -> Polygon | MultiPolygon:
    """Return an area whose narrow parts are all the pixels that they touch.

    A part is narrow that no circle around a pixel fits into: it may lie between their centres. The
    others are returned as they are.
    """
    parts = shapely.get_parts(area)
    narrow = shapely.is_empty(shapely.buffer(parts, -_NARROW_PX * resolution_m))
    if not narrow.any():
        return area
    touched = [_touched_pixels(part, resolution_m) for part in parts[narrow]]
    return shapely.normalize(shapely.union_all([*parts[~narrow], *touched]))


def _touched_pixels(part: Polygon, resolution_m: float) -> BaseGeometry:
    """Return the union of the pixels that a polygon touches: squares cut in four until so small.

    Its outermost millimetre touches nothing: an area that ends on the edges of pixels does so only
    within rounding.
    """
    core = part.buffer(-_SEAM_M)
    part = part if core.is_empty else core
    shapely.prepare(part)
    west, south, east, north = (edge / resolution_m for edge in part.bounds)
    side = 2 ** math.ceil(math.log2(max(east - west, north - south, 1)))
    corners = _quarters(np.array([(west // side, south // side)]) * side, side)
    while True:
        low, high = corners * resolution_m, (corners + side) * resolution_m
        squares = shapely.box(*low.T, *high.T)
        touched = shapely.intersects(part, squares)
        if side == 1:
            return shapely.coverage_union_all(squares[touched])
        side //= 2
        corners = _quarters(corners[touched], side)


def _quarters(corners: Float64Array, side: int) -> Float64Array:
    """Return the lower left corners of four squares each, (x, y) in pixels."""
    steps = np.array([(0, 0), (0, side), (side, 0), (side, side)])
    quarters: Float64Array = (corners[:, None] + steps).reshape(-1, 2)
    return quarters


def crs_of(geobox: GeoBox) -> CRS:
    """Return the CRS of a geobox that must have one."""
    if geobox.crs is None:
        raise SettingsError("a grid without a CRS cannot be used; give it one")
    return geobox.crs


def origin_px(geobox: GeoBox) -> tuple[int, int]:
    """Return the absolute row and column of a geobox's first pixel, counted from (0, 0)."""
    affine = geobox.affine
    return math.floor(affine.f / affine.e + 0.5), math.floor(affine.c / affine.a + 0.5)


def pixels_inside(area: Polygon | MultiPolygon, geobox: GeoBox) -> BoolArray:
    """Return (y, x): True where the centre of a pixel lies in the area (same CRS).

    An exact predicate on each centre, so the answer does not depend on the geobox.
    """
    box = shapely.box(*geobox.boundingbox.bbox)
    shapely.prepare(area)
    if area.contains(box):
        return np.ones(geobox.shape, bool)
    affine = geobox.affine
    x = affine.c + (np.arange(geobox.width) + 0.5) * affine.a
    y = affine.f + (np.arange(geobox.height) + 0.5) * affine.e
    inside: BoolArray = shapely.contains_xy(area, x[None, :], y[:, None])
    return inside
