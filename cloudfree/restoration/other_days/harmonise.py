"""References brought to the target's numbers: a robust gain and offset for each band.

Light, haze and processing differ from day to day; where target and reference both show the ground
the difference is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import BoolArray, Float32Array, Float64Array, UInt16Array

FEWEST_PIXELS = 200
"""With fewer pixels seen in both, a reference keeps its numbers (gain 1, offset 0)."""
_MOST_PIXELS = 8192
"""Of those seen in both so many tell gain and offset, evenly picked."""
_ROUNDS = 10
_HUBER = 1.345
"""Residuals beyond this many standard deviations count less (Huber 1981: 95 % efficiency)."""
_TO_SIGMA = 1.4826
"""From a median absolute deviation to a normal distribution's standard deviation."""
_FAR = 6.0
"""A reference's number this many standard deviations from its middle says nothing of the gain:
cloud that was missed is mostly there, and a straight line has no defence against it."""
_NOISE_DN = 1.0
"""Least scale of residuals: that of rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harmonisation:
    """What makes each reference's numbers the target's."""

    gain: Float32Array
    """(ref, band, band): row i says what band i of the target is made of. Diagonal, but for a band
    that the reference does not have, which is made of the others."""
    offset: Float32Array
    """(ref, band) in reflectance numbers."""

    def apply(self, reflectance: UInt16Array) -> Float32Array:
        """Return (ref, band, n) as the target would show them, of reflectance numbers.

        Each number is a sum in a fixed order, so that its bits do not depend on other pixels.
        """
        harmonised = np.empty(reflectance.shape, np.float32)
        for ref, gain in enumerate(self.gain):
            for band, row in enumerate(gain):
                total = np.full(reflectance.shape[2], self.offset[ref, band], np.float32)
                for other in np.flatnonzero(row):
                    total += row[other] * reflectance[ref, other]
                harmonised[ref, band] = total
        return harmonised


def harmonise(
    target: UInt16Array, seen: BoolArray, reflectance: UInt16Array, clear: BoolArray
) -> Harmonisation:
    """Return the fit of references (ref, band, n), where ``clear`` (ref, n), to a target.

    ``target`` is (band, n), ``seen`` (n,).
    """
    bands = len(target)
    gain = np.zeros((len(reflectance), bands, bands), np.float32)
    offset = np.zeros((len(reflectance), bands), np.float32)
    for ref, numbers in enumerate(reflectance):
        both = np.flatnonzero(seen & clear[ref])
        both = both[:: max(1, -(-len(both) // _MOST_PIXELS))]
        x, y = numbers[:, both].astype(np.float64), target[:, both].astype(np.float64)
        present = numbers[:, clear[ref]].any(axis=1)
        for band in range(bands):
            if len(both) < FEWEST_PIXELS or not present.any():
                gain[ref, band, band] = 1
                continue
            columns = [band] if present[band] else np.flatnonzero(present)
            weights = _regress(x[columns], y[band])
            gain[ref, band, columns], offset[ref, band] = weights[:-1], weights[-1]
    return Harmonisation(gain=gain, offset=offset)


def _regress(x: Float64Array, y: Float64Array) -> Float64Array:
    """Return the weights of x (column, n), then the constant, of Huber's robust regression."""
    design = np.concatenate([x, np.ones((1, x.shape[1]))])
    from_middle = np.abs(x - np.median(x, axis=1, keepdims=True))
    scales = np.maximum(_TO_SIGMA * np.median(from_middle, axis=1, keepdims=True), _NOISE_DN)
    near = (from_middle <= _FAR * scales).all(axis=0)
    trust = near.astype(np.float64)
    weights = np.zeros(len(design))
    tiny = 1e-9 * np.eye(len(design)) * np.mean(design**2)
    for _ in range(_ROUNDS):
        trusted = design * trust
        normal = np.sum(trusted[:, None] * design[None], axis=2)
        weights = np.linalg.solve(normal / len(y) + tiny, np.sum(trusted * y, axis=1) / len(y))
        missed = np.abs(y - np.sum(weights[:, None] * design, axis=0))
        scale = max(_TO_SIGMA * float(np.median(missed)), _NOISE_DN)
        trust = near / np.maximum(missed / (_HUBER * scale), 1)
    return weights
