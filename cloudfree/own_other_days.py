"""Other times of a user's own cube as references: a pixel is made of what they saw of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cloudfree.core.types import BoolArray, Int64Array, Masks, UInt16Array
from cloudfree.own_layers import Layers, Look, to_numbers
from cloudfree.pixels.observation import OtherDays
from cloudfree.restoration.other_days import (
    References,
    SceneFit,
    Window,
    fit_scene,
    join_windows,
    make_pixels,
)
from cloudfree.restoration.rims import FittedPixels
from cloudfree.walk.measure import spread_starts
from cloudfree.walk.other_days import fit_estimate, within_reach

_MOST = 8
"""References before and after a time."""
_SAMPLE_PX = 128
"""Side of the windows that a time's fit learns from."""
_SAMPLES = 9
_SECONDS = 86_400


def find_references(layers: Layers, step: int, reach_days: float) -> tuple[list[int], Int64Array]:
    """Return the times that serve one, nearest first, and how many days they lie from it.

    At most eight before and eight after, within ``reach_days``. None where times are not known.
    """
    if layers.times is None or reach_days == 0:
        return [], np.zeros(0, np.int64)
    days = (layers.times - layers.times[step]).astype(np.int64) / _SECONDS
    order = [int(i) for i in np.argsort(np.abs(days), kind="stable") if i != step]
    near = [i for i in order if abs(days[i]) <= reach_days]
    before, after = ([i for i in near if (days[i] < 0) == earlier] for earlier in (True, False))
    chosen = [i for i in near if i in before[:_MOST] or i in after[:_MOST]]
    return chosen, np.rint(days[chosen]).astype(np.int64)


def fit_time(sample: list[Look], references: list[list[Look]], days: Int64Array) -> SceneFit:
    """Return what windows of a time teach, beside the same windows of its references."""
    return fit_scene(
        join_windows(
            [_to_window(look) for look in sample],
            [[_to_window(look) for look in day] for day in references],
            days,
        )
    )


def _to_window(look: Look) -> Window:
    numbers, known = to_numbers(look.optical)
    return Window(reflectance=numbers, seen=known & ~look.hidden, made=look.hidden)


def find_near(masks: Masks) -> BoolArray:
    """Return (y, x): the pixels that made ones are, or are fitted to."""
    return within_reach(masks.made) & (masks.made | masks.seen)


def estimate_pixels(
    fit: SceneFit, references: list[Look], days: Int64Array, where: BoolArray
) -> OtherDays:
    """Return what other times say of the pixels ``where`` (y, x) of the part they show."""
    bands = len(references[0].optical)
    made = make_pixels(fit, _stack(references, days, bands=bands, where=where.ravel()))
    estimate = OtherDays(
        reflectance=np.zeros((bands, *where.shape), np.float32),
        known=np.zeros(where.shape, bool),
        error=np.full(where.shape, np.nan, np.float32),
    )
    estimate.reflectance[:, where] = made.reflectance
    estimate.known[where] = made.count > 0
    estimate.error[where] = made.expected_error
    return estimate


def make_of_other_days(
    reflectance: UInt16Array,
    masks: Masks,
    other_days: OtherDays,
    near: BoolArray,
    origin: tuple[int, int],
) -> tuple[FittedPixels, BoolArray]:
    """Return (band, y, x) with hidden pixels made of other times, and (y, x) which could be.

    The arrays are those of a block with at least ``REACH_PX`` around its core, whose first pixel
    has the absolute row and column ``origin``; ``near`` is what ``find_near`` finds there. Made
    pixels are fitted to the seen ones at the rims.
    """
    estimate = replace(other_days, known=other_days.known & near)
    done = fit_estimate(reflectance, masks, estimate, origin)
    return done, estimate.known & masks.made


def _stack(looks: list[Look], days: Int64Array, *, bands: int, where: BoolArray) -> References:
    """Return some pixels (n,) of looks at the same part as references."""
    count = int(np.count_nonzero(where))
    reflectance = np.zeros((len(looks), bands, count), np.uint16)
    clear = np.zeros((len(looks), count), bool)
    for index, look in enumerate(looks):
        numbers, known = to_numbers(look.optical)
        reflectance[index] = numbers.reshape(bands, -1)[:, where]
        clear[index] = (known & ~look.hidden).ravel()[where]
    return References(reflectance=reflectance, clear=clear, days=days)


def sample_windows(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the windows that a time's fit learns from, spread over a cube."""
    rows, cols = (spread_starts(size, _SAMPLE_PX, _SAMPLES) for size in shape)
    return [(slice(y, y + _SAMPLE_PX), slice(x, x + _SAMPLE_PX)) for y in rows for x in cols]
