"""Row 2 of the walk: STAC items over an area, from an API or a local file; asked once."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac
import requests
import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError
from shapely.geometry.base import BaseGeometry

from cloudfree.config import CatalogSettings, SceneSettings
from cloudfree.errors import CatalogError
from cloudfree.keys import unsigned
from cloudfree.scenes import Period, Scene, read_scene

logger = logging.getLogger(__name__)

Item = dict[str, Any]
_METRES_PER_DEGREE = 110_000.0
"""A little less than a degree of latitude anywhere, so that areas grow a little more."""


def widen(geometry: BaseGeometry, metres: float) -> BaseGeometry:
    """Return a longitude/latitude area grown by at least ``metres``.

    Scenes that only touch a chunk's halo are needed too: without them the windows at the rim
    would depend on the area.
    """
    _, south, _, north = geometry.bounds
    across = math.cos(math.radians(min(max(abs(south), abs(north)), 89)))
    return geometry.buffer(metres / _METRES_PER_DEGREE / across, quad_segs=32)


def search(
    stac: str,
    *,
    area: BaseGeometry,
    period: Period,
    catalog: CatalogSettings,
    scenes: SceneSettings,
) -> list[Item]:
    """Return the optical and radar items over ``area`` within reach of the period, by id.

    ``stac`` is an API's address, or a local ItemCollection, catalog or collection file. What
    comes back is checked again here: servers do not always filter as asked.
    Raises CatalogError where it does not answer or is not STAC.
    """
    optical = dt.timedelta(days=0 if period.is_interval else scenes.optical_days)
    radar = optical + dt.timedelta(days=scenes.sar_days)
    wanted = [(catalog.optical_collections, optical), (catalog.radar_collections, radar)]
    api = _is_api(stac)
    local = [] if api else _read_local(Path(stac))
    found: dict[tuple[str, str], Item] = {}
    for collections, reach in wanted:
        first, last = period.first - reach, period.end + reach
        span = (first, last)
        for item in _ask(stac, collections, area, span, catalog.timeout_s) if api else local:
            if item.get("collection") not in collections:
                continue
            scene = read_scene(item)
            if first <= scene.time <= last and scene.footprint.intersects(area):
                found[scene.collection, scene.id] = item
    logger.info("catalog.search: %d items at %s", len(found), stac)
    return [found[key] for key in sorted(found)]


def address(stac: str) -> str:
    """Return an API's address without signature, or the absolute path of a local catalog."""
    return unsigned(stac) if _is_api(stac) else str(Path(stac).resolve())


def _is_api(stac: str) -> bool:
    return urlsplit(stac).scheme in ("http", "https")


def _ask(
    address: str,
    collections: tuple[str, ...],
    area: BaseGeometry,
    span: tuple[dt.datetime, dt.datetime],
    timeout_s: float,
) -> list[Item]:
    try:
        client = Client.open(address, timeout=timeout_s)
        known = {collection.id for collection in client.get_collections()}
        asked = [name for name in collections if name in known]
        if not asked:
            raise CatalogError(
                f"{address} has none of the collections {', '.join(collections)}; name its own "
                "under [catalog] in --config"
            )
        result = client.search(
            collections=asked, intersects=json.loads(shapely.to_geojson(area)), datetime=span
        )
        return list(result.items_as_dicts())
    except (APIError, requests.RequestException, pystac.STACError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CatalogError(
            f"the STAC API {address} does not answer as one: {reason}. Check --stac and the network"
        ) from None


def _read_local(path: Path) -> list[Item]:
    """Return every item of a local file, with absolute links."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(
            f"cannot read the catalog {path}: {error.strerror}. Give --stac an address or a file"
        ) from None
    except ValueError as error:
        raise CatalogError(f"the catalog {path} is not JSON: {error}") from None
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise CatalogError(f"{path} has no list of features; give a STAC ItemCollection")
        return [_with_links(item, path) for item in features]
    if kind == "Feature":
        return [_with_links(document, path)]
    if kind in ("Catalog", "Collection"):
        try:
            root = pystac.Catalog.from_file(str(path.resolve()))
            found = list(root.get_items(recursive=True))
            for item in found:
                item.make_asset_hrefs_absolute()
            return [item.to_dict() for item in found]
        except (pystac.STACError, OSError, KeyError, ValueError) as error:
            raise CatalogError(f"the catalog {path} cannot be read: {error}") from None
    raise CatalogError(
        f"{path} is neither a STAC ItemCollection nor a catalog; give one or an API's address"
    )


def _with_links(item: Any, path: Path) -> Item:
    """Return an item whose relative links are resolved against its file."""
    try:
        root = path.resolve()
        assets = {
            key: {**asset, "href": _absolute(asset["href"], root)}
            for key, asset in item["assets"].items()
        }
        return {**item, "assets": assets}
    except (KeyError, TypeError, AttributeError):
        raise CatalogError(f"{path} holds an item without assets; mend the catalog") from None


def _absolute(href: str, file: Path) -> str:
    if urlsplit(href).scheme or Path(href).is_absolute():
        return href
    return os.path.normpath(file.parent / href)


def read_scenes(items: Iterable[Item]) -> list[Scene]:
    """Return the scenes of items."""
    return [read_scene(item) for item in items]
