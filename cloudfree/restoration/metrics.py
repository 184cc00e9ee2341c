"""Figures of quality for one picture against its truth, as pure functions on arrays.

Pictures are (band, y, x). Figures of a set are means over pictures of the figure of each.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from cloudfree.core.types import AnyArray, BoolArray, Float64Array

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5


def psnr(
    candidate: AnyArray, truth: AnyArray, full_range: float, where: BoolArray | None = None
) -> float:
    """Return the peak signal-to-noise ratio in dB (paper eq. 6); inf for equal pictures.

    ``full_range`` is MAX_I: 2 for pictures in [-1, 1], 255 for 8 bit. ``where`` (y, x) limits it
    to some pixels; NaN without any.
    """
    error = _squared_error(candidate, truth)
    chosen = error if where is None else error[:, where]
    if chosen.size == 0:
        return float("nan")
    mse = float(chosen.mean())
    return float("inf") if mse == 0 else float(20 * np.log10(full_range) - 10 * np.log10(mse))


def mae(candidate: AnyArray, truth: AnyArray, where: BoolArray | None = None) -> float:
    """Return the mean absolute error in the pictures' units; NaN where no pixel is asked for."""
    error = np.abs(candidate.astype(np.float64) - truth)
    chosen = error if where is None else error[:, where]
    return float(chosen.mean()) if chosen.size else float("nan")


def sam(candidate: AnyArray, truth: AnyArray, where: BoolArray | None = None) -> float:
    """Return the mean spectral angle in degrees of pictures of numbers from 0 up.

    A pixel without any light in either picture counts as 0. Source: Kruse et al. 1993.
    """
    x, y = candidate.astype(np.float64), truth.astype(np.float64)
    lengths = np.sqrt((x * x).sum(0) * (y * y).sum(0))
    cosine = np.divide((x * y).sum(0), lengths, out=np.ones_like(lengths), where=lengths > 0)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    chosen = angle if where is None else angle[where]
    return float(chosen.mean()) if chosen.size else float("nan")


def ssim(candidate: AnyArray, truth: AnyArray, full_range: float) -> float:
    """Return the mean structural similarity over pixels and bands (paper eq. 3); see ssim_map."""
    return float(ssim_map(candidate, truth, full_range).mean())


def ssim_map(candidate: AnyArray, truth: AnyArray, full_range: float) -> Float64Array:
    """Return (band, y, x): the structural similarity around each pixel.

    Gaussian window of 11x11, sigma 1.5, mirrored edges. Pictures should start at 0: the luminance
    term means something else on [-1, 1]. Sides are at least 11 px. Source: Wang et al. 2004.
    """
    x, y = candidate.astype(np.float64), truth.astype(np.float64)
    c1, c2 = (0.01 * full_range) ** 2, (0.03 * full_range) ** 2
    mean_x, mean_y, squares, product = (_blur(item) for item in (x, y, x * x + y * y, x * y))
    mean_xy, mean_squares = mean_x * mean_y, mean_x**2 + mean_y**2
    similar = (2 * mean_xy + c1) * (2 * (product - mean_xy) + c2)
    similarity: Float64Array = similar / ((mean_squares + c1) * (squares - mean_squares + c2))
    return similarity


def _squared_error(candidate: AnyArray, truth: AnyArray) -> Float64Array:
    difference: Float64Array = candidate.astype(np.float64) - truth
    return difference * difference


def _blur(picture: Float64Array) -> Float64Array:
    height, width = picture.shape[-2:]
    blurred: Float64Array = _blur_matrix(height) @ picture @ _blur_matrix(width).T
    return blurred


@lru_cache(maxsize=16)
def _blur_matrix(size: int) -> Float64Array:
    """Return (size, size): row i holds the weights of the pixels that make blurred pixel i."""
    half = SSIM_WINDOW // 2
    offsets = np.arange(-half, half + 1)
    weights = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    weights /= weights.sum()
    sources = np.arange(size)[:, None] + offsets
    sources = np.abs(sources)
    sources = np.where(sources >= size, 2 * (size - 1) - sources, sources)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], sources), weights[None, :])
    return matrix
