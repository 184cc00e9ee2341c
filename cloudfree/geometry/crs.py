"""Which CRS a product's grid lies in: a zone of UTM, an equal-area one, or what the user names."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import numpy as np
import shapely
from odc.geo.crs import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from cloudfree.core.errors import SettingsError
from cloudfree.geometry.ground import measure_scale

logger = logging.getLogger(__name__)

UTM, EQUAL_AREA = "utm", "equal-area"
"""Settings that are no CRS of their own: each area gets one."""
_ZONE_DEG = 6
_ZONES = 60
_NORTH, _SOUTH = 32600, 32700
"""EPSG codes of UTM: these plus the number of the zone."""
_POLE_NORTH, _POLE_SOUTH = 5041, 5042
"""Universal polar stereographic, which goes on where UTM ends; axes east and north."""
_NORTHERNMOST, _SOUTHERNMOST = 84, -80
_CENTRE_DEG = 5
"""The centre of an equal-area CRS is a multiple of this, so that neighbours share one."""
_DENSE_DEG = 0.5


def choose_crs(geometry: BaseGeometry, name: str, scenes: Mapping[int, float]) -> CRS:
    """Return the CRS that the settings name for a longitude/latitude area.

    ``utm`` is the zone of the area's middle. Where none of the scenes lies in it, it is the zone
    that most of them do, as long as pixels are true there: then nothing is resampled that need
    not be. ``scenes`` are EPSG codes of zones and what of the area their scenes cover. Same area
    and scenes, same CRS. Raises SettingsError where the CRS is not one in metres.
    """
    if name.lower() == UTM:
        return CRS(f"EPSG:{_choose_zone(geometry, scenes)}")
    if name.lower() == EQUAL_AREA:
        return _equal_area(*find_middle(geometry))
    try:
        crs = CRS(name)
    except (CRSError, ValueError):
        raise SettingsError(
            f"crs is {name!r}; give {UTM}, {EQUAL_AREA} or a code such as EPSG:32633"
        ) from None
    if not crs.projected or "metre" not in crs.units:
        raise SettingsError(
            f"crs {name!r} is not projected in metres; give {UTM}, {EQUAL_AREA} or a code such as "
            "EPSG:32633"
        )
    return crs


def describe_crs(crs: CRS) -> dict[str, str]:
    """Return a CRS in the words of STAC and of GeoZarr: its code, or WKT where it has none."""
    return {"proj:wkt2": crs.to_wkt()} if crs.epsg is None else {"proj:code": f"EPSG:{crs.epsg}"}


def name_crs(crs: CRS) -> str:
    """Return what ``--crs`` takes for a CRS: its code, or its definition where it has none."""
    return str(crs) if crs.epsg is None else f"EPSG:{crs.epsg}"


def find_middle(geometry: BaseGeometry) -> tuple[float, float]:
    """Return the longitude and latitude of an area's middle: its centre of mass on the globe.

    Half of the integral of r x dr along a closed line on the globe is that of r over what it holds.
    """
    whole = np.zeros(3)
    for part in shapely.get_parts(geometry):
        rings = [(part.exterior, 1), *((hole, -1) for hole in part.interiors)]
        for ring, sign in rings:
            turn = sign if ring.is_ccw else -sign
            lon, lat = np.radians(shapely.get_coordinates(shapely.segmentize(ring, _DENSE_DEG))).T
            r = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)
            near = r - r[0]  # small areas lose no digits
            whole += turn * np.cross(near[:-1], near[1:]).sum(axis=0)
    x, y, z = whole
    longitude = math.degrees(math.atan2(y, x))
    latitude = math.degrees(math.atan2(z, math.hypot(x, y)))
    return round(longitude, 6), round(latitude, 6)  # for machines to agree on borders of zones


def zone_at(longitude: float, latitude: float) -> int:
    """Return the EPSG code of the UTM zone at a place, UPS beyond 84 N and 80 S.

    By the grid of MGRS, whose tiles Sentinel-2 scenes are: zones are wider on the coast of Norway
    (32V) and around Svalbard (31X, 33X, 35X, 37X).
    """
    if latitude > _NORTHERNMOST:
        return _POLE_NORTH
    if latitude < _SOUTHERNMOST:
        return _POLE_SOUTH
    number = math.floor(longitude / _ZONE_DEG + _ZONES / 2) % _ZONES + 1
    if 56 <= latitude < 64 and 3 <= longitude < 6:
        number = 32
    if latitude >= 72 and 0 <= longitude < 42:
        number = 31 + 2 * math.floor((longitude + 3) / 12)
    return find_zone(number, north=latitude >= 0)


def find_zone(number: int, *, north: bool) -> int:
    """Return the EPSG code of a UTM zone by its number, 1 to 60."""
    return number + (_NORTH if north else _SOUTH)


def zones_of(footprint: BaseGeometry) -> set[int]:
    """Return the EPSG codes of the zones of UTM that a longitude/latitude footprint reaches."""
    dense = shapely.segmentize(footprint, _DENSE_DEG)
    places = shapely.get_coordinates(dense).tolist()
    return {zone_at(*place) for place in places} - {_POLE_NORTH, _POLE_SOUTH}


def _choose_zone(geometry: BaseGeometry, scenes: Mapping[int, float]) -> int:
    own = zone_at(*find_middle(geometry))
    if not scenes or own in scenes:
        return own
    most = max(sorted(scenes), key=lambda zone: scenes[zone])
    if not measure_scale(CRS(f"EPSG:{most}"), geometry).is_true:
        return own
    logger.info("crs.choose_crs: no scene lies in EPSG:%d; EPSG:%d has most of them", own, most)
    return most


def _equal_area(longitude: float, latitude: float) -> CRS:
    """Return Lambert's azimuthal equal-area CRS around about a place."""
    north = _CENTRE_DEG * round(latitude / _CENTRE_DEG)
    east = _CENTRE_DEG * round(longitude / _CENTRE_DEG) if abs(north) < 90 else 0
    return CRS(f"+proj=laea +lat_0={north} +lon_0={east} +datum=WGS84 +units=m +no_defs")
