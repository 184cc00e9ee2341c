"""Local means whose bits do not depend on how the picture was cut.

Everything here is arithmetic on each pixel's neighbourhood in a fixed order: separable kernels of
finite reach and sums over blocks anchored at absolute rows and columns. No FFT and no running
sums: their rounding depends on where an array begins.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from cloudfree.core.types import AnyArray, BoolArray, Float32Array

_SIGMA_BLOCKS = 2.0
_TRUNCATE = 3.0


def reach_px(scales: tuple[int, ...]) -> int:
    """Return how far local_mean looks: kernel, one block of interpolation, one of anchoring."""
    return int(_SIGMA_BLOCKS * _TRUNCATE + 2) * max(scales)


def gaussian(values: AnyArray, sigma_px: float) -> Float32Array:
    """Return (..., y, x) smoothed over its last two axes; outside counts as the edge."""
    sigma = (0,) * (values.ndim - 2) + (sigma_px, sigma_px)
    smooth: Float32Array = gaussian_filter(
        values, sigma, output=np.float32, mode="nearest", truncate=_TRUNCATE
    )
    return smooth


def gaussian_reach_px(sigma_px: float) -> int:
    """Return how far gaussian looks."""
    return int(_TRUNCATE * sigma_px + 0.5)


def local_mean(
    values: Float32Array,
    where: BoolArray,
    *,
    origin: tuple[int, int],
    scales: tuple[int, ...],
    fade: float,
) -> Float32Array:
    """Return (c, y, x): the mean of ``values`` (c, y, x) where ``where`` (y, x), near each pixel.

    Gaussians of sigma 2 x each scale (px; ascending powers of two) are added with weights
    1 / scale: near a known pixel its own value rules, farther off the wider kernels. The mean
    fades to 0 where the summed weight falls to ``fade`` and is 0 beyond reach_px. ``origin`` is
    the absolute row and column of the first pixel.
    """
    height, width = where.shape
    largest = max(scales)
    top, left = origin[0] % largest, origin[1] % largest
    bottom, right = -(top + height) % largest, -(left + width) % largest
    stack = np.concatenate([np.where(where, values, 0), where[None]]).astype(np.float32)
    stack = np.pad(stack, ((0, 0), (top, bottom), (left, right)))
    total = np.zeros(stack.shape, np.float32)
    factor = 1
    for scale in scales:
        while factor < scale:
            stack = _halve(stack)
            factor *= 2
        smooth = gaussian_filter(
            stack, (0, _SIGMA_BLOCKS, _SIGMA_BLOCKS), mode="constant", truncate=_TRUNCATE
        )
        total += _enlarge(smooth, scale) * np.float32(1 / scale)
    total = total[:, top : top + height, left : left + width]
    mean: Float32Array = total[:-1] / (total[-1] + np.float32(fade))
    return mean


def _halve(stack: Float32Array) -> Float32Array:
    """Return the means of 2 x 2 blocks."""
    rows = stack[:, 0::2] + stack[:, 1::2]
    mean: Float32Array = (rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25)
    return mean


def _enlarge(stack: Float32Array, scale: int) -> Float32Array:
    """Interpolate block centres back to pixels, linearly."""
    if scale == 1:
        return stack
    for axis in (1, 2):
        size = stack.shape[axis]
        position = (np.arange(size * scale) + 0.5) / scale - 0.5
        lower = np.floor(position).astype(np.int64)
        shape = [1, 1, 1]
        shape[axis] = -1
        share = (position - lower).astype(np.float32).reshape(shape)
        before = np.take(stack, np.clip(lower, 0, size - 1), axis)
        after = np.take(stack, np.clip(lower + 1, 0, size - 1), axis)
        stack = before + (after - before) * share
    return stack
