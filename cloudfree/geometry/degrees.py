"""From any CRS to longitude and latitude, and numbers that are not what their CRS says."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry.base import BaseGeometry

from cloudfree.core.errors import AoiError

_WGS84 = CRS("EPSG:4326")
_EDGE_DEG, _EDGE_M = 0.01, 1000.0
"""An edge is straight in its own CRS: points are set on it so far apart before it is moved."""
_MISREAD = (
    ("in kilometres", lambda x, y: (1000 * x, 1000 * y), "give metres"),
    ("with the northing first", lambda x, y: (y, x), "give the easting first"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDegrees:
    """The way from a CRS to longitude and latitude (WGS 84)."""

    crs: CRS
    """Where it begins, in two dimensions."""
    transformer: Transformer | None
    """The best operation that needs no network; None where the CRS is WGS 84 itself."""
    remarks: tuple[str, ...]
    """What is not sure of it."""

    def __call__(self, geometry: BaseGeometry, name: str) -> BaseGeometry:
        """Return a geometry in longitude and latitude, points set on its longer edges.

        Raises AoiError, which calls the geometry's file ``name``, where its numbers cannot be
        those of the CRS.
        """
        if self.transformer is None:
            return geometry
        unit_m = self.crs.axis_info[0].unit_conversion_factor
        edge = _EDGE_M / unit_m if self.crs.is_projected else _EDGE_DEG
        if not self._is_used_at(geometry):
            self._complain(geometry, name)
        dense = shapely.segmentize(geometry, edge)
        moved = shapely.transform(dense, self.transformer.transform, interleaved=False)
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise AoiError(f"{_numbers(geometry, name)}, which {self.crs.name} cannot place")
        return moved

    def _is_used_at(self, geometry: BaseGeometry) -> bool:
        """Return whether a geometry's box touches where the CRS is used; True where none knows."""
        used = self.crs.area_of_use
        if used is None or self.transformer is None:
            return True
        west, south, east, north = self.transformer.transform_bounds(*geometry.bounds)
        if not np.isfinite((west, south, east, north)).all():
            return False
        return _touch((west, south, east, north), used.bounds)

    def _complain(self, geometry: BaseGeometry, name: str) -> None:
        """Raise AoiError where read in another way the numbers lie where the CRS is used."""
        found = f"{_numbers(geometry, name)}, far from where {self.crs.name} is used"
        assert self.crs.area_of_use is not None
        if _touch(geometry.bounds, self.crs.area_of_use.bounds):
            raise AoiError(f"{found}, and near it in degrees; name the CRS EPSG:4326")
        for reading, change, cure in _MISREAD:
            if self._is_used_at(shapely.transform(geometry, change, interleaved=False)):
                raise AoiError(f"{found}, and near it {reading}; {cure}")


def _touch(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether two boxes in degrees touch; the second may cross the antimeridian."""
    west, south, east, north = other
    here = one[1] <= north and one[3] >= south
    if west > east:
        return here and (one[2] >= west or one[0] <= east)
    return here and one[0] <= east and one[2] >= west


def _numbers(geometry: BaseGeometry, name: str) -> str:
    west, south, east, north = geometry.bounds
    return (
        f"the coordinates in {name} reach from ({west:.10g}, {south:.10g}) to ({east:.10g}, "
        f"{north:.10g})"
    )


def find_way(crs: Any, name: str) -> ToDegrees:
    """Return the way to degrees from what names a CRS; None is taken for WGS 84.

    A CRS of no place on the Earth, such as that of a drawing, is taken for WGS 84 too: its numbers
    say what it is. Raises AoiError where PROJ does not know the CRS of ``name``.
    """
    try:
        return _find_way("EPSG:4326" if crs is None else _as_text(crs))
    except (CRSError, TypeError):
        shown = " ".join(str(crs).split())[:80]
        raise AoiError(
            f"PROJ does not know the CRS {shown!r} of {name}; name it like EPSG:32633"
        ) from None


def _as_text(crs: Any) -> str:
    return crs if isinstance(crs, str) else str(CRS.from_user_input(crs).to_wkt())


@functools.lru_cache(maxsize=32)
def _find_way(text: str) -> ToDegrees:
    crs = CRS.from_user_input(text).to_2d()
    remarks: tuple[str, ...] = ()
    if text.startswith("urn:") and crs.is_geographic and crs.axis_info[0].direction == "north":
        remarks = (f"took longitude to stand first, though {text} has latitude first",)
    if crs.equals(_WGS84, ignore_axis_order=True) or not (crs.is_geographic or crs.is_projected):
        return ToDegrees(crs=crs, transformer=None, remarks=remarks)
    try:
        transformer = Transformer.from_crs(crs, _WGS84, always_xy=True, allow_ballpark=False)
    except ProjError:
        transformer = Transformer.from_crs(crs, _WGS84, always_xy=True)
        remarks += (f"took the datum of {crs.name} for WGS 84: it is not known",)
    return ToDegrees(crs=crs, transformer=transformer, remarks=remarks)
