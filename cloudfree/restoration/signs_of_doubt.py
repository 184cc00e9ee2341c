"""What a model itself shows of its doubt: signs that the uncertainty is made of.

How far the answers to mirrored windows lie apart (an ensemble by augmentation), and how far the
two GANs disagree.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from cloudfree.core.types import (
    AnyArray,
    Float32Array,
    Masks,
    Model,
    OtherDaysPicture,
    ask_model,
)

MODEL_SIGNS = 2
"""Spread and disagreement."""
MEMBERS = 4
"""Times that a window goes through the model: as it is, and mirrored in three ways."""
_MIRRORED = ((-1,), (-2,), (-2, -1))


@runtime_checkable
class Translates(Protocol):
    """A model that has a picture of the radar alone, beside its answer."""

    def translate_windows(self, radar: Float32Array) -> Float32Array:
        """Return (n, band, y, x) in [-1, 1] of radar (n, channel, y, x); no bands without GAN1."""
        ...


def read_signs(
    model: Model,
    optical: Float32Array,
    radar: Float32Array,
    masks: Masks,
    candidate: Float32Array,
    other_days: OtherDaysPicture | None = None,
) -> Float32Array:
    """Return (n, 2, y, x): spread and disagreement of windows, means over the picture's bands.

    ``candidate`` is what the model made of them; the other arrays are as in types.Model.
    """
    members = [candidate]
    for axes in _MIRRORED:
        turned = ask_model(
            model,
            _flip(optical, axes),
            _flip(radar, axes),
            Masks(seen=_flip(masks.seen, axes), made=_flip(masks.made, axes)),
            other_days and _flip_other_days(other_days, axes),
        )
        members.append(_flip(turned, axes))
    spread = np.std(members, axis=0, dtype=np.float32).mean(axis=1)
    disagreement = np.zeros_like(spread)
    if isinstance(model, Translates):
        translated = model.translate_windows(radar)
        if translated.shape[1]:
            disagreement = np.abs(translated - candidate).mean(axis=1)
    return np.stack([spread, disagreement], axis=1)


def _flip(array: AnyArray, axes: tuple[int, ...]) -> AnyArray:
    return np.ascontiguousarray(np.flip(array, axes))


def _flip_other_days(other_days: OtherDaysPicture, axes: tuple[int, ...]) -> OtherDaysPicture:
    return OtherDaysPicture(
        picture=_flip(other_days.picture, axes),
        known=_flip(other_days.known, axes),
        error=_flip(other_days.error, axes),
    )
