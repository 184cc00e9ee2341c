"""Measure the export of COGs: seconds, and the peak memory of the process that makes one.

python tests/bench/bench_cog.py [--sides 4096,16384] [--chunk-px 2048] [--bands 3]
Each size is a process of its own. The pixels are ground-like: smooth with some noise.
"""

from __future__ import annotations

import argparse
import datetime as dt
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.timing import peak_memory_bytes
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.cog import export_cog
from cloudfree.product.layers import REFLECTANCE
from cloudfree.product.store import ChunkPixels, create_cube, write_chunk
from cloudfree.scenes.scene import Step
from cloudfree.storage.outputs import open_storage

BANDS = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12")
TIME = dt.datetime(2024, 6, 3, tzinfo=dt.UTC)


def make_plan(side: int, chunk_px: int) -> GridPlan:
    """Return a square grid."""
    geobox = GeoBox((side, side), Affine(10, 0, 464640, 0, -10, 3773760), "EPSG:32611")
    area = shapely.box(*geobox.boundingbox.bbox)
    return GridPlan(geobox=geobox, area=area, chunk_px=chunk_px, halo_px=0)


def write_cube(folder: Path, plan: GridPlan, bands: tuple[str, ...]) -> None:
    """Write a cube of one step."""
    step = Step(time=TIME, optical=(), radar=(), polarizations=("vv",), radar_age_h=None)
    create_cube(open_storage(folder), plan, [step], bands, {})
    rng = np.random.default_rng(0)
    for chunk in plan.chunks():
        shape = chunk.geobox.shape
        slope = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 3000
        ground = (slope + rng.integers(0, 200, (len(bands), *shape))).astype(np.uint16)
        layer = np.ones(shape, np.uint8)
        pixels = ChunkPixels(
            reflectance=ground, source=layer, cloud=layer,
            optical_scene=layer.astype(np.uint16), radar_scene=layer.astype(np.uint16),
        )  # fmt: skip
        write_chunk(open_storage(folder), 0, chunk, pixels)


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", default="4096,16384")
    parser.add_argument("--chunk-px", type=int, default=2048)
    parser.add_argument("--bands", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bands = BANDS[: options.bands]
    for side in map(int, options.sides.split(",")):
        plan = make_plan(side, options.chunk_px)
        if options.child is None:
            with tempfile.TemporaryDirectory() as folder:
                write_cube(Path(folder), plan, bands)
                again = ["--sides", str(side), "--chunk-px", str(options.chunk_px)]
                again += ["--bands", str(options.bands), "--child", folder]
                subprocess.run([sys.executable, __file__, *again], check=True, timeout=1800)
            continue
        start, before = time.perf_counter(), peak_memory_bytes()
        export_cog(
            open_storage(options.child), 0, REFLECTANCE, "r.tif",
            plan=plan, bands=bands, time=TIME, shape=(900, 900),
        )  # fmt: skip
        seconds, cog = time.perf_counter() - start, options.child / "r.tif"
        print(
            f"{side} px, {len(bands)} bands, COG of {cog.stat().st_size / 1e9:.2f} GB: "
            f"{seconds:.1f} s, peak {peak_memory_bytes() / 1e6:.0f} MB, "
            f"{before / 1e6:.0f} MB of it before",
            flush=True,
        )


if __name__ == "__main__":
    main()
