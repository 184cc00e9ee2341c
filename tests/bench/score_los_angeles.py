"""Score the Los Angeles product under cloud against the truth, beside simple ways to fill it.

python tests/bench/score_los_angeles.py OUT [SCENES]: OUT is the output of `cloudfree run` on the
real scene, SCENES its folder (default ../shared/stac/scenes). Needs opencv-python-headless (Telea).
The product has the bands B04, B03 and B02. The peak is 3558 (white of the true-colour product);
everything is scored on the product's grid over the pixels with source 2, clipped to the
peak and not. Nothing here is used to choose anything.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from cloudfree.geometry.sampling import locate, take_bilinear, take_nearest

PEAK = 3558.0
DN_PER_VALUE = 13.95


def read(path: Path, grid: GeoBox, *, linear: bool = False) -> np.ndarray:
    """Return (band, y, x) of a file at the grid."""
    with rasterio.open(path) as file:
        positions = locate(grid, file.crs.to_wkt(), file.transform)
        bands = file.read()
    if linear:
        return np.stack([take_bilinear(b.astype(np.float32), positions, (0, 0)) for b in bands])
    return np.stack([take_nearest(b, positions, (0, 0), 0) for b in bands])


def score(made: np.ndarray, truth: np.ndarray, where: np.ndarray) -> dict[str, float]:
    """Return PSNR over ``where``, clipped and not, and the mean of the SSIM map there."""
    clipped, real = np.clip(made, 0, PEAK), np.clip(truth, 0, PEAK)
    maps = [
        structural_similarity(
            a, b, data_range=PEAK, gaussian_weights=True, sigma=1.5, win_size=11, full=True
        )[1]
        for a, b in zip(clipped, real, strict=True)
    ]
    return {
        "psnr_clipped_db": round(psnr(clipped[:, where], real[:, where]), 3),
        "psnr_db": round(psnr(made[:, where], truth[:, where]), 3),
        "ssim": round(float(np.mean([one[where] for one in maps])), 4),
    }


def psnr(made: np.ndarray, truth: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    return float(10 * np.log10(PEAK**2 / np.mean((made - truth) ** 2)))


def local_mean(values: np.ndarray, seen: np.ndarray, sigma_px: float) -> np.ndarray:
    """Return the Gaussian mean of seen values."""
    weight = gaussian_filter(seen.astype(np.float32), sigma_px, truncate=3) + 1e-6
    return np.stack([gaussian_filter(v * seen, sigma_px, truncate=3) / weight for v in values])


def main(out: Path, scenes: Path) -> None:
    """Print the scores as JSON."""
    with rasterio.open(next(out.glob("*_reflectance.tif"))) as file:
        product = file.read().astype(np.float32)
        grid = GeoBox(file.shape, file.transform, file.crs.to_wkt())
    source = xr.open_zarr(out / "cube.zarr", consolidated=False).source.to_numpy()[0]
    truth = DN_PER_VALUE * read(scenes / "truth" / "los-angeles_clear.tif", grid)
    radar = 10 * np.log10(read(scenes / "los-angeles_s1_vh.tif", grid, linear=True)[0])
    made, seen = source == 2, source == 1
    radar = np.where(np.isfinite(radar), radar, np.nanmean(radar)).astype(np.float32)

    mean = np.stack([np.where(seen, band, band[seen].mean()) for band in product])
    eight_bit = np.clip(product / PEAK * 255, 0, 255).astype(np.uint8)
    hole = (~seen).astype(np.uint8)
    telea = np.stack([cv2.inpaint(b, hole, 5, cv2.INPAINT_TELEA) for b in eight_bit]) * PEAK / 255
    smooth = gaussian_filter(radar, 4)
    design = np.stack([np.ones_like(smooth), smooth])
    weights = np.linalg.lstsq(design[:, seen].T, product[:, seen].T, rcond=None)[0]
    regression = np.einsum("fc,fyx->cyx", weights, design)
    by_hand = regression + local_mean(product - regression, seen, 80)
    results = {
        "product": score(product, truth, made),
        "mean colour": score(mean, truth, made),
        "Telea inpainting": score(telea, truth, made),
        "regression on radar plus local colour, by hand": score(by_hand, truth, made),
        "share of made pixels": round(float(made.mean()), 4),
        "seen pixels": score(product, truth, seen),
    }
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    default = Path(__file__).resolve().parents[3] / "shared" / "stac" / "scenes"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else default)
