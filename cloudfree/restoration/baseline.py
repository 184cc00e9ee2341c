"""The built-in model without weights: colour regressed on radar, plus the local mean of its error.

It is the fallback, the demo, and the bar that every report shows beside a network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cloudfree.core.contract import Contract
from cloudfree.core.types import Float32Array, Masks
from cloudfree.restoration.smoothing import gaussian, local_mean

_FINE_PX, _COARSE_PX = 2.0, 8.0
_SCALES = (4, 16, 32)
_FADE = 1e-3
_RIDGE = 1e-3
N_FEATURES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Least squares of each band on smoothed backscatter and its local contrast.

    ``coefficients`` is (band, feature); empty until fitted to a scene.
    """

    contract: Contract
    """What it expects and gives."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    """One row a band, learnt from seen pixels of a scene."""

    def fit(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> list[list[float]]:
        """Return coefficients from sample windows (see Model for the arrays).

        Ridge regression over the seen pixels; with none the colour is the picture's middle.
        """
        design = _features(radar)[:, masks.seen].astype(np.float64)
        colours = np.moveaxis(optical, 1, 0)[:, masks.seen].astype(np.float64)
        if design.shape[1] == 0:
            return [[0.0] * N_FEATURES for _ in colours]
        normal = design @ design.T / design.shape[1]
        penalty = _RIDGE * np.eye(N_FEATURES)
        penalty[0, 0] = 0
        solved = np.linalg.solve(normal + penalty, design @ colours.T / design.shape[1])
        return [[float(value) for value in column] for column in solved.T]

    def fitted(self, numbers: list[list[float]]) -> Baseline:
        """Return the baseline that uses these coefficients."""
        return replace(self, coefficients=tuple(tuple(row) for row in numbers))

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return candidate pictures (n, band, y, x); see Model."""
        features = _features(radar)
        weights = np.array(self.coefficients, np.float32)
        translated = np.zeros(optical.shape, np.float32)
        for band, row in enumerate(weights):
            for weight, feature in zip(row, features, strict=True):
                translated[:, band] += weight * feature
        missed = optical - translated
        for index, seen in enumerate(masks.seen):
            if seen.any():
                translated[index] += local_mean(
                    missed[index], seen, origin=(0, 0), scales=_SCALES, fade=_FADE
                )
        return np.clip(translated, -1, 1)


def _features(radar: Float32Array) -> Float32Array:
    """Return (feature, n, y, x): one, backscatter at two scales and its contrast, and squares.

    ValueError for a radar of several channels.
    """
    if radar.shape[1] != 1:
        raise ValueError(f"the baseline takes one channel of radar, not {radar.shape[1]}")
    fine = gaussian(radar[:, 0], _FINE_PX)
    coarse = gaussian(radar[:, 0], _COARSE_PX)
    contrast = np.sqrt(np.maximum(gaussian((fine - coarse) ** 2, _COARSE_PX), 0))
    one = np.ones_like(fine)
    return np.stack([one, fine, fine**2, coarse, coarse**2, contrast, contrast**2])
