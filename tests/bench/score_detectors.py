"""Judge the cloud detectors on real patches with masks: the table in cloudfree/pixels/detectors.py.

python tests/bench/score_detectors.py [SHARED]   (the folder with data/ and stac/; ../shared)
s2cloudless is judged where it is installed.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from cloudfree.core.config import MaskSettings
from cloudfree.core.types import BoolArray, CloudDetector, Float32Array
from cloudfree.pixels import masks
from cloudfree.pixels.detectors import S2Cloudless, Thresholds

BANDS = (
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
)  # fmt: skip
VISIBLE = [BANDS.index(band) for band in ("B02", "B03", "B04")]
BRIGHTER = 0.04
"""A pixel is clear where it is no brighter than its clear twin by this reflectance."""

Case = tuple[Float32Array, Float32Array, BoolArray]


def main(shared: Path) -> None:
    """Print a line for every data set and detector."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    detectors: list[CloudDetector] = [
        Thresholds(bands=("B02", "B03", "B04", "B08", "B10", "B11")),
        Thresholds(bands=("B02", "B04")),
    ]
    if find_spec("s2cloudless") is not None:
        detectors.append(S2Cloudless())
    for name, cases in (
        ("SEN12MS-CR", list(patches(shared / "data" / "sen12mscr"))),
        ("Jiangsu", [jiangsu(shared / "stac" / "scenes")]),
    ):
        for detector in detectors:
            print(f"{name:11}{detector.name:42}{judge(detector, cases)}")


def patches(folder: Path) -> Iterator[Case]:
    """Yield the cloudy picture, its clear twin and the mask of each SEN12MS-CR patch."""
    for mask in sorted(folder.glob("*_mask.tif")):
        stem = str(mask).removesuffix("_mask.tif")
        cloudy, clear = (read(Path(f"{stem}_s2_{kind}.tif")) for kind in ("cloudy", "clear"))
        yield cloudy / 1e4, clear / 1e4, read(mask)[0] > 0


def jiangsu(folder: Path) -> Case:
    """Return the same of the Jiangsu scene; its mask is class 9 of its scene classification."""
    cloudy = np.concatenate([read(folder / f"jiangsu_cloudy_{band}.tif") for band in BANDS])
    clear = np.concatenate([read(folder / "truth" / f"jiangsu_clear_{b}.tif") for b in BANDS])
    return cloudy / 1e4, clear / 1e4, read(folder / "jiangsu_cloudy_SCL.tif")[0] == 9


def read(path: Path) -> Float32Array:
    """Return (band, y, x)."""
    with rasterio.open(path) as file:
        return file.read().astype(np.float32)


def judge(detector: CloudDetector, cases: list[Case]) -> str:
    """Return the figures over all pixels of all cases."""
    found, hidden, truth, ground = [], [], [], []
    start = time.perf_counter()
    for cloudy, _, _ in cases:
        found.append(detector(np.stack([cloudy[BANDS.index(band)] for band in detector.bands])))
    seconds = time.perf_counter() - start
    for cloud, (cloudy, clear, mask) in zip(found, cases, strict=True):
        codes = np.where(cloud, np.uint8(masks.CLOUDY), np.uint8(masks.CLEAR))
        valid = np.ones(cloud.shape, bool)
        hidden.append(masks.hidden_pixels(codes, None, valid, MaskSettings(), 10.0) != masks.CLEAR)
        truth.append(mask)
        ground.append((cloudy - clear)[VISIBLE].mean(axis=0) <= BRIGHTER)
    cloud, gone, cloudy_truth, clear_truth = (np.stack(p) for p in (found, hidden, truth, ground))
    both = np.count_nonzero(cloud & cloudy_truth)
    return (
        f"precision {both / np.count_nonzero(cloud):.3f}  "
        f"recall {both / np.count_nonzero(cloudy_truth):.3f}  "
        f"IoU {both / np.count_nonzero(cloud | cloudy_truth):.3f}  "
        f"let through {np.mean(~gone[cloudy_truth]):.4f}  "
        f"clear hidden {np.mean(gone[clear_truth]):.3f}  "
        f"{1e6 * seconds / cloud.size:.2f} us/px"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2].parent / "shared")
