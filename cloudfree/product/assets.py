"""Row 14 of the walk: what a STAC Item says of the files of a step, under the same keys in each.

A file is called ``STEP_KEY`` and a suffix. Bands are told twice: as STAC 1.1 has them (``bands``,
with fields of the second versions of ``eo`` and ``raster``), and as ``eo:bands`` and
``raster:bands``, the only ones by which odc-stac finds a band by its name and stackstac its scale.
The second versions forbid those, so the Item names the first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pystac

from cloudfree.core.bands import BANDS, choose_shown
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.cog import Cog, Statistics
from cloudfree.product.layers import Layer
from cloudfree.product.store import CUBE
from cloudfree.storage.outputs import Checksum

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_VIEW = "image/x.gdal-vrt"
"""Of no registry, which knows none. Loaders take an ``image`` for a raster."""
_ZARR = "application/vnd.zarr; version=3"
_SHA256 = "1220"
"""What a multihash of 32 bytes by sha2-256 begins with."""
_RED_EDGE = {"B05": "rededge071", "B06": "rededge075", "B07": "rededge078"}
"""What ``eo`` calls them since its second version, before that all three ``rededge``."""

Limits = tuple[float, float]
"""Stored numbers to be shown as black and white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CogAsset:
    """A COG of the product."""

    name: str
    """Of its file."""
    layer: Layer
    """What it holds; its name is the asset's key."""
    shown: Limits
    """One for all bands, so that colours keep their balance; of no use for classes."""
    cog: Cog
    """What was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAsset:
    """A file of the product that is no COG."""

    key: str
    """Of its asset."""
    name: str
    """Of the file."""
    title: str
    """In words."""
    media_type: str
    """Of the file."""
    role: str
    """Of the asset."""
    file: Checksum
    """Of the whole file."""

    def describe(self) -> pystac.Asset:
        """Return the asset."""
        return pystac.Asset(
            f"./{self.name}",
            title=self.title,
            media_type=self.media_type,
            roles=[self.role],
            extra_fields=describe_file(self.file),
        )


def name_file(step_name: str, key: str, suffix: str) -> str:
    """Return the name of a step's file: the step, the key of its asset, the suffix."""
    return f"{step_name}_{key}{suffix}"


def describe_cog(one: CogAsset, grid: GridPlan, bands: tuple[str, ...]) -> pystac.Asset:
    """Return the asset of a COG."""
    names = bands if one.layer.has_bands else (one.layer.name,)
    statistics = dict(zip(names, one.cog.statistics, strict=True))
    return pystac.Asset(
        f"./{one.name}",
        title=one.layer.title,
        media_type=_COG,
        roles=["metadata" if one.layer.classes else "data"],
        extra_fields={
            **_describe_bands(one.layer, names, grid, statistics),
            **_classes(one.layer),
            **describe_file(one.cog.file),
        },
    )


def describe_view(
    name: str, band: str, file: Checksum, one: CogAsset, grid: GridPlan, bands: tuple[str, ...]
) -> pystac.Asset:
    """Return the asset of the view of one band of a COG; ``bands`` are those of the COG."""
    statistics = {band: one.cog.statistics[bands.index(band)]}
    return pystac.Asset(
        f"./{name}",
        title=f"{band} of {one.layer.name} as a file of its own",
        media_type=_VIEW,
        roles=["data", "virtual"],
        extra_fields={
            **_describe_bands(one.layer, (band,), grid, statistics),
            **describe_file(file),
        },
    )


def describe_cube(
    layers: tuple[Layer, ...], bands: tuple[str, ...], grid: GridPlan
) -> pystac.Asset:
    """Return the asset of the cube."""
    said = []
    for layer in layers:
        if layer.has_bands:
            said += [_band(name) | _numbers(layer, grid) for name in bands]
        else:
            about = {"name": layer.name, "description": layer.title}
            said.append(about | _numbers(layer, grid) | _classes(layer))
    return pystac.Asset(
        f"./{CUBE}",
        title="The cube: every step, with overviews",
        media_type=_ZARR,
        roles=["data"],
        extra_fields={"bands": said},
    )


def describe_render(layer: Layer, shown: Limits, bands: tuple[str, ...]) -> dict[str, Any]:
    """Return how to show a COG: in true colour (or what bands there are), or by its classes."""
    facts = {
        "title": layer.title,
        "assets": [layer.name],
        "nodata": layer.empty,
        "resampling": layer.shrinks_by,
    }
    if layer.classes:
        colours = {str(c.value): [*c.colour, 255 if c.value else 0] for c in layer.classes}
        return {**facts, "colormap": colours}
    channels = choose_shown(bands) if layer.has_bands else [0]
    return {
        **facts,
        **({"colormap_name": layer.diverging} if layer.diverging else {}),
        "bidx": [index + 1 for index in channels],
        "rescale": [[round(limit, 1) for limit in shown] for _ in channels],
    }


def describe_file(file: Checksum) -> dict[str, Any]:
    """Return the fields of the extension ``file``."""
    return {"file:size": file.size, "file:checksum": multihash(file.sha256)}


def multihash(sha256: str) -> str:
    """Return a checksum as the extension ``file`` writes it."""
    return _SHA256 + sha256


def _describe_bands(
    layer: Layer, names: tuple[str, ...], grid: GridPlan, found: dict[str, Statistics | None]
) -> dict[str, Any]:
    """Return the bands of a raster in every spelling."""
    statistics = {
        name: {"statistics": _statistics(one)} if one is not None else {}
        for name, one in found.items()
    }
    bands = [
        (_band(name) if layer.has_bands else {"name": name})
        | _numbers(layer, grid)
        | statistics[name]
        for name in names
    ]
    fields: dict[str, Any] = {
        "bands": bands,
        "raster:bands": [
            {key.removeprefix("raster:"): value for key, value in _numbers(layer, grid).items()}
            | statistics[name]
            for name in names
        ],
    }
    if layer.has_bands:
        fields["eo:bands"] = [
            {
                "name": name,
                "common_name": "rededge" if name in _RED_EDGE else BANDS[name].common_name,
                "center_wavelength": BANDS[name].wavelength_um,
            }
            for name in names
        ]
    return fields


def _band(name: str) -> dict[str, Any]:
    band = BANDS[name]
    return {
        "name": name,
        "eo:common_name": _RED_EDGE.get(name, band.common_name),
        "eo:center_wavelength": band.wavelength_um,
    }


def _numbers(layer: Layer, grid: GridPlan) -> dict[str, Any]:
    """Return what the numbers of a band mean."""
    facts: dict[str, Any] = {
        "data_type": layer.dtype,
        "raster:sampling": "area",
        "raster:spatial_resolution": grid.resolution_m,
    }
    if layer.nodata is not None:
        facts["nodata"] = layer.nodata
    if layer.unit is not None:
        facts["unit"] = layer.unit
    if layer.scale is not None:
        facts |= {"raster:scale": layer.scale, "raster:offset": 0.0}
    return facts


def _classes(layer: Layer) -> dict[str, Any]:
    if not layer.classes:
        return {}
    classes = [
        {
            "value": one.value,
            "name": one.name,
            "title": one.title,
            "color_hint": "".join(f"{part:02X}" for part in one.colour),
            **({"nodata": True} if one.name == "nodata" else {}),
        }
        for one in layer.classes
    ]
    return {"classification:classes": classes}


def _statistics(statistics: Statistics) -> dict[str, float]:
    return {name: round(value, 3) for name, value in asdict(statistics).items()}
