"""The fill that knows no radar: what was seen spreads over what was not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cloudfree.core.contract import Contract
from cloudfree.core.source import NOT_RESTORED, RECONSTRUCTED
from cloudfree.core.types import BoolArray, Float32Array, Masks, UInt16Array
from cloudfree.restoration.rims import FADE, SCALES_PX, FittedPixels, fit_rims
from cloudfree.restoration.smoothing import local_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpainting:
    """The mean colour of a scene's seen pixels; row 12 adds how the rims differ from it."""

    contract: Contract
    """What it expects and gives."""
    colour: tuple[float, ...] = ()
    """(band,) in [-1, 1]; empty until fitted to a scene."""

    def fit(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> list[list[float]]:
        """Return the mean colour of sample windows (see Model for the arrays).

        With no pixel seen it is the picture's middle.
        """
        colours = np.moveaxis(optical, 1, 0)[:, masks.seen].astype(np.float64)
        return [[float(band.mean()) if band.size else 0.0 for band in colours]]

    def fitted(self, numbers: list[list[float]]) -> Inpainting:
        """Return the model of this colour."""
        return replace(self, colour=tuple(numbers[0]))

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return candidate pictures (n, band, y, x); see Model."""
        colour = np.array(self.colour, np.float32)[:, None, None]
        return np.broadcast_to(colour, optical.shape).copy()


def spread_seen(
    reflectance: UInt16Array, seen: BoolArray, *, origin: tuple[int, int]
) -> Float32Array:
    """Return (band, y, x): what was seen, and its local mean elsewhere.

    ``origin`` is the absolute row and column of the first pixel.
    """
    values = reflectance.astype(np.float32)
    mean = np.array([band[seen].mean() if seen.any() else 0 for band in values], np.float32)
    mean = mean[:, None, None]
    around = local_mean(values - mean, seen, origin=origin, scales=SCALES_PX, fade=FADE)
    return np.where(seen, values, mean + around)


def inpaint_rest(
    done: FittedPixels,
    reflectance: UInt16Array,
    masks: Masks,
    *,
    colour: Float32Array,
    limits: tuple[Float32Array, Float32Array],
    origin: tuple[int, int],
) -> FittedPixels:
    """Return what is done, with an inpainting where a model made nothing of hidden pixels.

    ``colour`` (band, y, x) is the mean of the scene that shows a pixel, NaN where that is unknown;
    the other arrays are as in ``rims.fit_rims``.
    """
    left = done.source == NOT_RESTORED
    if not left.any():
        return done
    known: BoolArray = np.logical_and.reduce(np.isfinite(colour), axis=0)
    spread = fit_rims(
        reflectance,
        masks,
        candidate=np.where(known, colour, np.float32(0)),
        covered=known,
        limits=limits,
        origin=origin,
    )
    there = left & (spread.source == RECONSTRUCTED)
    return FittedPixels(
        reflectance=np.where(there, spread.reflectance, done.reflectance),
        source=np.where(there, spread.source, done.source),
        limited=np.where(there, spread.limited, done.limited),
    )
