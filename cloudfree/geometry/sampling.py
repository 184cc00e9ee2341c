"""Where the pixels of one grid lie in another: exact, and independent of the block asked for.

GDAL's warper approximates: which neighbour it takes depends on the block that is read. Here a
nearest pixel is the source pixel that holds the exactly transformed centre of the grid pixel.
"""

from __future__ import annotations

import functools
import math
import threading
from dataclasses import dataclass

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Float64Array, Int64Array
from cloudfree.geometry.grid import crs_of, origin_px

_NODE_PX = 16
"""Positions are exact on a lattice of this pitch and linear between: within 1e-4 px for UTM."""
_MARGIN_PX = 2e-3
"""Pixels this close to an edge of the source are transformed exactly, one by one."""
_INT32 = 2**31
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """Fractional rows and columns in a source, for every pixel centre of a target.

    Both broadcast to the target's shape: (h, 1) and (1, w) where the grids are parallel, else
    (h, w). Pixel (0, 0) of the source spans [0, 1).
    """

    rows: Float64Array
    cols: Float64Array


def locate(target: GeoBox, source_crs: str, source: Affine) -> Positions:
    """Return where the pixel centres of ``target`` lie in a source grid; ``source_crs`` is WKT.

    The integer parts are those of the exact transform; the fractions are off by less than
    5e-4 px. The answer for a pixel does not depend on the block it was asked in.
    """
    parallel = source.b == source.d == target.affine.b == target.affine.d == 0
    if parallel and _same_crs(crs_of(target).to_wkt(), source_crs):
        x, y = _centres(target)
        return Positions(
            rows=((y - source.f) / source.e)[:, None], cols=((x - source.c) / source.a)[None, :]
        )
    with _lock:
        return _locate_warped(target, source_crs, source)


@functools.lru_cache(maxsize=64)
def _same_crs(one: str, other: str) -> bool:
    return bool(CRS(one) == CRS(other)) or (
        CRS(one).to_epsg() is not None and CRS(one).to_epsg() == CRS(other).to_epsg()
    )


def _centres(target: GeoBox) -> tuple[Float64Array, Float64Array]:
    affine = target.affine
    x = affine.c + (np.arange(target.width) + 0.5) * affine.a
    y = affine.f + (np.arange(target.height) + 0.5) * affine.e
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


@functools.lru_cache(maxsize=32)
def _transformer(target_crs: str, source_crs: str) -> Transformer:
    return Transformer.from_crs(target_crs, source_crs, always_xy=True)


@functools.lru_cache(maxsize=3)
def _locate_warped(target: GeoBox, source_crs: str, source: Affine) -> Positions:
    transformer = _transformer(crs_of(target).to_wkt(), source_crs)
    inverse = ~source

    def exactly(x: AnyArray, y: AnyArray) -> tuple[Float64Array, Float64Array]:
        col, row = inverse @ transformer.transform(x, y)
        return row, col

    affine = target.affine
    row0, col0 = origin_px(target)
    y_nodes, y_cell, y_share = _nodes(row0, target.height)
    x_nodes, x_cell, x_share = _nodes(col0, target.width)
    x_axis = np.asarray(affine.c + (x_nodes - col0 + 0.5) * affine.a, np.float64)
    y_axis = np.asarray(affine.f + (y_nodes - row0 + 0.5) * affine.e, np.float64)
    # Twice as dense as the lattice: nodes, and between them the points that tell the error.
    on_rows, on_cols = exactly(*np.meshgrid(_with_middles(x_axis), _with_middles(y_axis)))
    rows = _between(on_rows[::2, ::2], y_cell, y_share, x_cell, x_share)
    cols = _between(on_cols[::2, ::2], y_cell, y_share, x_cell, x_share)
    curved = np.maximum(_cell_error(on_rows), _cell_error(on_cols)) >= _MARGIN_PX / 4
    doubtful = _near_edge(rows)
    doubtful |= _near_edge(cols)
    if curved.any():
        doubtful |= curved[y_cell][:, x_cell]
    y, x = np.nonzero(doubtful)
    x_all, y_all = _centres(target)
    rows[doubtful], cols[doubtful] = exactly(x_all[x], y_all[y])
    rows.flags.writeable = cols.flags.writeable = False
    return Positions(rows=rows, cols=cols)


def _nodes(first: int, size: int) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Return absolute node positions, each pixel's cell among them, and its share of the cell."""
    start = math.floor(first / _NODE_PX) * _NODE_PX
    pixels = np.arange(first, first + size, dtype=np.int64)
    cell = (pixels - start) // _NODE_PX
    nodes = start + np.arange(int(cell[-1]) + 2, dtype=np.int64) * _NODE_PX
    return nodes, cell, (pixels - nodes[cell]) / _NODE_PX


def _with_middles(axis: Float64Array) -> Float64Array:
    dense = np.repeat(axis, 2)[:-1]
    dense[1::2] = (axis[:-1] + axis[1:]) / 2
    return dense


def _between(
    nodes: Float64Array,
    y_cell: Int64Array,
    y_share: Float64Array,
    x_cell: Int64Array,
    x_share: Float64Array,
) -> Float64Array:
    across = nodes[:, x_cell] + (nodes[:, x_cell + 1] - nodes[:, x_cell]) * x_share
    above, between = across[y_cell], across[y_cell + 1]
    between -= above  # in place: fresh memory costs more than the sums
    between *= y_share[:, None]
    between += above
    return between


def _near_edge(positions: Float64Array) -> BoolArray:
    """Return where a position lies within the margin of a pixel's edge."""
    distance = np.rint(positions)
    distance -= positions
    np.abs(distance, out=distance)
    near: BoolArray = distance < _MARGIN_PX
    return near


def _cell_error(dense: Float64Array) -> Float64Array:
    """Return (cell row, cell col): the largest error of interpolating nodes inside a cell.

    Looked at in the cell's middle and the middles of its sides: conformal maps have none in the
    middle.
    """
    nodes = dense[::2, ::2]
    across = np.abs(dense[::2, 1::2] - (nodes[:, :-1] + nodes[:, 1:]) / 2)
    down = np.abs(dense[1::2, ::2] - (nodes[:-1] + nodes[1:]) / 2)
    corners = nodes[:-1, :-1] + nodes[:-1, 1:] + nodes[1:, :-1] + nodes[1:, 1:]
    middle = np.abs(dense[1::2, 1::2] - corners / 4)
    sides = np.maximum(np.maximum(across[:-1], across[1:]), np.maximum(down[:, :-1], down[:, 1:]))
    error: Float64Array = np.maximum(middle, sides)
    return np.where(np.isfinite(error), error, np.inf)


def source_window(
    positions: Positions, shape: tuple[int, int], *, margin: int
) -> tuple[slice, slice] | None:
    """Return the rows and columns of a source of ``shape`` that positions touch, or None."""
    spans = []
    for values, size in ((positions.rows, shape[0]), (positions.cols, shape[1])):
        first = max(math.floor(values.min()) - margin, 0)
        last = min(math.floor(values.max()) + 1 + margin, size)
        if first >= last:
            return None
        spans.append(slice(first, last))
    return spans[0], spans[1]


def take_nearest(
    pixels: AnyArray, positions: Positions, corner: tuple[int, int], fill: float
) -> AnyArray:
    """Return the pixel that holds each position; ``fill`` outside.

    ``pixels`` is a part of the source whose first pixel is ``corner``.
    """
    height, width = pixels.shape
    rows = np.floor(positions.rows).astype(np.int32) - np.int32(corner[0])
    cols = np.floor(positions.cols).astype(np.int32) - np.int32(corner[1])
    inside = _all_within(rows, height) and _all_within(cols, width)
    if inside and rows.shape[1] == cols.shape[0] == 1:
        taken: AnyArray = pixels[_as_slice(rows[:, 0])][:, _as_slice(cols[0])]
        return taken
    if inside:
        rows = rows * np.int32(width) if height * width < _INT32 else rows.astype(np.int64) * width
        return np.take(pixels, rows + cols, mode="clip")
    held = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    rows, cols = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
    return np.where(held, pixels[rows, cols], np.asarray(fill, pixels.dtype))


def _all_within(index: AnyArray, size: int) -> bool:
    return bool(index.size == 0 or (index.min() >= 0 and index.max() < size))


def _as_slice(index: AnyArray) -> AnyArray | slice:
    """Return an index that runs on by one as a slice, so that nothing is copied."""
    if index.size > 0 and bool((np.diff(index) == 1).all()):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def take_bilinear(
    pixels: Float32Array, positions: Positions, corner: tuple[int, int]
) -> Float32Array:
    """Return values between pixel centres, linearly; NaN where the pixel that holds one is NaN.

    Missing neighbours are left out, so that a raster keeps its rim; on an aligned grid the pixels
    come back as they are.
    """
    padded = np.pad(pixels, 1, constant_values=np.nan)
    rows, row_share = _split(positions.rows, corner[0], padded.shape[0])
    cols, col_share = _split(positions.cols, corner[1], padded.shape[1])
    if rows.shape[1] == cols.shape[0] == 1:
        before, after = padded[:, cols[0]], padded[:, cols[0] + 1]
        line = _mix(before, after, col_share)
        mixed = _mix(line[rows[:, 0]], line[rows[:, 0] + 1], row_share)
    else:
        width = padded.shape[1]
        first = rows * width + cols
        upper = _mix(np.take(padded, first), np.take(padded, first + 1), col_share)
        first += width
        lower = _mix(np.take(padded, first), np.take(padded, first + 1), col_share)
        mixed = _mix(upper, lower, row_share)
    holding = take_nearest(pixels, positions, corner, np.nan)
    return np.where(np.isnan(holding), np.float32(np.nan), mixed)


def _split(positions: Float64Array, corner: int, size: int) -> tuple[Int64Array, Float32Array]:
    """Return the padded index of the neighbour before each position, and the next one's share."""
    centred = positions - 0.5
    before = np.floor(centred)
    share = (centred - before).astype(np.float32)
    return np.clip(before.astype(np.int64) - corner + 1, 0, size - 2), share


def _mix(before: Float32Array, after: Float32Array, share: Float32Array) -> Float32Array:
    mixed: Float32Array = after - before
    mixed *= share
    mixed += before
    missing = np.isnan(mixed)
    if missing.any():
        alone = np.where(np.isnan(before), after, before)
        np.copyto(mixed, alone, where=missing)
    return mixed
