"""How the tests run the walk and read what it made, independently of the product's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import xarray as xr

from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.core.types import Signer, Unsigned
from cloudfree.engine.pipeline import Outcome, run
from cloudfree.planning.plan import Request
from cloudfree.storage.outputs import open_storage

UNSIGNED = Unsigned()
LAYERS = ("reflectance", "source", "cloud", "optical_scene", "radar_scene")
REFERENCE_LAYERS = ("reference_scene", "reference_days", "reference_count")


def make(
    out: Path | str,
    *,
    aoi: Path,
    date: str,
    stac: Path | str,
    chunk_px: int = 2048,
    workers: int = 1,
    engine: dict[str, Any] | None = None,
    model: str = "baseline",
    bands: tuple[str, ...] = ("B04", "B03", "B02"),
    crs: str = "utm",
    cube: dict[str, float] | None = None,
    places: int = 0,
    uncertainty: dict[str, Any] | None = None,
    references: dict[str, Any] | None = None,
    signer: Signer = UNSIGNED,
) -> Outcome:
    """Run with the given chunks, workers and reading; without a self-check unless given places, nor
    other days unless given their settings.
    """
    tables = {
        "grid": {"chunk_px": chunk_px, "bands": list(bands), "crs": crs},
        "engine": {"workers": workers, **(engine or {})},
        "restoration": {"model": model},
        "cube": cube or {},
        "selfcheck": {"places": places},
        "uncertainty": uncertainty or {},
        "references": references or {"days": 0},
    }
    settings = build(RunSettings, tables, "test")
    request = Request(aoi=aoi, date=date, stac=str(stac), settings=settings, signer=signer)
    return run(request, open_storage(out))


def open_raw(out: Path) -> xr.Dataset:
    """Return the cube's stored numbers, loaded."""
    cube = xr.open_zarr(out / "cube.zarr", consolidated=False, mask_and_scale=False)
    return cube[[name for name in (*LAYERS, *REFERENCE_LAYERS) if name in cube]].load()


def assert_same_pixels(one: xr.Dataset, other: xr.Dataset) -> None:
    """Every layer that both have equal bit for bit where both cubes have the pixel."""
    one, other = xr.align(one, other, join="inner")
    assert one.sizes["y"] > 50
    assert one.sizes["x"] > 50
    shared = set(one) & set(other)
    assert set(LAYERS) <= shared
    for layer in shared:
        np.testing.assert_array_equal(one[layer].to_numpy(), other[layer].to_numpy(), layer)


def read_exactly(path: Path, cube: xr.Dataset) -> np.ndarray:
    """Return (y, x): the source pixel that holds each exactly transformed centre; 0 outside.

    An independent reading: pyproj for every pixel, whole file in memory.
    """
    with rasterio.open(path) as source:
        pixels, affine, crs = source.read(1), source.transform, source.crs
    grid_crs = pyproj.CRS(cube.spatial_ref.attrs["crs_wkt"])
    x, y = np.meshgrid(cube.x.to_numpy(), cube.y.to_numpy())
    x, y = pyproj.Transformer.from_crs(grid_crs, crs.to_wkt(), always_xy=True).transform(x, y)
    cols = np.floor((x - affine.c) / affine.a).astype(int)
    rows = np.floor((y - affine.f) / affine.e).astype(int)
    inside = (rows >= 0) & (rows < pixels.shape[0]) & (cols >= 0) & (cols < pixels.shape[1])
    taken = pixels[rows.clip(0, pixels.shape[0] - 1), cols.clip(0, pixels.shape[1] - 1)]
    return np.where(inside, taken, 0)


def summary(out: Path) -> dict:
    """Return run.json."""
    return json.loads((out / "run.json").read_text())
