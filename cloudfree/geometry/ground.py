"""What the metres of a CRS are on the ground: lengths and areas on the ellipsoid of WGS 84."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely.geometry.base import BaseGeometry

from cloudfree.core.types import AnyArray, Float64Array

TOLERANCE = 0.01
"""Metres that are off by no more than this are taken for what they say, as everywhere in UTM."""
_EQUATOR_M, _ECCENTRICITY_2 = 6_378_137.0, 0.00669437999014
_STEP_M = 50.0
_BLOCK_PX = 64
"""A pixel's side is measured in the middle of its block of this side, counted from (0, 0)."""
_OUTWARD = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""Shares of the way from the middle of a part of an area to its hull at which it is measured."""
_HULL_DEG = 0.5
_AROUND = 0.995
"""A halo is some kilometres wide: pixels there are smaller by less than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundScale:
    """How long a CRS's metre is on the ground, over an area."""

    shortest: float
    """Metres on the ground, in the place and direction where it is shortest."""
    longest: float
    """The same where it is longest."""
    smallest_m2: float
    """Square metres on the ground of one of the CRS, where they are fewest."""
    largest_m2: float
    """The same where they are most."""

    @property
    def is_true(self) -> bool:
        """Whether its metres are metres on the ground, within the tolerance."""
        return 1 - TOLERANCE <= self.shortest <= self.longest <= 1 + TOLERANCE

    def smallest_pixel_m(self, side_m: float) -> float:
        """Return how wide the smallest pixel of a side is, see ``pixel_sides_m``.

        Those that lie in the halo around the area are allowed for.
        """
        shortest = _AROUND * math.sqrt(self.smallest_m2)
        return side_m if shortest >= 1 - TOLERANCE else side_m * shortest


def measure_scale(crs: CRS, geometry: BaseGeometry) -> GroundScale:
    """Return the scale over a longitude/latitude area, as far as the CRS can draw it."""
    hulls = shapely.segmentize(shapely.convex_hull(shapely.get_parts(geometry)), _HULL_DEG)
    rims, part = shapely.get_coordinates(hulls, return_index=True)
    middles = shapely.get_coordinates(shapely.centroid(hulls))[part]
    points = (middles + _OUTWARD[:, None, None] * (rims - middles)).reshape(-1, 2)
    transformer = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True)
    metre = _ground_metre(crs, *transformer.transform(points[:, 0], points[:, 1]))
    lengths = np.linalg.svd(metre[np.isfinite(metre).all(axis=(1, 2))], compute_uv=False)
    areas = lengths.prod(axis=1)
    return GroundScale(
        shortest=float(lengths.min()),
        longest=float(lengths.max()),
        smallest_m2=float(areas.min()),
        largest_m2=float(areas.max()),
    )


def pixel_sides_m(geobox: GeoBox) -> float | Float64Array:
    """Return how wide pixels are on the ground: the side of a square as large as the pixel.

    The geobox's own pixel side where that is true within 1 % all over, as in a UTM zone; else
    (y, x). What a pixel gets depends on its absolute place alone, not on the geobox.
    """
    affine = geobox.affine
    side = abs(affine.a)
    rows, row_of = _blocks(affine.f / affine.e, geobox.height)
    cols, col_of = _blocks(affine.c / affine.a, geobox.width)
    x, y = np.meshgrid(cols * affine.a, rows * affine.e)
    assert geobox.crs is not None
    metre = _ground_metre(geobox.crs, x.ravel(), y.ravel())
    ratio = np.sqrt(np.linalg.norm(np.cross(metre[..., 0], metre[..., 1]), axis=1)).reshape(x.shape)
    true = ~(np.abs(ratio - 1) > TOLERANCE)  # what lies beyond the CRS is no number
    if true.all():
        return side
    sides: Float64Array = np.where(true, side, side * ratio)[row_of[:, None], col_of]
    return sides


def _blocks(first_px: float, size: int) -> tuple[Float64Array, AnyArray]:
    """Return the middles of the blocks that some pixels lie in, in pixels, and each one's block."""
    first = math.floor(first_px + 0.5)
    block = np.arange(first, first + size) // _BLOCK_PX
    return (np.arange(block[0], block[-1] + 1) + 0.5) * _BLOCK_PX, block - block[0]


def _ground_metre(crs: CRS, x: AnyArray, y: AnyArray) -> Float64Array:
    """Return (n, 3, 2): where a metre along x and one along y (columns) lead in space, in metres.

    Measured between points 100 m apart; not finite where the CRS has no place.
    """
    to_lonlat = Transformer.from_crs(crs.to_wkt(), "EPSG:4326", always_xy=True).transform
    sides = [
        _in_space(*to_lonlat(x + dx, y + dy)) - _in_space(*to_lonlat(x - dx, y - dy))
        for dx, dy in ((_STEP_M, 0), (0, _STEP_M))
    ]
    metre: Float64Array = np.stack(sides, axis=-1) / (2 * _STEP_M)
    return metre


def _in_space(longitude: AnyArray, latitude: AnyArray) -> Float64Array:
    """Return (n, 3): places on the ellipsoid as metres from the middle of the Earth."""
    with np.errstate(invalid="ignore"):
        x, y = np.radians(longitude), np.radians(latitude)
        radius = _EQUATOR_M / np.sqrt(1 - _ECCENTRICITY_2 * np.sin(y) ** 2)
        return np.stack(
            [
                radius * np.cos(y) * np.cos(x),
                radius * np.cos(y) * np.sin(x),
                radius * (1 - _ECCENTRICITY_2) * np.sin(y),
            ],
            axis=-1,
        )
