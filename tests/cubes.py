"""A small grid, its empty cube, and chunks to fill it with."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.source import OTHER_DAYS
from cloudfree.geometry.grid import Chunk, GridPlan
from cloudfree.product.layers import ALL_LAYERS, NO_DAYS
from cloudfree.product.store import ChunkPixels, create_cube
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene, Step
from cloudfree.storage.outputs import open_storage

BANDS = ("B04", "B03", "B02")
SIDE = 512
HEIGHT, WIDTH = 570, 1210
LEFT, TOP = 464640, 3773760


def make_step(day: int) -> Step:
    time = dt.datetime(2024, 6, day, 10, 20, 31, tzinfo=dt.UTC)
    return Step(time=time, optical=(), radar=(), polarizations=("vv",), radar_age_h=None)


def make_scene(kind: str) -> Scene:
    return Scene(
        id="S2A", collection="sentinel-2-l2a", time=make_step(3).time, platform="sentinel-2a",
        footprint=shapely.box(0, 0, 1, 1), hrefs={"B04": "https://example.com/B04.tif"},
        datatake="", tile="", orbit_state="", baseline="05.10", kind=kind,
        offset=Offset(dn=-1000, why="baseline 05.10"), cloud_percent=None, assets={},
    )  # fmt: skip


def make_grid() -> GridPlan:
    geobox = GeoBox((HEIGHT, WIDTH), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32611")
    area = shapely.box(*geobox.boundingbox.bbox)
    return GridPlan(geobox=geobox, area=area, chunk_px=SIDE, halo_px=64)


def make_cube(folder: Path, plan: GridPlan, bands: tuple[str, ...] = BANDS) -> Path:
    """Two steps, no pixel."""
    steps = [make_step(3), make_step(8)]
    create_cube(open_storage(folder), plan, steps, bands, {"title": "a product"})
    return folder / "cube.zarr"


def make_cube_of_other_days(folder: Path, plan: GridPlan) -> Path:
    """Two steps, no pixel, with every array that a product may have."""
    steps = [make_step(3), make_step(8)]
    create_cube(open_storage(folder), plan, steps, BANDS, {}, ALL_LAYERS)
    return folder / "cube.zarr"


def fill(chunk: Chunk, seed: int, bands: int = 3) -> ChunkPixels:
    rng = np.random.default_rng(seed)
    shape = chunk.geobox.shape
    return ChunkPixels(
        reflectance=rng.integers(0, 9999, (bands, *shape)).astype(np.uint16),
        source=rng.integers(0, 4, shape).astype(np.uint8),
        cloud=rng.integers(0, 4, shape).astype(np.uint8),
        optical_scene=rng.integers(0, 300, shape).astype(np.uint16),
        radar_scene=rng.integers(0, 300, shape).astype(np.uint16),
    )


def fill_of_other_days(chunk: Chunk, seed: int, references: int) -> ChunkPixels:
    """Every array of a chunk: a part of it made of so many scenes of other days."""
    rng = np.random.default_rng(seed)
    shape = chunk.geobox.shape
    source = rng.integers(0, 5, shape).astype(np.uint8)
    there = source == OTHER_DAYS
    return replace(
        fill(chunk, seed),
        source=source,
        reference_scene=np.where(there, rng.integers(1, references + 1, shape), 0).astype(
            np.uint16
        ),
        reference_days=np.where(there, rng.integers(-75, 76, shape), NO_DAYS).astype(np.int16),
        reference_count=np.where(there, rng.integers(1, 5, shape), 0).astype(np.uint8),
        uncertainty=rng.integers(0, 900, shape).astype(np.uint16),
    )


def stored(cube: Path, name: str) -> np.ndarray:
    return np.asarray(zarr.open_group(cube, mode="r")[name][:])
