"""Row 14 of the walk: the product's STAC Item.

Bands are STAC 1.1's own, so ``eo`` and ``raster`` are of their second versions, which were made
for them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import antimeridian
import pystac
import shapely
from shapely.geometry import mapping

from cloudfree.core.bands import BANDS, choose_shown
from cloudfree.core.contract import Contract
from cloudfree.core.keys import unsigned
from cloudfree.geometry.crs import describe_crs
from cloudfree.geometry.grid import GridPlan, outline
from cloudfree.product.cog import Cog, Statistics
from cloudfree.product.layers import NODATA, Layer
from cloudfree.product.provenance import ATTRIBUTION, RUN, versions
from cloudfree.product.store import CUBE
from cloudfree.scenes.scene import Scene, Step
from cloudfree.storage.outputs import Checksum

COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_ZARR = "application/vnd.zarr; version=3"
_EXTENSIONS = {
    "classification": "2.0.0",
    "eo": "2.0.0",
    "file": "2.1.0",
    "processing": "1.2.0",
    "projection": "2.0.0",
    "raster": "2.0.0",
    "render": "2.0.0",
}
_SLACK_DEG = 1e-5
"""About a metre: edges of a grid are curves in longitude and latitude, and nearly straight."""
_SHA256 = "1220"
"""What a multihash of 32 bytes by sha2-256 begins with."""
_RED_EDGE = {"B05": "rededge071", "B06": "rededge075", "B07": "rededge078"}
"""What ``eo`` calls them since its second version; providers' assets have other names."""
_LICENSE = "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
_COPERNICUS = {
    "name": "Copernicus, European Union and ESA",
    "roles": ["producer", "licensor"],
    "url": "https://sentinels.copernicus.eu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CogAsset:
    """A COG of the product."""

    key: str
    """Of its asset."""
    name: str
    """Of its file."""
    layer: Layer
    """What it holds."""
    shown: tuple[tuple[float, float], ...]
    """By band: the stored numbers to show as black and white; empty for classes."""
    cog: Cog
    """What was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What an Item says of a product and of what went into it."""

    grid: GridPlan
    """Where it lies."""
    steps: tuple[Step, ...]
    """The datatakes, earliest first."""
    layers: tuple[Layer, ...]
    """Of the cube."""
    bands: tuple[str, ...]
    """Of its ``reflectance``."""
    contract: Contract
    """Of the model that made pixels."""
    found: Sequence[Mapping[str, Any]]
    """STAC items of the scenes."""


def build_item(
    product: Product,
    *,
    identifier: str,
    cogs: Iterable[CogAsset],
    files: Mapping[str, Checksum],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the Item; ``summary`` is what run.json says, ``files`` are those beside the COGs."""
    cogs, times = tuple(cogs), [step.time for step in product.steps]
    footprint = shapely.simplify(outline(product.grid.geobox), _SLACK_DEG)
    item = pystac.Item(
        id=identifier,
        geometry=json.loads(shapely.to_geojson(footprint)),
        bbox=list(antimeridian.bbox(mapping(footprint))),
        datetime=times[0] if len(times) == 1 else None,
        start_datetime=times[0] if len(times) > 1 else None,
        end_datetime=times[-1] if len(times) > 1 else None,
        properties=_properties(product, cogs, summary),
        stac_extensions=[
            f"https://stac-extensions.github.io/{name}/v{number}/schema.json"
            for name, number in _EXTENSIONS.items()
        ],
    )
    item.add_asset("cube", _cube(product))
    for one in cogs:
        item.add_asset(one.key, _cog(product, one))
    for key, name, media_type, role in (
        ("preview", "preview.png", "image/png", "thumbnail"),
        ("report", "report.html", "text/html", "overview"),
        ("run", RUN, "application/json", "metadata"),
    ):
        facts = _file(files[name])
        asset = pystac.Asset(f"./{name}", media_type=media_type, roles=[role], extra_fields=facts)
        item.add_asset(key, asset)
    scenes = {s.id: s for step in product.steps for s in (*step.optical, *step.radar)}
    found = {(one["collection"], one["id"]): one for one in product.found}
    for scene in scenes.values():
        item.add_link(_origin(scene, found.get((scene.collection, scene.id), {})))
    item.add_link(pystac.Link("license", _LICENSE, title="Copernicus Sentinel data terms"))
    return item.to_dict(include_self_link=False)


def _properties(
    product: Product, cogs: tuple[CogAsset, ...], summary: Mapping[str, Any]
) -> dict[str, Any]:
    optical = {scene.id: scene for step in product.steps for scene in step.optical}
    platforms = {scene.platform for scene in optical.values()}
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return {
        "title": f"Sentinel-2 without clouds, {' to '.join(_days(product))}",
        "created": now,
        "license": "other",
        "providers": [_COPERNICUS],
        "attribution": ATTRIBUTION,
        "constellation": "sentinel-2",
        **({"platform": platforms.pop()} if len(platforms) == 1 and "" not in platforms else {}),
        "instruments": ["msi"],
        "gsd": product.grid.resolution_m,
        **_position(product.grid),
        **_processing(summary["model"], now),
        **_cloud_left(summary["pixels"]),
        "renders": {one.key: _render(product, one) for one in cogs},
        "cloudfree:model": _model(product.contract),
        "cloudfree:harmonisation": [
            {"scene": scene.id, "offset_dn": scene.offset.dn, "why": scene.offset.why}
            for scene in optical.values()
        ],
        "cloudfree:pixels": summary["pixels"],
        **({"cloudfree:check": check} if (check := summary.get("check")) is not None else {}),
    }


def _position(grid: GridPlan) -> dict[str, Any]:
    return {
        **describe_crs(grid.crs),
        "proj:shape": list(grid.geobox.shape),
        "proj:transform": list(grid.geobox.affine)[:6],
        "proj:bbox": list(grid.geobox.boundingbox.bbox),
    }


def _processing(model: str, now: str) -> dict[str, Any]:
    return {
        "processing:level": "L3",
        "processing:lineage": (
            f"What Sentinel-2 saw is passed on unchanged; what cloud or its shadow hid was "
            f"reconstructed from Sentinel-1 backscatter by model {model}"
        ),
        "processing:software": versions(),
        "processing:version": version("cloudfree"),
        "processing:datetime": now,
    }


def _cloud_left(pixels: Mapping[str, int]) -> dict[str, float]:
    """Return how much of what there is stayed hidden; nothing where there is nothing."""
    covered = sum(pixels[name] for name in ("seen", "reconstructed", "not_restored"))
    return {"eo:cloud_cover": round(100 * pixels["not_restored"] / covered, 3)} if covered else {}


def _days(product: Product) -> list[str]:
    return sorted({f"{step.time:%Y-%m-%d}" for step in (product.steps[0], product.steps[-1])})


def _model(contract: Contract) -> dict[str, Any]:
    """Return which model it was, in the words of the extension for models where it has any."""
    networks = {"sar2opt": contract.sar2opt, "cloud_removal": contract.cloud_removal}
    built = [f"{role} {n.generator} of width {n.width}" for role, n in networks.items() if n]
    return {
        "mlm:name": contract.name,
        "version": contract.version,
        "mlm:architecture": ", ".join([contract.network, *built]),
        "weights": [
            {"role": one.role, "file": one.file, "file:checksum": _SHA256 + one.sha256}
            for one in contract.weights
        ],
    }


def _cube(product: Product) -> pystac.Asset:
    optical, others = [], []
    for layer in product.layers:
        if layer.has_bands:
            optical = [_band(name) | _numbers(layer) for name in product.bands]
        else:
            others.append({"name": layer.name, "description": layer.title} | _numbers(layer))
    return pystac.Asset(
        f"./{CUBE}",
        title="The cube: every step, with overviews",
        media_type=_ZARR,
        roles=["data"],
        extra_fields={"raster:spatial_resolution": product.grid.resolution_m}
        | {"bands": [*optical, *others]},
    )


def _cog(product: Product, one: CogAsset) -> pystac.Asset:
    names = product.bands if one.layer.has_bands else ()
    bands = [_band(name) for name in names] or [{"name": one.layer.name}]
    for band, statistics in zip(bands, one.cog.statistics, strict=True):
        if statistics is not None:
            band["statistics"] = _statistics(statistics)
    return pystac.Asset(
        f"./{one.name}",
        title=one.layer.title,
        media_type=COG,
        roles=["metadata" if one.layer.classes else "data"],
        extra_fields={
            "raster:spatial_resolution": product.grid.resolution_m,
            "raster:sampling": "area",
            **_numbers(one.layer),
            "bands": bands,
            **_file(one.cog.file),
        },
    )


def _band(name: str) -> dict[str, Any]:
    band = BANDS[name]
    return {
        "name": name,
        "eo:common_name": _RED_EDGE.get(name, band.common_name),
        "eo:center_wavelength": band.wavelength_um,
    }


def _numbers(layer: Layer) -> dict[str, Any]:
    """Return what a layer's numbers mean."""
    facts: dict[str, Any] = {"data_type": layer.dtype}
    if layer.nodata is not None:
        facts["nodata"] = layer.nodata
    if layer.scale is not None:
        facts |= {"unit": "1", "raster:scale": layer.scale, "raster:offset": 0.0}
    if layer.classes:
        facts["classification:classes"] = [
            {
                "value": one.value,
                "name": one.name,
                "title": one.title,
                "color_hint": "".join(f"{part:02X}" for part in one.colour),
                **({"nodata": True} if one.name == "nodata" else {}),
            }
            for one in layer.classes
        ]
    return facts


def _statistics(statistics: Statistics) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(statistics).items()}


def _file(file: Checksum) -> dict[str, Any]:
    return {"file:size": file.size, "file:checksum": _SHA256 + file.sha256}


def _render(product: Product, one: CogAsset) -> dict[str, Any]:
    """Return how to show a COG: in true colour (or what bands there are), or by its classes."""
    facts = {"title": one.layer.title, "assets": [one.key], "nodata": NODATA}
    if one.layer.classes:
        colours = {str(c.value): [*c.colour, 255 if c.value else 0] for c in one.layer.classes}
        return {**facts, "colormap": colours, "resampling": "nearest"}
    bands = product.bands
    shown = choose_shown(bands) if one.layer.has_bands else [0]
    return {
        **facts,
        "bidx": [index + 1 for index in shown],
        "rescale": [list(one.shown[index]) for index in shown],
        "resampling": "average",
    }


def _origin(scene: Scene, found: Mapping[str, Any]) -> pystac.Link:
    """Return the link to an input: its Item where that says where it is, else one of its files."""
    own = (link["href"] for link in found.get("links", ()) if link.get("rel") == "self")
    href = next((href for href in own if "://" in href), None)
    if href is not None:
        return pystac.Link("derived_from", unsigned(href), "application/geo+json", scene.id)
    return pystac.Link("derived_from", unsigned(next(iter(scene.hrefs.values()))), title=scene.id)
