"""Row 9 of the walk: the lattice of network windows, and which of them are needed.

The lattice is anchored at the CRS: a window starts at every multiple of the stride, counted in
absolute rows and columns (see grid.origin_px). Which windows exist, and what lies in them,
therefore does not depend on the area or on the chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.types import BoolArray, Float32Array, Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Where windows lie."""

    window_px: int
    """Side of a window."""
    stride_px: int
    """Distance between the starts of neighbouring windows; a multiple of 8."""

    def starts(self, first: int, last: int) -> list[int]:
        """Return the absolute starts of all windows that lie whole in [first, last)."""
        lowest = -(-first // self.stride_px) * self.stride_px
        return list(range(lowest, last - self.window_px + 1, self.stride_px))

    def taper(self) -> Float32Array:
        """Return (window, window) weights: positive, falling smoothly to the rim (Hann)."""
        phase = (np.arange(self.window_px) + 0.5) * np.pi / self.window_px
        rise = np.sin(phase) ** 2
        return np.outer(rise, rise).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowChoice:
    """The windows to compute, as offsets in the array that was asked about."""

    rows: Int64Array
    """First row of each window."""
    cols: Int64Array
    """First column of each window."""
    skipped: int
    """Windows that touch the core and need not be computed."""

    def __len__(self) -> int:
        return len(self.rows)


def choose_windows(
    lattice: Lattice,
    *,
    made: BoolArray,
    core: tuple[slice, slice],
    wanted: BoolArray,
    origin: tuple[int, int],
    reach_px: int,
) -> WindowChoice:
    """Return the windows that decide the wanted pixels of a core.

    ``made`` (y, x) covers the core and its halo; ``core`` says where the core lies in it and
    ``wanted`` (core shape) which of its pixels are to be made. A window is computed where it
    holds a made pixel and some wanted pixel lies within ``reach_px`` of it. ``origin`` is the
    absolute row and column of the first pixel. Windows come row by row.
    """
    size = lattice.window_px
    rows = np.array(lattice.starts(origin[0], origin[0] + made.shape[0]), np.int64) - origin[0]
    cols = np.array(lattice.starts(origin[1], origin[1] + made.shape[1]), np.int64) - origin[1]
    near = np.zeros(made.shape, bool)
    near[core] = wanted
    holds = _any_within(made, rows, cols, size, 0)
    reached = _any_within(near, rows, cols, size, reach_px)
    in_core = np.zeros(made.shape, bool)
    in_core[core] = True
    touching = _any_within(in_core, rows, cols, size, 0)
    chosen = holds & reached
    y, x = np.nonzero(chosen)
    skipped = int(np.count_nonzero(touching & ~chosen))
    return WindowChoice(rows=rows[y], cols=cols[x], skipped=skipped)


def _any_within(
    where: BoolArray, rows: Int64Array, cols: Int64Array, size: int, margin: int
) -> BoolArray:
    """Return (row, col): True where a window, grown by ``margin``, holds a True of ``where``."""
    total = np.zeros((where.shape[0] + 1, where.shape[1] + 1), np.int64)
    np.cumsum(np.cumsum(where, axis=0, dtype=np.int64), axis=1, out=total[1:, 1:])
    y0 = np.clip(rows - margin, 0, where.shape[0])[:, None]
    y1 = np.clip(rows + size + margin, 0, where.shape[0])[:, None]
    x0 = np.clip(cols - margin, 0, where.shape[1])[None, :]
    x1 = np.clip(cols + size + margin, 0, where.shape[1])[None, :]
    count = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    inside: BoolArray = count > 0
    return inside
