"""Row 2 of the walk: STAC items over an area, from an API or a local file; asked once."""

from __future__ import annotations

import datetime as dt
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pystac
import requests
import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry.base import BaseGeometry
from urllib3.util import Retry

from cloudfree.core.config import CatalogSettings, ReferenceSettings, SceneSettings
from cloudfree.core.errors import CatalogError
from cloudfree.core.keys import unsigned
from cloudfree.geometry.aoi import cut_at_antimeridian
from cloudfree.scenes.links import resolve, with_links
from cloudfree.scenes.providers import Collection, OpticalCollection, Sources, is_api
from cloudfree.scenes.scene import Period, Scene, read_scene

logger = logging.getLogger(__name__)

Item = dict[str, Any]
_NOT_STAC = (pystac.STACError, pystac.STACTypeError, ValueError, TypeError, LookupError,
             AttributeError, RecursionError)  # fmt: skip
"""What pystac raises of documents that are not STAC, whole or in part."""
_API_ERRORS = (APIError, requests.RequestException, *_NOT_STAC)
_ASK_AGAIN = Retry(
    total=5, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None
)
"""Searches change nothing on a server: they may be asked again, too."""
_ANY_CLOUD = 100.0
_PAGE_ITEMS = 250
"""Items an API is asked for at once; it may give fewer."""
_METRES_PER_DEGREE = 110_000.0
"""A little less than a degree of latitude anywhere, so that areas grow a little more."""


def widen(geometry: BaseGeometry, metres: float) -> BaseGeometry:
    """Return a longitude/latitude area grown by at least ``metres``.

    Scenes that only touch a chunk's halo are needed too: without them the windows at the rim
    would depend on the area.
    """
    _, south, _, north = geometry.bounds
    across = math.cos(math.radians(min(max(abs(south), abs(north)), 89)))
    grown = geometry.buffer(metres / _METRES_PER_DEGREE / across, quad_segs=32)
    return cut_at_antimeridian(grown)


def search(
    sources: Sources,
    *,
    area: BaseGeometry,
    period: Period,
    catalog: CatalogSettings,
    scenes: SceneSettings,
) -> list[Item]:
    """Return the optical and radar items over ``area`` within reach of the period, by id.

    What comes back is checked again here: servers do not always filter as asked. Items that cannot
    be used are among them, for ``read_scenes`` to name, unless the settings are strict. Raises
    CatalogError where a catalog does not answer, is not STAC, or has none of the collections.
    """
    optical = dt.timedelta(days=0 if period.is_interval else scenes.optical_days)
    radar = optical + dt.timedelta(days=scenes.sar_days)
    found: dict[tuple[str, str], Item] = {}
    for address, collections, reach, most_cloud in (
        (sources.optical_address, sources.optical.optical, optical, catalog.max_cloud_percent),
        (sources.radar_address, sources.radar.radar, radar, _ANY_CLOUD),
    ):
        query = Query(
            collections={one.id: one for one in collections},
            area=area,
            first=period.first - reach,
            last=period.end + reach,
            most_cloud=most_cloud,
            strict=catalog.strict,
        )
        found |= _find(address, query, sources, catalog.timeout_s)
    logger.info("catalog.search: %d items", len(found))
    return [found[key] for key in sorted(found)]


def search_references(
    sources: Sources,
    targets: Sequence[Scene],
    *,
    references: ReferenceSettings,
    catalog: CatalogSettings,
) -> list[Item]:
    """Return the items of other days over some scenes as a whole, by id: optical and radar.

    However cloudy: what they show here and there is wanted. Otherwise as ``search``.
    """
    times = [scene.time for scene in targets]
    optical = dt.timedelta(days=references.days)
    radar = optical + dt.timedelta(days=references.radar_days)
    found: dict[tuple[str, str], Item] = {}
    for address, collections, reach in (
        (sources.optical_address, sources.optical.optical, optical),
        (sources.radar_address, sources.radar.radar if references.radar_days else (), radar),
    ):
        if collections:
            query = Query(
                collections={one.id: one for one in collections},
                area=shapely.union_all([scene.footprint for scene in targets]),
                first=min(times) - reach,
                last=max(times) + reach,
                most_cloud=_ANY_CLOUD,
                strict=catalog.strict,
            )
            found |= _find(address, query, sources, catalog.timeout_s)
    logger.info("catalog.search_references: %d items", len(found))
    return [found[key] for key in sorted(found)]


def _find(
    address: str, query: Query, sources: Sources, timeout_s: float
) -> dict[tuple[str, str], Item]:
    """Return what a catalog has of what is asked, by collection and id."""
    items = _ask(address, query, timeout_s) if is_api(address) else _read_local(address)
    _check_collections(address, items, sources)
    wanted = [item for item in map(_plain, items) if query.wants(item)]
    return {(str(item["collection"]), str(item.get("id"))): item for item in wanted}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked of one catalog."""

    collections: Mapping[str, Collection]
    """By id."""
    area: BaseGeometry
    """In longitude and latitude."""
    first: dt.datetime
    """First moment."""
    last: dt.datetime
    """Last moment."""
    most_cloud: float
    """In percent, by the metadata of scenes that name it."""
    strict: bool = False
    """Raise CatalogError for an item of these collections that cannot be used."""

    def wants(self, item: Item) -> bool:
        """Return whether an item is one that was asked for, as far as it can be read."""
        collection = self.collections.get(str(item.get("collection")))
        if collection is None:
            return False
        try:
            scene = read_scene(item, collection)
        except CatalogError:
            if self.strict:
                raise
            return True
        return bool(
            self.first <= scene.time <= self.last
            and (scene.cloud_percent is None or scene.cloud_percent <= self.most_cloud)
            and scene.footprint.intersects(self.area)
        )


def address_of(stac: str) -> str:
    """Return an API's address without signature, or the absolute path of a local catalog."""
    return unsigned(stac) if is_api(stac) else str(_path_of(stac))


def _path_of(stac: str) -> Path:
    """Return the whole path of a local file, given as one or as a file: link."""
    return Path(resolve(stac, str(Path("beside").absolute()))).resolve()


def _check_collections(address: str, items: Sequence[Item], sources: Sources) -> None:
    """Raise CatalogError where a file holds items, and none of a collection that is asked."""
    wanted = [one.id for one in sources.optical.optical]
    wanted += [one.id for one in sources.radar.radar]
    held = Counter(str(item.get("collection") or "no collection") for item in items)
    if is_api(address) or not held or set(held) & set(wanted):
        return
    found = ", ".join(f"{count} of {name}" for name, count in sorted(held.items()))
    raise CatalogError(
        f"{address} holds items, {found}; wanted are those of {', '.join(wanted)}. Name these "
        "collections in its items, or give --provider a TOML that names theirs"
    )


def _ask(address: str, query: Query, timeout_s: float) -> list[Item]:
    try:
        io = StacApiIO(max_retries=_ASK_AGAIN)
        answer = io.session.get(address, timeout=timeout_s)
        answer.raise_for_status()
        document = answer.json()
        if not _is_search(document):
            return _read_document(document, address)
        client = Client.open(address, stac_io=io, timeout=timeout_s)
        asked = list(query.collections)
        if any(link.rel == "data" for link in client.links):
            known = {collection.id for collection in client.get_collections()}
            asked = [name for name in asked if name in known]
        if not asked:
            raise CatalogError(
                f"{address} has none of the collections {', '.join(query.collections)}; give "
                "another --provider or a TOML that names its own"
            )
        cloud = {collection.cloud for collection in query.collections.values()
                 if isinstance(collection, OpticalCollection)}  # fmt: skip
        limits = {
            name: {"lte": query.most_cloud} for name in cloud if query.most_cloud < _ANY_CLOUD
        }
        result = client.search(
            collections=asked,
            intersects=json.loads(shapely.to_geojson(query.area)),
            datetime=(query.first, query.last),
            query=limits or None,
            limit=_PAGE_ITEMS,
        )
        return _read_pages(result.pages_as_dicts(), address)
    except _API_ERRORS as error:
        raise _no_answer(address, error) from None


def _plain(value: Any) -> Any:
    """Return a JSON value with words for what JSON has no numbers for, as STAC writes them."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _is_search(document: Any) -> bool:
    """Return whether a document is the face of an API that searches, not a file on a server."""
    links = document.get("links") if isinstance(document, dict) else None
    return isinstance(links, list) and any(
        isinstance(link, dict) and link.get("rel") == "search" for link in links
    )


def _read_pages(pages: Iterable[dict[str, Any]], address: str) -> list[Item]:
    """Return the items of all pages; a page that comes again ends them with a warning."""
    items: list[Item] = []
    known: set[tuple[str, ...]] = set()
    for page in pages:
        features = page.get("features") or []
        ids = tuple(str(item.get("id")) for item in features)
        if ids in known:
            logger.warning(
                "the STAC API %s gives the same page again and again: took %d items",
                unsigned(address),
                len(items),
            )
            break
        known.add(ids)
        items += features
    return items


def greet(address: str, timeout_s: float) -> str:
    """Return the title of a STAC API; CatalogError where it does not answer in time, asked once."""
    try:
        client = Client.open(address, stac_io=StacApiIO(max_retries=None), timeout=timeout_s)
        return client.title or client.id
    except _API_ERRORS as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> CatalogError:
    text = " ".join(str(error).split())
    cause = re.search(r"Caused by \w+\([^:]*: (.*?)['\"]?\)+$", text)  # urllib3 wraps what it says
    reason = (cause[1] if cause else text)[:200]
    return CatalogError(
        f"the STAC API {unsigned(address)} does not answer as one: {reason}. "
        "Check --stac and the network"
    )


def _read_local(address: str) -> list[Item]:
    """Return every item of a local file, with absolute links."""
    path = _path_of(address)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CatalogError(
            f"cannot read the catalog {path}: {error.strerror}. Give --stac an address or a file"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"the catalog {path} is not JSON: {error}") from None
    return _read_document(document, str(path))


def _read_document(document: Any, address: str) -> list[Item]:
    """Return every item of a catalog's document, with absolute links; it lies at ``address``."""
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise CatalogError(f"{address} has no list of features; give a STAC ItemCollection")
        return [_with_links(item, address) for item in features]
    if kind == "Feature":
        return [_with_links(document, address)]
    if kind in ("Catalog", "Collection"):
        try:
            found = pystac.Catalog.from_file(address).get_items(recursive=True)
            return [_with_links(item.to_dict(), item.get_self_href() or address) for item in found]
        except (OSError, *_NOT_STAC) as error:
            raise CatalogError(f"the catalog {address} cannot be read: {error}") from None
    raise CatalogError(
        f"{address} is neither a STAC ItemCollection nor a catalog; give one or an API's address"
    )


def _with_links(item: Any, address: str) -> Item:
    """Return an item whose relative links are resolved against its document's address.

    What is wrong with it is left for ``read_scene`` to say; CatalogError where it is no object.
    """
    if not isinstance(item, dict):
        raise CatalogError(f"{address} holds {str(item)[:40]} among its items; mend the catalog")
    assets = item.get("assets")
    if not isinstance(assets, dict):
        return item
    resolved = {
        key: with_links(asset, address) if isinstance(asset, dict) else asset
        for key, asset in assets.items()
    }
    return {**item, "assets": resolved}


class Readable(NamedTuple):
    """What can be used of a catalog's items."""

    scenes: list[Scene]
    left_out: list[str]
    """Of each other item of the wanted collections, why it cannot be used."""


def read_scenes(items: Iterable[Item], sources: Sources, bands: Sequence[str] = ()) -> Readable:
    """Return the scenes of items of the collections that can be used, and which cannot.

    Optical scenes that lack one of ``bands`` cannot, as long as others have them all.
    """
    items, collections = list(items), sources.collections
    for refused in (one for one in sources.radar.radar if not one.terrain_corrected):
        count = sum(item["collection"] == refused.id for item in items)
        if count:
            logger.warning(
                "left out %d items of %s: it is not corrected for terrain, so relief displaces "
                "its pixels",
                count,
                refused.id,
            )
    scenes: list[Scene] = []
    left_out: list[str] = []
    for item in items:
        if item["collection"] not in collections:
            continue
        try:
            scenes.append(read_scene(item, collections[item["collection"]]))
        except CatalogError as error:
            left_out.append(str(error).removesuffix("; mend the catalog"))
    optical = {collection.id for collection in sources.optical.optical}
    poor = {
        scene.id: [band for band in bands if scene.href(band) is None]
        for scene in scenes
        if scene.collection in optical
    }
    if all(poor.values()):  # the choice of scenes says what they have instead
        return Readable(scenes, left_out)
    left_out += [
        f"scene {scene} has no asset for {', '.join(missing)}"
        for scene, missing in poor.items()
        if missing
    ]
    return Readable([scene for scene in scenes if not poor.get(scene.id)], left_out)
