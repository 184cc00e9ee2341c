"""What a pixel has: its nearest clear observations before and after, and a line through them.

References are in the order of time here; those before the target's day come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import BoolArray, Float32Array, Int64Array

OBSERVATIONS = 4
"""A pixel is made of at most so many clear observations before, and as many after."""


def keep_nearest(clear: BoolArray, days: Int64Array, most: int) -> BoolArray:
    """Return ``clear`` (ref, n) without what lies beyond the ``most`` nearest on either side."""
    first_after = int(np.searchsorted(days, 0))
    rank = np.empty(clear.shape, np.int16)
    np.cumsum(clear[:first_after][::-1], axis=0, out=rank[:first_after][::-1])
    np.cumsum(clear[first_after:], axis=0, out=rank[first_after:])
    return clear & (rank <= most)


def last_before(used: BoolArray) -> Int64Array:
    """Return (ref + 1, n): the last used reference before each, and before the end; -1 none."""
    found = np.full((len(used) + 1, used.shape[1]), -1, np.int64)
    which = np.where(used, np.arange(len(used))[:, None], -1)
    np.maximum.accumulate(which, axis=0, out=found[1:])
    return found


def first_from(used: BoolArray) -> Int64Array:
    """Return (ref + 1, n): the first used reference from each on, and from the end on.

    Each is among its own; where there is none it is the number of references.
    """
    found = np.full((len(used) + 1, used.shape[1]), len(used), np.int64)
    which = np.where(used, np.arange(len(used))[:, None], len(used))
    np.minimum.accumulate(which[::-1], axis=0, out=found[:-1][::-1])
    return found


def take(numbers: Float32Array, which: Int64Array) -> Float32Array:
    """Return (k, band, n): of ``numbers`` (ref, band, n) those of each pixel's references (k, n).

    An index beyond either end takes what lies there.
    """
    inside = np.clip(which, 0, len(numbers) - 1)
    return np.take_along_axis(numbers, inside[:, None], axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What some pixels have of other days, harmonised to the target."""

    days: Int64Array
    """(ref,) from the target, ascending."""
    numbers: Float32Array
    """(ref, band, n); where a pixel was not clear what the line says there."""
    used: BoolArray
    """(ref, n): the observations that serve."""
    line: Float32Array
    """(band, n): the line in time at the target's day, between the nearest before and after; the
    nearest where there is one side only, 0 where there is none."""
    closest: Float32Array
    """(band, n): the nearest; of two as near the earlier. 0 where there is none."""
    nearest: Int64Array
    """(n,): which reference that is, -1 none."""

    @property
    def has_any(self) -> BoolArray:
        """(n,): True where there is an observation."""
        return self.nearest >= 0

    def by_rank(self, most: int) -> tuple[Float32Array, BoolArray]:
        """Return (2 x most, band, n) the nearest before, then after, and (2 x most, n) which are.

        What is missing is the line.
        """
        slots = np.empty((2 * most, self.used.shape[1]), np.int64)
        before, after = last_before(self.used), first_from(self.used)
        earlier = later = np.full((1, slots.shape[1]), np.searchsorted(self.days, 0))
        for rank in range(most):
            earlier = np.take_along_axis(before, np.maximum(earlier, 0), axis=0)
            later = np.take_along_axis(after, later, axis=0)
            slots[rank], slots[most + rank] = earlier, later
            later = np.minimum(later + 1, len(self.used))
        present = (slots >= 0) & (slots < len(self.used))
        line = np.full_like(slots, len(self.used))
        rows = np.where(present, slots, line)
        return take(np.concatenate([self.numbers, self.line[None]]), rows), present


def gather(numbers: Float32Array, used: BoolArray, days: Int64Array) -> Evidence:
    """Return the evidence of harmonised ``numbers`` (ref, band, n) where ``used`` (ref, n)."""
    last, first = last_before(used), first_from(used)
    here = int(np.searchsorted(days, 0))
    before, after = last[here], first[here]
    far = np.iinfo(np.int64).max
    distance = np.append(np.abs(days), far)  # of -1 and of one past the end: far
    nearest = np.where(distance[before] <= distance[after], before, after)
    nearest = np.where(nearest < len(used), nearest, -1)
    closest = np.where(nearest >= 0, take(numbers, nearest[None])[0], np.float32(0))
    return Evidence(
        days=days,
        numbers=_interpolate(numbers, days, last[1:], first[:-1], days),
        used=used,
        line=_interpolate(numbers, days, before[None], after[None], np.zeros(1, np.int64))[0],
        closest=closest,
        nearest=nearest,
    )


def _interpolate(
    numbers: Float32Array,
    days: Int64Array,
    earlier: Int64Array,
    later: Int64Array,
    asked: Int64Array,
) -> Float32Array:
    """Return (k, band, n) on the days asked (k,), between two references of each pixel (k, n).

    -1 is none before, past the end none after.
    """
    none_before, none_after = earlier < 0, later == len(days)
    one = np.where(none_before, later, earlier)
    other = np.where(none_after, earlier, later)
    ends = np.append(days, 0).astype(np.float32)
    gap = ends[other] - ends[one]
    since = asked[:, None].astype(np.float32) - ends[one]
    share = np.where(gap > 0, since / np.maximum(gap, 1), np.float32(0))
    share[none_before | none_after] = 0
    first, second = take(numbers, one), take(numbers, other)
    line: Float32Array = first + (second - first) * share[:, None]
    line[np.broadcast_to((none_before & none_after)[:, None], line.shape)] = 0
    return line
