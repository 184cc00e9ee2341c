"""Small folders of radar and optical pairs, for tests of everything but quality."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

PATCH_SHAPE = (24, 40)


def write_pairs(folder: Path, scenes: range, patches: int = 2, side: int = 256) -> Path:
    """Write SEN1-2 pairs whose colour follows the radar."""
    for scene in scenes:
        for patch in range(patches):
            rng = np.random.default_rng([scene, patch])
            coarse = rng.integers(0, 256, (side // 32, side // 32), dtype=np.uint8)
            radar = np.kron(coarse, np.ones((32, 32), np.uint8))
            optical = np.stack([radar // 2, 200 - radar // 2, radar // 3 + 40], axis=-1)
            name = "ROIs1158_spring_{}_{}_p{}.png"
            for kind, pixels in (("s1", radar), ("s2", optical)):
                path = folder / "ROIs1158_spring" / f"{kind}_{scene}"
                path.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path / name.format(kind, scene, patch))
    return folder


def write_patch(
    path: Path, shape: tuple[int, int] = PATCH_SHAPE, **other: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Write a patch as ``cloudfree patches`` does, four bands, with some of it replaced."""
    rng = np.random.default_rng(9)
    patch: dict[str, np.ndarray | None] = {
        "optical": rng.uniform(-1, 1, (4, *shape)).astype(np.float16),
        "radar": rng.uniform(-1, 1, (1, *shape)).astype(np.float16),
        "bands": np.array(["B02", "B08", "B03", "B04"]),
        "polarizations": np.array(["vh"]),
        "low_dn": np.array([100, 800, 200, 300], np.float32),
        "high_dn": np.array([1100, 4800, 1200, 1300], np.float32),
        "scene": np.array(path.parent.name),
        "place": np.array("32632_24_-9_5"),
        **other,
    }
    kept = {name: layer for name, layer in patch.items() if layer is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **kept)
    return kept


def write_tif(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Write (band, y, x) as a GeoTIFF without a place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype
        ) as target:
            target.write(pixels)
    return pixels


def write_triplet(
    folder: Path, number: int, shape: tuple[int, int] = PATCH_SHAPE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write a triplet as of SEN12MS-CR; return its radar, clear picture and mask."""
    rng = np.random.default_rng(number)
    level = np.array([-11, -18])[:, None, None]
    radar = (level + rng.normal(0, 3, (2, *shape))).astype(np.float32)
    clear = rng.integers(300, 3000, (13, *shape)).astype(np.uint16)
    mask = (rng.random((1, *shape)) > 0.5).astype(np.uint8)
    write_tif(folder / f"{number}_s1.tif", radar)
    write_tif(folder / f"{number}_s2_clear.tif", clear)
    write_tif(folder / f"{number}_s2_cloudy.tif", clear + 4000)
    write_tif(folder / f"{number}_mask.tif", mask)
    return radar, clear, mask[0]
