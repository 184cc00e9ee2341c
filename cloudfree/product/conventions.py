"""What the cube says of itself: the words of CF and of the conventions that make up GeoZarr.

GeoZarr is three Zarr conventions today: ``proj:`` and ``spatial:`` place a group on the ground,
``multiscales`` says which arrays are overviews of which. Their release 0.1 is what is registered
here; its schemas fix the addresses. Of the layouts that ``multiscales`` allows, this is the one
that GDAL writes and reads (from 3.13 on): full resolution stays in the root group, which opens as
a dataset on its own, and groups ``ovr_2x``, ``ovr_4x``, ... beside its arrays hold the overviews.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cloudfree.core.bands import BANDS
from cloudfree.geometry.crs import describe_crs
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.layers import Layer

CF = "CF-1.11"
_STANDARD_NAMES = {
    "L1C": "toa_bidirectional_reflectance",
    "L2A": "surface_bidirectional_reflectance",
}
"""By the level of the optical scenes."""
_REGISTERED = {
    "proj": (
        "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "Coordinate reference system information for geospatial data",
    ),
    "spatial": ("689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"),
    "multiscales": ("d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"),
}
"""Convention -> its identifier and description."""


def overview_name(factor: int) -> str:
    """Return the name of the group that holds what is ``factor`` times smaller."""
    return f"ovr_{factor}x"


def describe_layer(layer: Layer, levels: Iterable[str]) -> dict[str, Any]:
    """Return an array's CF attributes; ``levels`` are those of the optical scenes."""
    attributes: dict[str, Any] = {"long_name": layer.title, "grid_mapping": "spatial_ref"}
    if layer.unit is not None:
        attributes["units"] = layer.unit
    if layer.unit is None and layer.nodata is not None:
        # for rioxarray; a _FillValue would make xarray turn whole numbers into floats
        attributes["nodata"] = layer.nodata
    names = {_STANDARD_NAMES.get(level) for level in levels}
    if layer.has_bands and len(names) == 1 and (name := names.pop()):
        attributes["standard_name"] = name
    if layer.classes:
        attributes["flag_values"] = [one.value for one in layer.classes]
        attributes["flag_meanings"] = " ".join(one.name for one in layer.classes)
    return attributes


def describe_bands(bands: tuple[str, ...]) -> dict[str, tuple[str, Any, dict[str, str]]]:
    """Return what xarray takes as coordinates of ``band``: names and centre wavelengths."""
    return {
        "band": (
            "band",
            np.array(bands, np.dtypes.StringDType()),
            {"standard_name": "sensor_band_identifier"},
        ),
        "wavelength": (
            "band",
            [BANDS[band].wavelength_um for band in bands],
            {"standard_name": "sensor_band_central_radiation_wavelength", "units": "um"},
        ),
    }


def describe_group(
    plan: GridPlan, layers: Iterable[Layer], *, pyramid: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Return the GeoZarr attributes of a group with ``layers``.

    ``pyramid`` are the factors of its overviews.
    """
    used = ["proj", "spatial", *(["multiscales"] if pyramid else [])]
    attributes: dict[str, Any] = {
        "zarr_conventions": [_register(name) for name in used],
        **describe_crs(plan.crs),
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(plan.geobox.affine)[:6],
        "spatial:shape": list(plan.geobox.shape),
        "spatial:bbox": list(plan.geobox.boundingbox.bbox),
    }
    if pyramid:
        attributes["multiscales"] = {"layout": list(_layout(plan, layers, pyramid))}
    return attributes


def _register(name: str) -> dict[str, str]:
    identifier, description = _REGISTERED[name]
    base = f"zarr-conventions/{name}"
    return {
        "uuid": identifier,
        "schema_url": f"https://raw.githubusercontent.com/{base}/refs/tags/v0.1/schema.json",
        "spec_url": f"https://github.com/{base}/blob/v0.1/README.md",
        "name": name,
        "description": description,
    }


def _layout(
    plan: GridPlan, layers: Iterable[Layer], pyramid: tuple[int, ...]
) -> Iterable[dict[str, Any]]:
    for layer in layers:
        if layer.shrinks_by is None:
            continue
        fixed = [1.0] * (2 if layer.has_bands else 1)
        above = layer.name
        for factor in (1, *pyramid):
            level = plan.reduced(factor)
            name = layer.name if factor == 1 else f"{overview_name(factor)}/{layer.name}"
            step = 1.0 if factor == 1 else 2.0
            yield {
                "asset": name,
                **({} if factor == 1 else {"derived_from": above}),
                "transform": {"scale": [*fixed, step, step]},
                "spatial:transform": list(level.geobox.affine)[:6],
                "spatial:shape": list(level.geobox.shape),
                **({} if factor == 1 else {"resampling_method": layer.shrinks_by}),
            }
            above = name
