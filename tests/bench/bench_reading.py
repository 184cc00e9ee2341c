"""Megapixels a second of reading scenes: ours, plain rasterio and odc-stac on the same files.

    pip install odc-stac
    python tests/bench/bench_reading.py [--sizes 256,1024,2048] [--repeat 5]

Three bands of one scene. *Aligned*: a 4096 px UTM raster on the product's grid; rasterio reads
windows. *Warped*: the same pixels in EPSG:3395; rasterio reads by a WarpedVRT, once with GDAL's
usual tolerance, whose pixels depend on the block, and once with 1e-6, which is exact as ours is.
The fastest of the repeats counts, after one that warms the caches.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pystac
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.stac import load as odc_load
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from cloudfree.core.config import CubeSettings
from cloudfree.core.types import Unsigned
from cloudfree.geometry import sampling
from cloudfree.pixels import cube
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene

BANDS = ("B02", "B03", "B04")
SIDE = 4096
THREADS = 2
GRIDS = {
    "aligned": ("EPSG:32633", Affine(10, 0, 300_000, 0, -10, 5_300_040)),
    "warped": ("EPSG:3395", Affine(14.8, 0, 1_372_000, 0, -14.8, 6_045_000)),
}


def write(folder: Path, crs: str, affine: Affine) -> Scene:
    """Write a scene of random tiled, compressed rasters."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for band in BANDS:
        smooth = np.kron(rng.integers(300, 4000, (SIDE // 8, SIDE // 8)), np.ones((8, 8), int))
        pixels = (smooth + rng.integers(0, 60, (SIDE, SIDE))).astype(np.uint16)
        with rasterio.open(
            folder / f"{band}.tif", "w", driver="GTiff", width=SIDE, height=SIDE, count=1,
            dtype="uint16", crs=crs, transform=affine, tiled=True, blockxsize=512,
            blockysize=512, compress="deflate", predictor=2, nodata=0,
        ) as file:  # fmt: skip
            file.write(pixels, 1)
    box = GeoBox((SIDE, SIDE), affine, crs).geographic_extent.boundingbox.bbox
    return Scene(
        id="s", collection="c", time=dt.datetime(2024, 6, 15, tzinfo=dt.UTC), platform="p",
        footprint=shapely.box(*box), hrefs={b: str(folder / f"{b}.tif") for b in BANDS},
        datatake="", tile="", orbit_state="", baseline="", kind="L2A",
        offset=Offset(dn=0, why=""), cloud_percent=None, assets={},
    )  # fmt: skip


def ways(scene: Scene, target: GeoBox, *, warped: bool) -> dict[str, Callable[[], object]]:
    """Return the ways to read ``target``."""
    fetcher = Fetcher(CubeSettings(), Unsigned())
    item = pystac.Item(
        "s", shapely.geometry.mapping(scene.footprint), list(scene.footprint.bounds), scene.time, {}
    )
    for band in BANDS:
        item.add_asset(band, pystac.Asset(scene.hrefs[band], roles=["data"]))

    def plain(tolerance: float) -> object:
        def one(band: str) -> np.ndarray:
            with rasterio.open(scene.hrefs[band]) as file:
                if not warped:
                    column, row = ~file.transform @ (target.affine.c, target.affine.f)
                    return file.read(
                        1, window=Window(round(column), round(row), target.width, target.height)
                    )
                with WarpedVRT(
                    file, crs=str(target.crs), transform=target.affine, width=target.width,
                    height=target.height, resampling=Resampling.nearest, tolerance=tolerance,
                ) as view:  # fmt: skip
                    return view.read(1)

        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(one, BANDS))

    found: dict[str, Callable[[], object]] = {
        "cloudfree": lambda: cube.load(
            (scene,), (), target,
            fetcher=fetcher, bands=BANDS, polarizations=(), threads=THREADS,
        ),
        "rasterio": lambda: plain(0.125),
        "odc-stac": lambda: odc_load([item], BANDS, geobox=target, pool=THREADS, dtype="uint16"),
    }  # fmt: skip
    if warped:
        found["rasterio, exact"] = lambda: plain(1e-6)
    return found


def main() -> None:
    """Print a row per grid, size and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="256,1024,2048")
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, (crs, affine) in GRIDS.items():
            scene = write(Path(folder) / name, crs, affine)
            for size in map(int, chosen.sizes.split(",")):
                target = GeoBox(
                    (size, size), Affine(10, 0, 303_000, 0, -10, 5_297_040), "EPSG:32633"
                )
                for way, read in ways(scene, target, warped=name == "warped").items():
                    read()
                    seconds = []
                    for _ in range(chosen.repeat):
                        cube_cache_clear()
                        began = time.perf_counter()
                        read()
                        seconds.append(time.perf_counter() - began)
                    speed = len(BANDS) * size * size / 1e6 / min(seconds)
                    print(f"{name:8} {size:5} px  {way:16} {speed:7.1f} Mpx/s", flush=True)


def cube_cache_clear() -> None:
    """Forget positions that an earlier repeat has left behind."""
    sampling._locate_warped.cache_clear()


if __name__ == "__main__":
    main()
