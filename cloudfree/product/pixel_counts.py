"""Row 14 of the walk: what is counted over every pixel of a finished cube.

It is counted in the cube and not while chunks are made: a seam is followed across the edges of
chunks, whose neighbours only the finished cube has. So the counts do not depend on how the area was
cut, nor on how often a run was resumed. That costs one more reading of the bands that are shown;
what is alive is one chunk with a few pixels around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from cloudfree.core.source import NODATA, OTHER_DAYS, RECONSTRUCTED, SEEN, is_made
from cloudfree.core.types import BoolArray, Int64Array, UInt8Array, UInt16Array
from cloudfree.geometry.grid import Chunk
from cloudfree.product import store
from cloudfree.storage.outputs import Storage

BIN_DN = 50
"""Width of a bin of the histogram, in reflectance numbers."""
BINS = 200
"""The last one takes all that is brighter."""
SEAM_REACH = 8
"""A seam's profile goes this many steps to both sides of the border."""
NO_PIXEL = 255
"""Stands in the map of clouds where the product has no pixel."""
_MADE = RECONSTRUCTED
"""Stands for whatever was made."""
_KINDS = (SEEN, _MADE)
_CODES = OTHER_DAYS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCounts:
    """Counts over pixels; those of two parts add up to those of the whole."""

    pixels: Int64Array
    """(5,): by ``source`` code."""
    references: Int64Array
    """(n,): pixels made of other days, by ``reference_scene``, from 1."""
    histogram: Int64Array
    """(2, band, BINS): pixels that were seen, and made, by reflectance number."""
    seam_steps: Int64Array
    """(2 * SEAM_REACH + 1,): sums over the bands of the |difference| of neighbours on lines that
    cross the border of seen and made; in the middle those that it parts, before them those of two
    seen pixels, after them of two made ones, by distance."""
    seam_pairs: Int64Array
    """(2 * SEAM_REACH + 1,): how many pairs these are."""

    @property
    def made(self) -> int:
        """How many pixels are an estimate, whatever it was made of."""
        return int(self.pixels[is_made(np.arange(_CODES))].sum())

    @classmethod
    def empty(cls, n_bands: int, n_references: int) -> Self:
        """Return the counts of no pixel."""
        return cls(
            pixels=np.zeros(_CODES, np.int64),
            references=np.zeros(n_references, np.int64),
            histogram=np.zeros((2, n_bands, BINS), np.int64),
            seam_steps=np.zeros(2 * SEAM_REACH + 1, np.int64),
            seam_pairs=np.zeros(2 * SEAM_REACH + 1, np.int64),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(
            pixels=self.pixels + other.pixels,
            references=self.references + other.references,
            histogram=self.histogram + other.histogram,
            seam_steps=self.seam_steps + other.seam_steps,
            seam_pairs=self.seam_pairs + other.seam_pairs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a chunk of one step gives."""

    counts: PixelCounts
    """Of its pixels; of the seams whose seen pixel it holds."""
    part: tuple[slice, slice]
    """Where its part lies in the small map of the whole product."""
    cloud: UInt8Array
    """(y, x): that part, ``cloud`` codes or NO_PIXEL."""


def count_chunk(
    storage: Storage,
    step: int,
    chunk: Chunk,
    *,
    bands: tuple[int, ...],
    whole: tuple[int, int],
    small: tuple[int, int],
    references: int,
) -> Counted:
    """Return the counts of a chunk of a finished cube, and its part of a ``small`` map.

    ``bands`` are indices into the cube's, ``whole`` is the product's shape, ``references`` how many
    scenes of other days there are. Raises StoreError where the cube cannot be read.
    """
    around = [
        slice(max(part.start - SEAM_REACH - 1, 0), min(part.stop + SEAM_REACH + 1, size))
        for part, size in zip((chunk.y, chunk.x), whole, strict=True)
    ]
    core = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip((chunk.y, chunk.x), around, strict=True)
    )
    source = store.read_part(storage, "source", (step, *around))
    reflectance = np.stack(
        [store.read_part(storage, "reflectance", (step, band, *around)) for band in bands]
    )
    cloud = store.read_part(storage, "cloud", (step, chunk.y, chunk.x))
    rows, cols = (sample(*sizes) for sizes in zip(whole, small, strict=True))
    y, x = _within(rows, chunk.y), _within(cols, chunk.x)
    picked = np.ix_(rows[y] - chunk.y.start, cols[x] - chunk.x.start)
    return Counted(
        counts=replace(
            count_pixels(source, reflectance, (core[0], core[1])),
            references=_count_references(storage, step, chunk, references),
        ),
        part=(y, x),
        cloud=np.where(source[core] == NODATA, np.uint8(NO_PIXEL), cloud)[picked],
    )


def _count_references(storage: Storage, step: int, chunk: Chunk, references: int) -> Int64Array:
    """Return (n,) how many pixels of a chunk each scene of other days was nearest to."""
    if not references:
        return np.zeros(0, np.int64)
    scenes = store.read_part(storage, "reference_scene", (step, chunk.y, chunk.x))
    return np.bincount(scenes.ravel(), minlength=references + 1)[1:]


def sample(size: int, small: int) -> Int64Array:
    """Return the index of the pixel in the middle of each of ``small`` parts of ``size`` pixels."""
    middles: Int64Array = (2 * np.arange(small, dtype=np.int64) + 1) * size // (2 * small)
    return middles


def _within(positions: Int64Array, part: slice) -> slice:
    """Return which of the rising positions lie in a part."""
    first, end = np.searchsorted(positions, (part.start, part.stop))
    return slice(int(first), int(end))


def count_pixels(
    source: UInt8Array, reflectance: UInt16Array, core: tuple[slice, slice]
) -> PixelCounts:
    """Return the counts of the core of ``source`` (y, x) and ``reflectance`` (band, y, x).

    What is given around the core is where seams that begin in it are followed to.
    """
    inner, numbers = source[core], reflectance[:, *core]
    kinds = np.where(is_made(source), np.uint8(_MADE), source)
    bins = np.minimum(numbers // BIN_DN, BINS - 1)
    steps, pairs = _follow_seams(kinds, reflectance, core)
    return PixelCounts(
        pixels=np.bincount(inner.ravel(), minlength=_CODES),
        references=np.zeros(0, np.int64),
        histogram=np.stack(
            [
                np.stack([np.bincount(band[kinds[core] == kind], minlength=BINS) for band in bins])
                for kind in _KINDS
            ]
        ),
        seam_steps=steps,
        seam_pairs=pairs,
    )


def _follow_seams(
    kinds: UInt8Array, reflectance: UInt16Array, core: tuple[slice, slice]
) -> tuple[Int64Array, Int64Array]:
    """Return the sums of steps and the pairs of the seams whose seen pixel lies in the core."""
    steps = np.zeros(2 * SEAM_REACH + 1, np.int64)
    pairs = np.zeros_like(steps)
    owned = np.zeros(kinds.shape, bool)
    owned[core] = True
    for turns in range(4):  # so that the seen pixel always lies left of the other
        lines, mine = np.rot90(kinds, turns), np.rot90(owned, turns)
        values = np.rot90(reflectance, turns, axes=(-2, -1))
        border: BoolArray = (lines[:, :-1] == SEEN) & (lines[:, 1:] == _MADE)
        found = np.nonzero(border & mine[:, :-1])
        for side, kind in ((-1, SEEN), (1, _MADE)):
            rows, cols = found
            for distance in range(SEAM_REACH + 1):
                # the pair is this pixel and the one right of it; it counts while it is of one kind
                at = cols + side * distance
                if distance > 0:
                    far = at if side < 0 else at + 1
                    same = (far >= 0) & (far < lines.shape[1])
                    same[same] = lines[rows[same], far[same]] == kind
                    rows, cols, at = rows[same], cols[same], at[same]
                elif side > 0:
                    continue  # the border itself is counted once
                there = values[:, rows, at + 1].astype(np.int64)
                steps[SEAM_REACH + side * distance] += np.abs(there - values[:, rows, at]).sum()
                pairs[SEAM_REACH + side * distance] += len(rows)
    return steps, pairs
