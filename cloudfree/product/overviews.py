"""Row 14 of the walk: the cube's overviews, so that a glance at a whole product reads little.

Each is made of the one above it. A pixel of reflectance is the mean of the up to four pixels that
have data, one of classes is the first of them. One shard is one job and has one writer, like the
chunks of full resolution; a job reads the shards above it one after another, so that its memory
does not grow with the area, and done twice it writes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from cloudfree.core.types import AnyArray
from cloudfree.geometry.grid import Chunk, GridPlan
from cloudfree.product.conventions import overview_name
from cloudfree.product.layers import ALL_LAYERS, Layer
from cloudfree.product.store import CUBE, get_array, open_cube, writing
from cloudfree.storage.outputs import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewJob:
    """One shard of an overview of one step, of every array that has overviews."""

    step: int
    """Index of the step."""
    factor: int
    """How many times smaller than full resolution."""
    chunk: Chunk
    """Which part of the overview."""


def overview_jobs(plan: GridPlan, n_steps: int, factor: int) -> Iterator[OverviewJob]:
    """Yield the jobs of one overview; the one above it must be finished."""
    for step in range(n_steps):
        for chunk in plan.reduced(factor).chunks():
            yield OverviewJob(step=step, factor=factor, chunk=chunk)


def write_overview(storage: Storage, job: OverviewJob) -> None:
    """Do one job; StoreError where the output fails."""
    with writing(storage, CUBE):
        group, chunk = open_cube(storage, mode="r+"), job.chunk
        for layer in ALL_LAYERS:
            if layer.shrinks_by is None or layer.name not in group:
                continue
            above = f"{overview_name(job.factor // 2)}/" if job.factor > 2 else ""
            source = get_array(group, f"{above}{layer.name}")
            target = get_array(group, f"{overview_name(job.factor)}/{layer.name}")
            shape = (*source.shape[1:-2], *chunk.geobox.shape)
            pixels: AnyArray = np.zeros(shape, source.dtype)
            for (y, small_y), (x, small_x) in product(_halves(chunk.y), _halves(chunk.x)):
                large: AnyArray = np.asarray(source[job.step, ..., y, x])
                for band in np.ndindex(large.shape[:-2]):  # one by one: sums are larger
                    pixels[(*band, small_y, small_x)] = shrink(large[band], layer)
            target[job.step, ..., chunk.y, chunk.x] = pixels


def _halves(part: slice) -> Iterator[tuple[slice, slice]]:
    """Yield where the halves of a shard's side lie above it, and in it."""
    length = part.stop - part.start
    middle = (length + 1) // 2
    for first, last in ((0, middle), (middle, length)):
        if last > first:
            yield slice(2 * (part.start + first), 2 * (part.start + last)), slice(first, last)


def shrink(pixels: AnyArray, layer: Layer) -> AnyArray:
    """Return (y, x) at half the size, rounded up where a side is odd."""
    if layer.shrinks_by == "nearest":
        return pixels[::2, ::2]
    even = np.pad(pixels, [(0, side % 2) for side in pixels.shape], constant_values=layer.empty)
    total: AnyArray = np.zeros([side // 2 for side in even.shape], np.uint32)
    count: AnyArray = np.zeros_like(total)
    for row, col in product((0, 1), (0, 1)):
        total += even[row::2, col::2]
        count += even[row::2, col::2] != layer.empty
    mean: AnyArray = (total + count // 2) // np.maximum(count, 1)  # the half is rounded up
    return mean.astype(pixels.dtype)
