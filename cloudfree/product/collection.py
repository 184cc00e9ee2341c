"""Row 14 of the walk: the STAC Collection of a run, over the Items of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pystac

from cloudfree.product.assets import FileAsset, Limits, describe_cube, describe_render
from cloudfree.product.item import (
    COLLECTION,
    PROVIDERS,
    Product,
    StepFiles,
    build_item,
    describe_lineage,
    extensions,
    license_link,
    name_item,
)

_OF_ONE_FILE = ("href", "file:size", "file:checksum")
_OF_ONE_BAND = "statistics"
_SUMMARISED = ("constellation", "platform", "instruments", "gsd", "proj:code", "processing:level")
"""Properties of Items whose different values the Collection lists."""


def build_collection(
    product: Product, steps: Sequence[StepFiles], files: Iterable[FileAsset]
) -> dict[str, dict[str, Any]]:
    """Return name -> what each STAC file of a run holds: its Items, and the Collection last.

    ``files`` are those of the whole run.
    """
    items = [build_item(product, one) for one in steps]
    days = sorted({f"{one.step.time:%Y-%m-%d}" for one in (steps[0], steps[-1])})
    times = [one.step.time for one in steps]
    collection = pystac.Collection(
        id=product.identifier,
        title=f"Sentinel-2 without clouds, {' to '.join(days)}",
        description=f"{describe_lineage(product.contract, steps)}. "
        "An Item is one overpass; the cube holds them all.",
        extent=pystac.Extent(
            pystac.SpatialExtent([items[0]["bbox"]]),
            pystac.TemporalExtent([[min(times), max(times)]]),
        ),
        license="other",
        keywords=[
            *(["Sentinel-1"] if any(one.step.radar for one in steps) else []),
            "Sentinel-2",
            "cloud removal",
        ],
        providers=PROVIDERS,
        summaries=pystac.Summaries(_summarise(items)),
        stac_extensions=extensions(),
        extra_fields={
            "item_assets": {key: _any_file(one) for key, one in items[0]["assets"].items()},
            "renders": _renders(product, steps),
        },
    )
    collection.add_asset("cube", describe_cube(product.layers, product.bands, product.grid))
    for one in files:
        collection.add_asset(one.key, one.describe())
    collection.add_link(pystac.Link("root", f"./{COLLECTION}", "application/json"))
    names = [name_item(one.name) for one in steps]
    for name in names:
        collection.add_link(pystac.Link("item", f"./{name}", "application/geo+json"))
    collection.add_link(license_link())
    written = collection.to_dict(include_self_link=False, transform_hrefs=False)
    return {**dict(zip(names, items, strict=True)), COLLECTION: written}


def _any_file(asset: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an asset says of the files of every step."""
    return {
        key: [{k: v for k, v in band.items() if k != _OF_ONE_BAND} for band in value]
        if key.endswith("bands")
        else value
        for key, value in asset.items()
        if key not in _OF_ONE_FILE
    }


def _summarise(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values that properties of the Items have."""
    summaries: dict[str, Any] = {}
    for name in _SUMMARISED:
        found = [item["properties"].get(name) for item in items]
        values = [v for one in found for v in (one if isinstance(one, list) else [one])]
        different = sorted({value for value in values if value is not None})
        if different:
            summaries[name] = different
    clouds = [c for item in items if (c := item["properties"].get("eo:cloud_cover")) is not None]
    if clouds:
        summaries["eo:cloud_cover"] = {"minimum": min(clouds), "maximum": max(clouds)}
    return summaries


def _renders(product: Product, steps: Sequence[StepFiles]) -> dict[str, Any]:
    """Return how to show the COGs of all steps alike: from the darkest black to the whitest."""
    renders = {}
    for index, first in enumerate(steps[0].cogs):
        limits: list[Limits] = [one.cogs[index].shown for one in steps]
        widest = min(low for low, _ in limits), max(high for _, high in limits)
        renders[first.layer.name] = describe_render(first.layer, widest, product.bands)
    return renders
