"""Small folders of radar and optical pairs, for tests of everything but quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


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
