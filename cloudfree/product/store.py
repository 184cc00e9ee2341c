"""Row 13 of the walk: the product as sharded Zarr.

One shard is one chunk and has one writer: two tasks that write parts of one shard lose data
without an error.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import dask.array
import numpy as np
import xarray as xr
import zarr
from obstore.exceptions import BaseError
from odc.geo.xr import xr_coords
from rasterio._err import CPLE_BaseError  # raised as it is where closing a file fails
from rasterio.errors import RasterioError
from zarr.codecs import BloscCodec
from zarr.errors import ZarrUserWarning

from cloudfree.core.errors import StoreError
from cloudfree.core.types import AnyArray, Int16Array, UInt8Array, UInt16Array
from cloudfree.geometry.grid import Chunk, GridPlan
from cloudfree.product.conventions import (
    CF,
    describe_bands,
    describe_group,
    describe_layer,
    overview_name,
)
from cloudfree.product.layers import ALL_LAYERS, LAYERS, Layer
from cloudfree.scenes.scene import Step
from cloudfree.storage.outputs import Storage

_INNER_PX = 256
CUBE = "cube.zarr"
_TIME_ENCODING = {"calendar": "standard", "dtype": "int64"}


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
    reference_scene: UInt16Array | None = None
    """(y, x); None where the product has no such array, as of the others below."""
    reference_days: Int16Array | None = None
    """(y, x)."""
    reference_count: UInt8Array | None = None
    """(y, x)."""
    uncertainty: UInt16Array | None = None
    """(y, x)."""


def create_cube(
    storage: Storage,
    plan: GridPlan,
    steps: Iterable[Step],
    bands: tuple[str, ...],
    attributes: dict[str, Any],
    layers: tuple[Layer, ...] = LAYERS,
) -> None:
    """Write the empty product: metadata only, every pixel nodata; StoreError where that fails.

    The root group is the full resolution; ``ovr_2x``, ``ovr_4x``, ... are its overviews, datasets
    of their own. Metadata are consolidated: xarray and a reader of an object store find all of
    them in one place, others pass over that. A crash may leave half of it: a run begins by what
    its ledger says after it.
    """
    steps, factors = tuple(steps), plan.overview_factors
    about = {**attributes, "Conventions": CF, **describe_group(plan, layers, pyramid=factors)}
    with writing(storage, CUBE), warnings.catch_warnings():
        # Zarr's format 3 has no word for it yet; others must pass over what it does not know
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        _write_template(storage, plan, steps, bands, layers, attributes=about)
        small = tuple(layer for layer in layers if layer.shrinks_by is not None)
        for factor in factors:
            level, group = plan.reduced(factor), overview_name(factor)
            about = {"Conventions": CF, **describe_group(level, small)}
            _write_template(storage, level, steps, bands, small, attributes=about, group=group)
        for group in (*map(overview_name, factors), ""):
            zarr.consolidate_metadata(storage.zarr(CUBE, read_only=False), group, zarr_format=3)


def _write_template(
    storage: Storage,
    plan: GridPlan,
    steps: tuple[Step, ...],
    bands: tuple[str, ...],
    layers: tuple[Layer, ...],
    *,
    attributes: dict[str, Any],
    group: str | None = None,
) -> None:
    """Write a group's metadata."""
    times = np.array([s.time.replace(tzinfo=None) for s in steps], "datetime64[ns]")
    levels = {scene.kind for step in steps for scene in step.optical}
    variables: dict[str, Any] = {}
    unit = "microseconds" if any(step.time.microsecond for step in steps) else "seconds"
    time = {"units": f"{unit} since 1970-01-01", **_TIME_ENCODING}
    encoding: dict[str, dict[str, Any]] = {"time": time}
    for layer in layers:
        banded, side = ((len(bands),) if layer.has_bands else ()), plan.chunk_px
        shard = (1, *banded, side, side)
        variables[layer.name] = (
            ("time", *(("band",) if layer.has_bands else ()), "y", "x"),
            dask.array.zeros(
                (len(times), *banded, *plan.geobox.shape),
                chunks=shard,
                dtype=layer.dtype if layer.unit is None else "float32",
            ),
            describe_layer(layer, levels),
        )
        inner = (*[1] * (len(shard) - 2), _INNER_PX, _INNER_PX)
        encoding[layer.name] = {**_quantity(layer), **_layout(shard, inner)}
    coordinates: dict[Any, Any] = {
        **xr_coords(plan.geobox),
        **describe_bands(bands),
        "time": ("time", times, {"standard_name": "time", "long_name": "optical acquisition"}),
    }
    for axis in ("y", "x"):
        coordinates[axis].attrs["standard_name"] = f"projection_{axis}_coordinate"
    xr.Dataset(variables, coordinates, attributes).to_zarr(
        storage.zarr(CUBE, read_only=False),
        group=group,
        mode="w",
        zarr_format=3,
        compute=False,
        consolidated=False,
        encoding=encoding,
    )


def _quantity(layer: Layer) -> dict[str, Any]:
    """Return how xarray turns stored numbers into a quantity, and what unwritten pixels hold."""
    stored: dict[str, Any] = {"fill_value": layer.empty}
    if layer.unit is not None:
        stored |= {"dtype": layer.dtype, "_FillValue": layer.empty}
    if layer.scale is not None:
        stored["scale_factor"] = layer.scale
    return stored


def _layout(shard: tuple[int, ...], inner: tuple[int, ...]) -> dict[str, Any]:
    codec = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
    return {"shards": shard, "chunks": inner, "compressors": [codec]}


@contextmanager
def writing(storage: Storage, name: str) -> Iterator[None]:
    """Turn what may go wrong into a StoreError of one line."""
    try:
        yield
    except (OSError, BaseError, RasterioError, CPLE_BaseError) as error:
        raise StoreError(f"cannot write {storage.join(name)}: {storage.reason(error)}") from None


def write_chunk(storage: Storage, step: int, chunk: Chunk, pixels: ChunkPixels) -> None:
    """Write one chunk of one step: whole shards, nobody else's.

    Raises StoreError where the chunk is not a whole shard, since its neighbours would be lost, or
    where the output fails.
    """
    with writing(storage, CUBE):
        group = open_cube(storage, mode="r+")
        held = [one.name for one in fields(pixels) if getattr(pixels, one.name) is not None]
        targets = {name: get_array(group, name) for name in held}
        for name, array in targets.items():
            _refuse_parts(array, name, {-2: chunk.y, -1: chunk.x})
        for name, array in targets.items():
            array[step, ..., chunk.y, chunk.x] = getattr(pixels, name)


def read_part(storage: Storage, layer: str, index: tuple[int | slice, ...]) -> AnyArray:
    """Return the stored numbers of a part of an array; StoreError where it cannot be read."""
    try:
        return np.asarray(get_array(open_cube(storage, mode="r"), layer)[index])
    except (OSError, BaseError) as error:
        reason = storage.reason(error)
        raise StoreError(f"cannot read {storage.join(CUBE)}/{layer}: {reason}") from None


def open_cube(storage: Storage, mode: Literal["r", "r+"]) -> zarr.Group:
    """Return the cube's root group."""
    store = storage.zarr(CUBE, read_only=mode == "r")
    try:
        return zarr.open_group(store, mode=mode, zarr_format=3, use_consolidated=False)
    except (ValueError, TypeError, LookupError, AttributeError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())
    # raised here, since some errors of zarr do not survive the way from a worker along with it
    raise StoreError(f"{storage.join(CUBE)} is damaged: {reason}. Use --overwrite to start anew")


def fingerprint(storage: Storage) -> str:
    """Return a hash of what describes the cube's layers: it stays as it was made."""
    names = (*(layer.name for layer in ALL_LAYERS), "time", "y", "x")
    content = (storage.read(f"{CUBE}/{name}/zarr.json") or b"" for name in names)
    return hashlib.sha256(b"".join(content)).hexdigest()


def get_array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array by its path below the group; StoreError where it is not there."""
    array = group.get(name)
    if not isinstance(array, zarr.Array):
        raise StoreError(
            f"the cube has no array {name}: it is damaged, or was begun by another version of "
            "cloudfree. Start anew with --overwrite"
        )
    return array


def _refuse_parts(array: zarr.Array[Any], name: str, region: dict[int, slice]) -> None:
    """Raise StoreError where a region (axis -> slice) cuts through a shard."""
    for axis, part in region.items():
        side, size = (array.shards or array.chunks)[axis], array.shape[axis]
        whole = part.start % side == 0 and part.stop == min(part.start + side, size)
        if not whole:
            raise StoreError(
                f"{name} is written in whole shards of {side} px; {part.start}:{part.stop} of "
                f"{size} is not one, and two writers of one shard lose data. Cut by the "
                "chunk side that the cube was made with"
            )
