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
    rank = np.concatenate([_rank(clear[:first_after][::-1])[::-1], _rank(clear[first_after:])])
    return clear & (rank <= most)


def _rank(clear: BoolArray) -> Int64Array:
    """Return (ref, n): the how-many-eth clear one each is."""
    ranks: Int64Array = np.cumsum(clear, axis=0, dtype=np.int64)
    return ranks


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
        first_after = int(np.searchsorted(self.days, 0))
        sides = (self.used[:first_after][::-1], self.used[first_after:])
        numbers = np.empty((2 * most, *self.line.shape), np.float32)
        present = np.zeros((2 * most, self.line.shape[1]), bool)
        for side, used in enumerate(sides):
            rank = _rank(used)
            for index in range(most):
                chosen = used & (rank == index + 1)
                slot = side * most + index
                present[slot] = chosen.any(axis=0)
                numbers[slot] = self.line
                if len(used):
                    of_side = chosen.argmax(axis=0)
                    ref = first_after - 1 - of_side if side == 0 else first_after + of_side
                    there = np.flatnonzero(present[slot])
                    numbers[slot][:, there] = self.numbers[ref[there], :, there].T
        return numbers, present


def gather(numbers: Float32Array, used: BoolArray, days: Int64Array) -> Evidence:
    """Return the evidence of harmonised ``numbers`` (ref, band, n) where ``used`` (ref, n)."""
    references, _, n = numbers.shape
    earlier = np.full((references, n), -1)
    later = np.full((references, n), -1)
    for ref in range(references):
        earlier[ref] = np.where(used[ref], ref, earlier[ref - 1] if ref else -1)
    for ref in reversed(range(references)):
        later[ref] = np.where(used[ref], ref, later[ref + 1] if ref + 1 < references else -1)
    filled = np.empty_like(numbers)
    for ref in range(references):
        filled[ref] = _interpolate(numbers, days, earlier[ref], later[ref], int(days[ref]))
    first_after = int(np.searchsorted(days, 0))
    before = earlier[first_after - 1] if first_after else np.full(n, -1)
    after = later[first_after] if first_after < references else np.full(n, -1)
    distance = [
        np.where(side >= 0, np.abs(days)[side] if references else 0, np.iinfo(np.int64).max)
        for side in (before, after)
    ]
    nearest = np.where(distance[0] <= distance[1], before, after)
    return Evidence(
        days=days,
        numbers=filled,
        used=used,
        line=_interpolate(numbers, days, before, after, 0),
        closest=_interpolate(numbers, days, nearest, nearest, 0),
        nearest=nearest,
    )


def _interpolate(
    numbers: Float32Array, days: Int64Array, earlier: Int64Array, later: Int64Array, day: int
) -> Float32Array:
    """Return (band, n) on a day, between two references of each pixel (n,), -1 none."""
    n = numbers.shape[2]
    one = np.where(earlier >= 0, earlier, later)
    other = np.where(later >= 0, later, earlier)
    if not len(numbers):
        return np.zeros(numbers.shape[1:], np.float32)
    gap = (days[other] - days[one]).astype(np.float32)
    share = np.where(gap > 0, (day - days[one]) / np.maximum(gap, 1), 0).astype(np.float32)
    pixels = np.arange(n)
    first, second = numbers[one, :, pixels].T, numbers[other, :, pixels].T
    line: Float32Array = first + (second - first) * np.where(one == other, 0, share)
    return np.where(one >= 0, line, np.float32(0))
