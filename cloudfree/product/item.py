"""Row 14 of the walk: the STAC Item of a step, and what an Item and the Collection both say."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import antimeridian
import pystac
import shapely
from shapely.geometry import MultiPolygon, Polygon, mapping
from shapely.geometry.polygon import orient

from cloudfree.core.contract import Contract
from cloudfree.core.keys import unsigned
from cloudfree.geometry.aoi import Aoi
from cloudfree.geometry.crs import describe_crs
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.assets import (
    CogAsset,
    FileAsset,
    describe_cog,
    describe_cube,
    describe_render,
    describe_view,
    multihash,
    name_file,
)
from cloudfree.product.layers import Layer
from cloudfree.product.provenance import ATTRIBUTION, ITEMS, ReferenceShare, versions
from cloudfree.scenes.scene import Scene, Step
from cloudfree.storage.outputs import Checksum

COLLECTION = "collection.json"
"""The run's Collection, beside its Items."""
_EXTENSIONS = {
    "classification": "2.0.0",
    "eo": "1.1.0",
    "file": "2.1.0",
    "processing": "1.2.0",
    "projection": "1.2.0",
    "raster": "1.1.0",
    "render": "2.0.0",
}
_MOST_VERTICES = 1000
"""Of an outline; every reader of a catalog reads it."""
_SLACK_DEG = 1e-5
"""About a metre: what an outline with more is widened and simplified by, doubled until it fits."""
_EARTH = shapely.box(-180, -90, 180, 90)
_COPERNICUS = pystac.Provider(
    name="Copernicus, European Union and ESA",
    roles=[pystac.ProviderRole.PRODUCER, pystac.ProviderRole.LICENSOR],
    url="https://sentinels.copernicus.eu",
)
PROVIDERS = [_COPERNICUS]
"""Whose data it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What STAC says of a run's product and of what went into it."""

    identifier: str
    """Of its Collection; those of its Items begin with it."""
    area: Aoi
    """The area of interest."""
    grid: GridPlan
    """Where it lies."""
    layers: tuple[Layer, ...]
    """Of the cube."""
    bands: tuple[str, ...]
    """Of its ``reflectance``."""
    contract: Contract
    """Of the model that made pixels."""
    found: Sequence[Mapping[str, Any]]
    """STAC items of the scenes."""
    choices: Sequence[Mapping[str, Any]]
    """What was measured of each scene to choose its model; nothing where none was to be chosen."""
    check: Mapping[str, Any] | None
    """What the self-check found; None where there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFiles:
    """A step, what its pixels are, and its files."""

    step: Step
    """The datatake."""
    name: str
    """What the names of its files begin with."""
    references: tuple[ReferenceShare, ...]
    """Scenes of other days that pixels were made of."""
    pixels: Mapping[str, int]
    """How many were seen, reconstructed, made of other days, and not restored."""
    cogs: tuple[CogAsset, ...]
    """Its COGs."""
    views: Mapping[str, Checksum]
    """Band -> its view in the reflectance."""
    others: tuple[FileAsset, ...]
    """Everything else."""


def name_item(step_name: str) -> str:
    """Return the name of a step's Item."""
    return name_file(step_name, "item", ".json")


def name_view(step_name: str, band: str) -> str:
    """Return the name of the view of a band."""
    return name_file(step_name, band, ".vrt")


def build_item(product: Product, files: StepFiles) -> dict[str, Any]:
    """Return the Item of a step; its links are relative, and it lies beside the Collection."""
    footprint = outline(product.area)
    item = pystac.Item(
        id=f"{product.identifier}-{files.name}",
        geometry=json.loads(shapely.to_geojson(footprint)),
        bbox=list(antimeridian.bbox(mapping(footprint))),
        datetime=files.step.time,
        properties=_properties(product, files),
        stac_extensions=extensions(),
        collection=product.identifier,
    )
    for one in files.cogs:
        item.add_asset(one.layer.name, describe_cog(one, product.grid, product.bands))
        for band, file in files.views.items() if one.layer.has_bands else ():
            name = name_view(files.name, band)
            view = describe_view(name, band, file, one, product.grid, product.bands)
            item.add_asset(band, view)
    item.add_asset("cube", describe_cube(product.layers, product.bands, product.grid))
    for other in files.others:
        item.add_asset(other.key, other.describe())
    for relation in ("root", "parent", "collection"):
        item.add_link(pystac.Link(relation, f"./{COLLECTION}", "application/json"))
    found = {(str(one.get("collection")), str(one.get("id"))): one for one in product.found}
    step = files.step
    watching = (scene for scene in step.watching if scene not in step.radar)
    for scene in (*step.optical, *step.radar, *watching):
        item.add_link(_origin(scene, found))
    for reference in files.references:
        item.add_link(_origin(reference.scene, found, {"cloudfree:share": reference.share}))
    item.add_link(license_link())
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def outline(area: Aoi) -> Polygon | MultiPolygon:
    """Return the area in longitude and latitude, with no more vertices than a catalog can bear.

    It holds the whole area; one of many vertices is widened a little. Exteriors run
    counterclockwise, and no part crosses the antimeridian.
    """
    shape, slack = area.geometry, _SLACK_DEG
    while shapely.get_num_coordinates(shape) > _MOST_VERTICES:
        wide = shapely.simplify(shape.buffer(2 * slack, quad_segs=1), slack)
        shape, slack = shapely.union_all(shapely.get_parts(wide)).intersection(_EARTH), 2 * slack
    parts = [orient(part) for part in shapely.get_parts(shape) if isinstance(part, Polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def extensions() -> list[str]:
    """Return the schemas of the extensions that are used."""
    base = "https://stac-extensions.github.io"
    return [f"{base}/{name}/v{number}/schema.json" for name, number in _EXTENSIONS.items()]


def license_link() -> pystac.Link:
    """Return the link to the terms of the data."""
    terms = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
    return pystac.Link("license", terms, title="Copernicus Sentinel data terms")


def _properties(product: Product, files: StepFiles) -> dict[str, Any]:
    optical = files.step.optical
    platforms = {scene.platform for scene in optical} - {""}
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    check = {} if product.check is None else {"cloudfree:check": product.check}
    own = {scene.id for scene in optical}
    choices = [dict(one) for one in product.choices if one["optical"] in own]
    return {
        "title": f"Sentinel-2 without clouds, {files.step.time:%Y-%m-%d}",
        "created": now,
        "license": "other",
        "providers": [one.to_dict() for one in PROVIDERS],
        "attribution": ATTRIBUTION,
        "constellation": "sentinel-2",
        **({"platform": platforms.pop()} if len(platforms) == 1 else {}),
        "instruments": ["msi"],
        "gsd": product.grid.resolution_m,
        **_position(product.grid),
        **_processing(product.contract, files, now),
        **_cloud_left(files.pixels),
        "renders": {
            one.layer.name: describe_render(one.layer, one.shown, product.bands)
            for one in files.cogs
        },
        "cloudfree:model": _model(product.contract),
        **({"cloudfree:choice": choices} if choices else {}),
        "cloudfree:harmonisation": [
            {"scene": scene.id, "offset_dn": scene.offset.dn, "why": scene.offset.why}
            for scene in optical
        ],
        "cloudfree:pixels": dict(files.pixels),
        **check,
    }


def _position(grid: GridPlan) -> dict[str, Any]:
    """Return where the pixels lie; ``proj:epsg`` is what stackstac reads."""
    code = grid.crs.epsg
    return {
        **describe_crs(grid.crs),
        **({} if code is None else {"proj:epsg": code}),
        "proj:shape": list(grid.geobox.shape),
        "proj:transform": list(grid.geobox.affine)[:6],
        "proj:bbox": list(grid.geobox.boundingbox.bbox),
    }


def _processing(contract: Contract, files: StepFiles, now: str) -> dict[str, Any]:
    return {
        "processing:level": "L3",
        "processing:lineage": describe_lineage(contract, [files]),
        "processing:software": versions(),
        "processing:version": version("cloudfree"),
        "processing:datetime": now,
    }


def describe_lineage(contract: Contract, steps: Sequence[StepFiles]) -> str:
    """Return what the pixels of steps were made of, in a sentence."""
    radar = "Sentinel-1 backscatter and " if any(one.step.radar for one in steps) else ""
    ways = {
        "other_days": "made of what Sentinel-2 saw there on other days",
        "reconstructed": f"reconstructed from {radar}surroundings by model {contract.name} "
        f"{contract.version}",
    }
    done = [way for kind, way in ways.items() if any(one.pixels[kind] for one in steps)]
    said = "What Sentinel-2 saw is passed on unchanged"
    if not done:
        return f"{said}; no pixel was made"
    return f"{said}; what cloud or its shadow hid was {', or else '.join(done)}"


def _cloud_left(pixels: Mapping[str, int]) -> dict[str, float]:
    """Return how much of what there is stayed hidden; nothing where there is nothing."""
    covered = sum(pixels.values())
    return {"eo:cloud_cover": round(100 * pixels["not_restored"] / covered, 3)} if covered else {}


def _model(contract: Contract) -> dict[str, Any]:
    """Return which model it was, in the words of the extension for models where it has any."""
    networks = {"sar2opt": contract.sar2opt, "cloud_removal": contract.cloud_removal}
    built = [f"{role} {n.generator} of width {n.width}" for role, n in networks.items() if n]
    return {
        "mlm:name": contract.name,
        "version": contract.version,
        "mlm:architecture": ", ".join([contract.network, *built]),
        "weights": [
            {"role": one.role, "file": one.file, "file:checksum": multihash(one.sha256)}
            for one in contract.weights
        ],
    }


def _origin(
    scene: Scene,
    found: Mapping[tuple[str, str], Mapping[str, Any]],
    fields: dict[str, Any] | None = None,
) -> pystac.Link:
    """Return the link to a scene: its Item where that says where it is, else its entry in ours.

    ``found`` are the scenes' items by collection and id; ``fields`` what else the link says.
    """
    links = found.get((scene.collection, scene.id), {}).get("links") or ()
    own = (str(link.get("href", "")) for link in links if link.get("rel") == "self")
    href = next((href for href in own if "://" in href or Path(href).is_absolute()), None)
    if href is None:
        href = f"./{ITEMS}#{quote(f'{scene.collection}/{scene.id}')}"
    else:
        href = unsigned(href)
    return pystac.Link("derived_from", href, "application/geo+json", scene.id, fields)
