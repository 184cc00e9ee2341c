"""Row 12 of the walk: candidates fitted to the seen pixels around them, seen pixels untouched.

The cloudy observation is never mixed in. What the candidate misses at the seen rim of a cloud is
added inside, as a local mean of finite reach; far from any seen pixel it fades to nothing, that
is to the scene's own statistics, by which the candidate was stretched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.source import NODATA, NOT_RESTORED, RECONSTRUCTED, SEEN
from cloudfree.core.types import BoolArray, Float32Array, Masks, UInt8Array, UInt16Array
from cloudfree.restoration.smoothing import local_mean, reach_px

SCALES_PX = (1, 4, 16)
FADE = 5e-4
"""Of the local mean, and of an inpainting, which is that of what was seen."""
REACH_PX = reach_px(SCALES_PX)
"""A made pixel depends on seen pixels up to this far away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedPixels:
    """What a chunk gives."""

    reflectance: UInt16Array
    """(band, y, x) reflectance numbers, 0 nodata."""
    source: UInt8Array
    """(y, x) codes."""
    limited: BoolArray
    """(y, x): made, and cut at a limit of the picture in some band."""


def fit_rims(
    reflectance: UInt16Array,
    masks: Masks,
    *,
    candidate: Float32Array,
    covered: BoolArray,
    limits: tuple[Float32Array, Float32Array],
    origin: tuple[int, int],
) -> FittedPixels:
    """Return seen pixels as they are and made ones from the candidate, fitted at the seams.

    ``reflectance`` and ``candidate`` are (band, y, x) in reflectance numbers, ``covered`` (y, x)
    says where the candidate exists; ``limits`` are the lowest and highest number of a made pixel,
    (band, y, x). ``origin`` is the absolute row and column of the first pixel.
    """
    made = masks.made & covered
    known = masks.seen & covered
    out = np.where(masks.seen, reflectance, 0).astype(np.uint16)
    limited = np.zeros(made.shape, bool)
    if made.any():
        missed = reflectance.astype(np.float32) - candidate
        fitted = candidate + local_mean(missed, known, origin=origin, scales=SCALES_PX, fade=FADE)
        low = np.maximum(limits[0], 1)
        high = np.maximum(limits[1], low)
        limited = ((fitted < low) | (fitted > high)).any(axis=0) & made
        numbers = np.rint(np.clip(fitted, low, high)).astype(np.uint16)
        out = np.where(made, numbers, out)
    source = np.where(masks.seen, SEEN, NODATA)
    source = np.where(masks.made, np.where(covered, RECONSTRUCTED, NOT_RESTORED), source)
    return FittedPixels(reflectance=out, source=source.astype(np.uint8), limited=limited)
