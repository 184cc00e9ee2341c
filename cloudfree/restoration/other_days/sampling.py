"""Windows of a target and of its references as one sample, from which the scene's fit learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Int64Array, UInt16Array
from cloudfree.restoration.other_days.references import References, Sample

_CELL_PX = 16
"""Experts are judged on hidden squares of this side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one day shows of a window."""

    reflectance: UInt16Array
    """(band, y, x) reflectance numbers."""
    seen: BoolArray
    """(y, x): True where it shows the ground."""
    made: BoolArray
    """(y, x): True where something hides it."""
    snow: BoolArray | None = None
    """(y, x): True where the ground is snow; None where nobody says."""
    radar_change_db: Float32Array | None = None
    """(channel, y, x): see References; None where nobody says. Not of the target."""


def join_windows(
    target: Sequence[Window], references: Sequence[Sequence[Window]], days: Int64Array
) -> Sample:
    """Return a sample of windows of equal shape: those of the target, and of each reference
    (``days`` from it) the same ones.
    """
    height, width = target[0].seen.shape
    y, x = (np.arange(size, dtype=np.int64) // _CELL_PX for size in (height, width))
    cells = np.concatenate(
        [(index * height * width + y[:, None] * width + x).ravel() for index in range(len(target))]
    )
    numbers = [np.concatenate([_flat(one.reflectance) for one in day], 1) for day in references]
    clear = [np.concatenate([one.seen.ravel() for one in day]) for day in references]
    bands, pixels = len(target[0].reflectance), len(cells)
    return Sample(
        reflectance=np.concatenate([_flat(one.reflectance) for one in target], axis=1),
        seen=np.concatenate([one.seen.ravel() for one in target]),
        made=np.concatenate([one.made.ravel() for one in target]),
        cells=cells,
        references=References(
            reflectance=np.array(numbers, np.uint16).reshape(len(references), bands, pixels),
            clear=np.array(clear, bool).reshape(len(references), pixels),
            days=days,
            snow=_join_snow(references),
            radar_change_db=_join_radar(references),
        ),
    )


def _flat(picture: AnyArray) -> AnyArray:
    return picture.reshape(len(picture), -1)


def _join_snow(references: Sequence[Sequence[Window]]) -> BoolArray | None:
    """Return (ref, n); no snow for a day that does not say, None where none does."""
    if all(one.snow is None for day in references for one in day):
        return None
    days = [
        [np.zeros(one.seen.size, bool) if one.snow is None else one.snow.ravel() for one in day]
        for day in references
    ]
    return np.array([np.concatenate(day) for day in days], bool)


def _join_radar(references: Sequence[Sequence[Window]]) -> Float32Array | None:
    """Return (ref, channel, n); NaN for a day that does not say, None where none does."""
    said = [day[0].radar_change_db for day in references]
    channels = next((len(one) for one in said if one is not None), 0)
    if not channels:
        return None
    days = [
        [
            np.full((channels, one.seen.size), np.nan, np.float32)
            if one.radar_change_db is None
            else _flat(one.radar_change_db)
            for one in day
        ]
        for day in references
    ]
    return np.array([np.concatenate(day, axis=1) for day in days], np.float32)
