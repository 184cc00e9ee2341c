"""Where synthetic scenes lie, and their STAC items."""

import datetime as dt
from typing import Any, TypeAlias

import numpy as np
from pyproj import Transformer

from cloudfree.synthetic.landscape import Array, Shape

Corners: TypeAlias = tuple[tuple[float, float], ...]
"""An outline as (column, row) in shares of the width and height."""

BANDS = ("B02", "B03", "B04", "B08")
POLARISATIONS = ("vv", "vh")
EPSG = 32632
WEST_M, NORTH_M = 613_020.0, 5_343_000.0
CLOUDS = (8, 9, 10)
"""Of Sentinel-2's scene classification."""
WHOLE: Corners = ((0, 0), (0, 1), (1, 1), (1, 0))
"""What radar covers."""
SWATH: Corners = ((0, 0), (0, 1), (0.88, 1), (1, 0.29), (1, 0))
"""What an optical scene covers."""


def locate(outline: Corners, shape: Shape) -> dict[str, Any]:
    """Return an outline as a GeoJSON polygon in lon/lat."""
    lonlat = Transformer.from_crs(EPSG, 4326, always_xy=True)
    east_m = [WEST_M + 10 * column * shape[1] for column, _ in outline]
    north_m = [NORTH_M - 10 * row * shape[0] for _, row in outline]
    return enclose(list(zip(*lonlat.transform(east_m, north_m), strict=True)))


def enclose(corners: list[tuple[float, float]]) -> dict[str, Any]:
    """Return a GeoJSON polygon of corners."""
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


def describe_optical(shape: Shape, scl: Array, day: dt.date, prefix: str) -> dict[str, Any]:
    """Return the item of an optical scene whose files lie under ``prefix``; ``scl`` is at 20 m."""
    cloudy = np.isin(scl[scl > 0], CLOUDS)
    properties = {
        "datetime": f"{day}T10:20:31Z",
        "platform": "Sentinel-2B",
        "constellation": "Sentinel 2",
        "eo:cloud_cover": round(100 * float(cloudy.mean()), 2),
        "sat:orbit_state": "descending",
        "s2:mgrs_tile": "32UPU",
        "s2:product_type": "S2MSI2A",
        "s2:datatake_id": f"GS2B_{day:%Y%m%d}T102031_038001_N05.10",
        "s2:processing_baseline": "05.10",
    }
    item = _describe_item("sentinel-2-l2a", properties, SWATH, shape, (*BANDS, "SCL"), prefix)
    item["assets"]["SCL"] |= _describe_grid(scl.shape, 20.0)
    return item


def describe_radar(shape: Shape, day: dt.date, prefix: str) -> dict[str, Any]:
    """Return the item of the radar of the evening before ``day``."""
    properties = {
        "datetime": f"{day - dt.timedelta(days=1)}T17:07:12Z",
        "platform": "SENTINEL-1A",
        "constellation": "Sentinel-1",
        "sat:orbit_state": "ascending",
        "sat:relative_orbit": 117,
        "sar:instrument_mode": "IW",
        "sar:frequency_band": "C",
        "sar:product_type": "GRD",
        "sar:polarizations": [name.upper() for name in POLARISATIONS],
    }
    return _describe_item("sentinel-1-rtc", properties, WHOLE, shape, POLARISATIONS, prefix)


def _describe_item(
    collection: str,
    properties: dict[str, Any],
    footprint: Corners,
    shape: Shape,
    names: tuple[str, ...],
    prefix: str,
) -> dict[str, Any]:
    geometry = locate(footprint, shape)
    lon, lat = zip(*geometry["coordinates"][0], strict=True)
    schema = "https://stac-extensions.github.io/{}/schema.json"
    kind = "image/tiff; application=geotiff; profile=cloud-optimized"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [schema.format("projection/v1.1.0"), schema.format("eo/v1.1.0")],
        "id": f"synthetic-{collection}-{properties['datetime'][:10]}",
        "collection": collection,
        "bbox": [min(lon), min(lat), max(lon), max(lat)],
        "geometry": geometry,
        "properties": {**properties, "proj:epsg": EPSG, **_describe_grid(shape, 10.0)},
        "links": [],
        "assets": {
            name: {"href": f"./{prefix}{name}.tif", "type": kind, "roles": ["data"]}
            for name in names
        },
    }


def _describe_grid(shape: Shape, pixel_m: float) -> dict[str, Any]:
    east_m, south_m = WEST_M + shape[1] * pixel_m, NORTH_M - shape[0] * pixel_m
    return {
        "proj:shape": list(shape),
        "proj:transform": [pixel_m, 0.0, WEST_M, 0.0, -pixel_m, NORTH_M],
        "proj:bbox": [WEST_M, south_m, east_m, NORTH_M],
    }
