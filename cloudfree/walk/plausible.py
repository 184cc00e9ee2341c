"""Whether the numbers of a scene can be what they are taken for: asked of row 5's samples."""

from __future__ import annotations

import numpy as np

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.errors import RequestError
from cloudfree.pixels.observation import Observation
from cloudfree.scenes.scene import Scene

_FEWEST_TO_JUDGE = 1000
"""With fewer pixels than this in a sample nothing is said of a scene's numbers."""
_IMPOSSIBLE_DN = 20_000
"""Reflectance 2: brighter than cloud, snow and glint at a low sun."""
_IMPOSSIBLE_SHARE = 0.01
"""Single defective pixels are in many scenes."""
_CURE = "Say in its item's raster:bands what they are (scale, offset, nodata), or leave it out"


def check_optical(scene: Scene, sample: list[Observation], bands: tuple[str, ...]) -> None:
    """Raise RequestError where the numbers of a scene's sample can be no reflectance."""
    numbers = np.concatenate([one.reflectance.reshape(len(bands), -1) for one in sample], 1)
    valid = numbers[:, np.concatenate([one.optical_scene.ravel() > 0 for one in sample])]
    if valid.shape[1] < _FEWEST_TO_JUDGE:
        return
    for band, values in zip(bands, valid, strict=True):
        share = float(np.mean(values > _IMPOSSIBLE_DN))
        if share > _IMPOSSIBLE_SHARE:
            raise RequestError(
                f"{share:.0%} of the valid pixels in a sample of {band} of scene {scene.id} "
                "reflect more than twice the light: its numbers are not what its metadata say. "
                f"{_CURE}"
            )
    if (valid.min(axis=1) == valid.max(axis=1)).all():
        values = ", ".join(f"{value * REFLECTANCE_SCALE:.4f}" for value in valid[:, 0])
        raise RequestError(
            f"every pixel in a sample of scene {scene.id} has the same reflectance, {values}: its "
            f"numbers are not what its metadata say. {_CURE}"
        )


def check_radar(scene: Scene, sample: list[Observation], floor_db: float) -> None:
    """Raise RequestError where the numbers of a scene's sample can be no linear backscatter."""
    decibel = np.stack([one.decibel for one in sample])
    known = decibel[np.isfinite(decibel)]
    if known.size < _FEWEST_TO_JUDGE:
        return
    median = float(np.median(known))
    if floor_db < median <= 0:
        return
    found = f"at {median:.0f} dB" if median > 0 else f"not above {floor_db:g} dB"
    raise RequestError(
        f"half of the pixels in a sample of radar scene {scene.id} lie {found}: its numbers are no "
        'linear backscatter. Say "unit": "dB" in the item\'s raster:bands if they are decibel, or '
        "leave it out"
    )
