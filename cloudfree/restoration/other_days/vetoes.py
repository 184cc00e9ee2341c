"""Observations that do not serve: missed cloud and shadow, snow come or gone, changed ground.

References are in the order of time here, and harmonised to the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import BoolArray, Float32Array, Int64Array
from cloudfree.restoration.other_days.evidence import (
    first_from,
    keep_nearest,
    last_before,
    take,
)

_SPIKE_DN = 600.0
"""An observation within this of its neighbours in time is never taken for cloud or shadow."""
_SPIKE_SIGMAS = 10.0
"""Half of both drops ten times as many observations, most of them good: 0.2 dB worse."""
_END_FACTOR = 1.5
"""The first and the last observation have neighbours on one side only, from which ground that
greens or dries can run away: they are judged by wider limits."""
_RADAR_DB = 2.0
_RADAR_SIGMAS = 5.0
_FEWEST_PIXELS = 200
_TO_SIGMA = 1.4826
"""From a median absolute deviation to a normal distribution's standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is too much, measured on a scene's sample."""

    spike: Float32Array
    """(band,) reflectance numbers."""
    radar_middle_db: Float32Array
    """(ref, channel): how backscatter of the target's day differs as a whole (rain, incidence)."""
    radar_db: Float32Array
    """(ref, channel): a change beyond this is one of the ground."""


def measure_limits(
    numbers: Float32Array, clear: BoolArray, radar_change_db: Float32Array | None
) -> Limits:
    """Return the limits of a sample: see References for the arrays, ``numbers`` harmonised."""
    before, after, inner, _ = _neighbours(clear)
    spike = np.full(numbers.shape[1], _SPIKE_DN, np.float32)
    if np.count_nonzero(inner) >= _FEWEST_PIXELS:
        missed = np.abs(numbers - (take(numbers, before) + take(numbers, after)) / 2)
        usual = np.array([np.median(of_band[inner]) for of_band in missed.swapaxes(0, 1)])
        spike = np.maximum(spike, _SPIKE_SIGMAS * _TO_SIGMA * usual)
    shape = (len(clear), 0) if radar_change_db is None else radar_change_db.shape[:2]
    middle_db, most_db = np.zeros(shape, np.float32), np.full(shape, np.inf, np.float32)
    for index in np.ndindex(shape):
        known = _known(radar_change_db, index)
        if len(known) >= _FEWEST_PIXELS:
            middle_db[index] = np.median(known)
            spread = _TO_SIGMA * float(np.median(np.abs(known - middle_db[index])))
            most_db[index] = max(_RADAR_DB, _RADAR_SIGMAS * spread)
    return Limits(spike=spike.astype(np.float32), radar_middle_db=middle_db, radar_db=most_db)


def _known(change: Float32Array | None, index: tuple[int, ...]) -> Float32Array:
    values: Float32Array = np.zeros(0, np.float32) if change is None else change[index]
    known: Float32Array = values[np.isfinite(values)]
    return known


def admit(
    numbers: Float32Array,
    clear: BoolArray,
    days: Int64Array,
    *,
    snow: BoolArray | None,
    radar_change_db: Float32Array | None,
    limits: Limits,
    most: int,
) -> BoolArray:
    """Return (ref, n): the observations that serve, at most ``most`` before and as many after.

    They are judged by one more on either side; what lies further does not count.
    """
    kept = clear
    if snow is not None:
        kept = kept & ~_lone_snow(clear & snow, days)
    if radar_change_db is not None:
        kept = kept & ~_changed(radar_change_db, limits)
    near = keep_nearest(kept, days, most + 1)
    return keep_nearest(near & ~_spikes(numbers, near, limits.spike), days, most)


def stands_out(
    target: Float32Array,
    numbers: Float32Array,
    used: BoolArray,
    days: Int64Array,
    limits: Limits,
) -> BoolArray:
    """Return (n,): where the target (band, n) itself is a spike among a pixel's observations.

    Cloud and shadow that its mask missed, most of them: nothing is to be learnt there.
    """
    here = int(np.searchsorted(days, 0))
    series = np.insert(numbers, here, target, axis=0)
    clear = np.insert(used, here, True, axis=0)
    found: BoolArray = _spikes(series, clear, limits.spike)[here]
    return found


def _lone_snow(snow: BoolArray, days: Int64Array) -> BoolArray:
    """Return (ref, n): snow where there is none on the other side of the target."""
    before, after = snow[days < 0].any(axis=0), snow[days >= 0].any(axis=0)
    lone: BoolArray = snow & (before != after)
    return lone


def _changed(change_db: Float32Array, limits: Limits) -> BoolArray:
    """Return (ref, n): where some channel says that the ground changed."""
    from_middle = np.abs(change_db - limits.radar_middle_db[:, :, None])
    changed: BoolArray = (from_middle > limits.radar_db[:, :, None]).any(axis=1)
    return changed


def _spikes(numbers: Float32Array, clear: BoolArray, limit: Float32Array) -> BoolArray:
    """Return (ref, n): brighter (or darker) than both neighbours in time, and darker in no band."""
    before, after, inner, end = _neighbours(clear)
    judged = inner | end
    if not judged.any():
        return judged
    one, other = take(numbers, before), take(numbers, after)
    above, below = numbers - np.maximum(one, other), np.minimum(one, other) - numbers
    factor = np.where(end, np.float32(_END_FACTOR), np.float32(1))
    most = limit[:, None] * factor[:, None]
    cloud = (above > most).any(axis=1) & (below <= 0).all(axis=1)
    shadow = (below > most).any(axis=1) & (above <= 0).all(axis=1)
    found: BoolArray = np.logical_or(cloud, shadow) & judged
    return found


def _neighbours(clear: BoolArray) -> tuple[Int64Array, Int64Array, BoolArray, BoolArray]:
    """Return the neighbours in time (ref, n) of each clear observation, and which have them.

    Those of an inner one lie on either side, those of the first and last one are the next two.
    The last two arrays say which are inner and which ends; where a pixel has but two, none is.
    """
    last, first = last_before(clear), first_from(clear)
    before, after = last[:-1], first[1:]
    none_before, none_after = before < 0, after == len(clear)
    second_before = np.take_along_axis(last, np.maximum(before, 0), axis=0)
    second_after = np.take_along_axis(first, np.minimum(after + 1, len(clear)), axis=0)
    inner = clear & ~none_before & ~none_after
    oldest = clear & none_before & (second_after < len(clear))
    newest = clear & none_after & (second_before >= 0)
    one = np.where(oldest, after, before)
    other = np.where(oldest, second_after, np.where(newest, second_before, after))
    return one, other, inner, oldest | newest
