"""How wrong a made pixel is likely to be: signs of doubt, calibrated on the self-check.

Of what a model made there are three signs: how far the answers to mirrored windows lie apart (an
ensemble by augmentation), how far the two GANs disagree, and how far away the ground was last seen.
Of what other days made, three others: the error that the scene's fit expects, how far its experts
disagree, and how many days lie between. Where the truth is known, in the self-check, the absolute
error is regressed on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls

from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Float64Array

SIGNS = ("spread", "disagreement", "distance")
"""Of each pixel that a model made; those of ``signs_of_doubt`` come first."""
OTHER_DAYS_SIGNS = ("expected", "disagreement", "days")
"""Of each pixel that other days made."""


def distance_to_seen(seen: BoolArray, most_px: int) -> Float32Array:
    """Return (y, x): pixels to the nearest seen one, ``most_px`` at most.

    Exact where the array reaches ``most_px`` further than what is asked about.
    """
    if not seen.any():
        return np.full(seen.shape, most_px, np.float32)
    distance: Float32Array = distance_transform_edt(~seen).astype(np.float32)
    return np.minimum(distance, np.float32(most_px))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What turns signs into an expected error."""

    constant: float
    """Expected error without any sign of doubt, in reflectance numbers (scale 1e-4)."""
    weights: tuple[float, ...]
    """Of each sign, none negative."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Calibration:
        """Return what ``dataclasses.asdict`` and JSON gave."""
        return cls(constant=values["constant"], weights=tuple(values["weights"]))

    def expected_error(self, signs: Float32Array) -> Float32Array:
        """Return (...) the expected absolute error in reflectance numbers of signs (sign, ...)."""
        total = np.full(signs.shape[1:], self.constant, np.float32)
        for weight, sign in zip(self.weights, signs, strict=True):
            total += np.float32(weight) * sign
        return total


AS_EXPECTED = Calibration(constant=0.0, weights=(1.0, 0.0, 0.0))
"""Of ``OTHER_DAYS_SIGNS`` where no place could be checked: what the scene's fit expects."""


def calibrate(signs: Float32Array, errors: Float32Array) -> Calibration:
    """Return the non-negative least squares of absolute errors (n,) on signs (sign, n)."""
    scale = np.maximum(signs.std(axis=1, dtype=np.float64), 1e-6)
    design = np.concatenate([np.ones((1, signs.shape[1])), signs / scale[:, None]]).T
    weights, _ = nnls(design, errors.astype(np.float64))
    return Calibration(
        constant=float(weights[0]), weights=tuple(float(w) for w in weights[1:] / scale)
    )


def judge(
    signs: list[Float32Array], errors: list[Float32Array], bins: int = 10
) -> tuple[Float64Array, Float64Array, float]:
    """Return a calibration curve and a rank correlation, each place judged by the others' fit.

    ``signs`` are (sign, n) and ``errors`` (n,) of each place. The curve has the mean expected and
    the mean true error of as many pixels in each bin. Needs two places.
    """
    expected = np.concatenate(
        [
            calibrate(
                np.concatenate(signs[:index] + signs[index + 1 :], axis=1),
                np.concatenate(errors[:index] + errors[index + 1 :]),
            ).expected_error(one)
            for index, one in enumerate(signs)
        ]
    )
    true = np.concatenate(errors)
    order = np.argsort(expected, kind="stable")
    parts = np.array_split(order, bins)
    curve = np.array([[expected[part].mean(), true[part].mean()] for part in parts])
    return curve[:, 0], curve[:, 1], _rank_correlation(expected, true)


def _rank_correlation(one: AnyArray, other: AnyArray) -> float:
    """Return Spearman's correlation; 0 where one of them is constant."""
    ranks = [
        np.argsort(np.argsort(values, kind="stable"), kind="stable") for values in (one, other)
    ]
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
