"""Rows 13 and 14 of the walk: the product as sharded Zarr, and as cloud-optimised GeoTIFF.

One shard is one chunk and has one writer: two tasks that write parts of one shard lose data
without an error.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import dask.array
import numpy as np
import rasterio
import rasterio.shutil
import xarray as xr
import zarr
from odc.geo.xr import xr_coords
from rasterio._err import CPLE_BaseError  # raised as it is where closing a file fails
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window
from zarr.codecs import BloscCodec

from cloudfree.bands import BANDS, REFLECTANCE_SCALE
from cloudfree.errors import StoreError
from cloudfree.grid import Chunk, GridPlan, crs_of
from cloudfree.scenes import Step
from cloudfree.types import AnyArray, UInt8Array, UInt16Array

_INNER_PX = 256
_FULL_BYTES = 2**24
"""Less free space than this counts as none when a write has failed."""
_TIME_UNITS = "seconds since 1970-01-01"
EXPORTED: tuple[Literal["reflectance"], Literal["source"]] = ("reflectance", "source")
"""Arrays that become COGs."""
LAYERS = ("source", "cloud", "optical_scene", "radar_scene")
"""Arrays beside ``reflectance``; (time, y, x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPixels:
    """A chunk's part of every array."""

    reflectance: UInt16Array
    """(band, y, x)."""
    source: UInt8Array
    """(y, x)."""
    cloud: UInt8Array
    """(y, x)."""
    optical_scene: UInt16Array
    """(y, x)."""
    radar_scene: UInt16Array
    """(y, x)."""


def create_cube(
    path: Path,
    plan: GridPlan,
    steps: Iterable[Step],
    bands: tuple[str, ...],
    attributes: dict[str, Any],
) -> None:
    """Write the empty product: metadata only, every pixel nodata.

    Complete or not there at all: it is made under another name and then renamed.
    """
    times = [np.datetime64(step.time.replace(tzinfo=None), "s") for step in steps]
    height, width = plan.geobox.shape
    side = plan.chunk_px
    layers = {
        "source": ("uint8", _flags("nodata seen reconstructed not_restored")),
        "cloud": ("uint8", _flags("clear cloudy shadow dilated defective")),
        "optical_scene": ("uint16", {"long_name": "1 + index in attribute optical_scenes"}),
        "radar_scene": ("uint16", {"long_name": "1 + index in attribute radar_scenes"}),
    }
    variables: dict[str, Any] = {
        "reflectance": (
            ("time", "band", "y", "x"),
            dask.array.zeros(
                (len(times), len(bands), height, width),
                chunks=(1, len(bands), side, side),
                dtype="float32",
            ),
            {
                "long_name": "surface or top-of-atmosphere reflectance",
                "units": "1",
                "grid_mapping": "spatial_ref",
            },
        )
    }
    encoding: dict[str, dict[str, Any]] = {
        "time": {"units": _TIME_UNITS, "dtype": "int64"},
        "reflectance": {
            "dtype": "uint16",
            "scale_factor": REFLECTANCE_SCALE,
            "_FillValue": 0,
            **_layout((1, len(bands), side, side), (1, 1, _INNER_PX, _INNER_PX)),
        },
    }
    for name, (dtype, notes) in layers.items():
        variables[name] = (
            ("time", "y", "x"),
            dask.array.zeros((len(times), height, width), chunks=(1, side, side), dtype=dtype),
            {**notes, "grid_mapping": "spatial_ref"},
        )
        encoding[name] = _layout((1, side, side), (1, _INNER_PX, _INNER_PX))
    coordinates = {
        **xr_coords(plan.geobox),
        "time": ("time", np.array(times, "datetime64[ns]")),
        "band": ("band", np.array(bands, np.dtypes.StringDType())),
        "wavelength": ("band", [BANDS[b].wavelength_um for b in bands], {"units": "um"}),
    }
    template = xr.Dataset(variables, coordinates, attributes)
    temporary = path.with_name(path.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    template.to_zarr(
        temporary, mode="w", zarr_format=3, compute=False, consolidated=False, encoding=encoding
    )
    temporary.rename(path)


def _layout(shard: tuple[int, ...], inner: tuple[int, ...]) -> dict[str, Any]:
    codec = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
    return {"shards": shard, "chunks": inner, "compressors": [codec]}


def _flags(meanings: str) -> dict[str, Any]:
    return {"flag_values": list(range(len(meanings.split()))), "flag_meanings": meanings}


def write_chunk(path: Path, step: int, chunk: Chunk, pixels: ChunkPixels) -> None:
    """Write one chunk of one step: whole shards, nobody else's."""
    try:
        group = zarr.open_group(path, mode="r+", use_consolidated=False)
        _array(group, "reflectance")[step, :, chunk.y, chunk.x] = pixels.reflectance
        for layer in LAYERS:
            _array(group, layer)[step, chunk.y, chunk.x] = getattr(pixels, layer)
    except OSError as error:
        raise StoreError(f"cannot write to {path}: {_reason(error, path)}") from None


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def export_cog(
    cube: Path,
    step: int,
    layer: Literal["reflectance", "source"],
    target: Path,
    *,
    plan: GridPlan,
    bands: tuple[str, ...],
) -> None:
    """Write one step of a layer as a COG with overviews; memory does not grow with the area."""
    array = _array(zarr.open_group(cube, mode="r", use_consolidated=False), layer)
    names = bands if layer == "reflectance" else (layer,)
    height, width = plan.geobox.shape
    scratch = target.with_name(f".{target.name}.scratch.tif")
    whole = target.with_name(f".{target.name}.tmp.tif")
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": len(names),
        "dtype": array.dtype.name,
        "crs": crs_of(plan.geobox).to_wkt(),
        "transform": plan.geobox.affine,
        "nodata": 0,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "zstd",
        "zstd_level": 1,
        "bigtiff": "if_safer",
        "sparse_ok": True,
    }
    try:
        with rasterio.open(scratch, "w", **profile) as file:
            _describe(file, names, layer)
            for chunk in plan.chunks():
                window = Window.from_slices(chunk.y, chunk.x)
                pixels: AnyArray = np.asarray(array[step, ..., chunk.y, chunk.x])
                file.write(pixels.reshape(len(names), *pixels.shape[-2:]), window=window)
        rasterio.shutil.copy(
            scratch,
            whole,
            driver="COG",
            compress="deflate",
            predictor=2,
            blocksize=512,
            bigtiff="if_safer",
            num_threads="all_cpus",
            overview_resampling="average" if layer == "reflectance" else "nearest",
        )
        whole.replace(target)
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise StoreError(f"cannot write {target}: {_reason(error, target)}") from None
    finally:
        scratch.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)


def _describe(file: Any, names: tuple[str, ...], layer: str) -> None:
    file.descriptions = names
    if layer == "reflectance":
        file.scales = [REFLECTANCE_SCALE] * len(names)
        colours = {"B04": ColorInterp.red, "B03": ColorInterp.green, "B02": ColorInterp.blue}
        if set(colours) <= set(names):
            file.colorinterp = [colours.get(name, ColorInterp.undefined) for name in names]


def _reason(error: Exception, path: Path) -> str:
    """Return why a write failed; GDAL does not say when the disk is full."""
    with suppress(OSError):
        if shutil.disk_usage(path.parent).free < _FULL_BYTES:
            return os.strerror(errno.ENOSPC)
    return " ".join(str(error).split())
