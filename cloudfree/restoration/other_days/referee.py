"""The referee: experts weighted by the error that they showed on hidden seen pixels."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from cloudfree.core.types import Float32Array, Float64Array, Int64Array

FOLDS = 8
"""Each fit that is judged has seven eighths of what is seen: it is nearly as good as the one that
has all."""
FEWEST_CELLS = 4
_SEED = 5
_SUM_WEIGHT = 1e3


def deal_folds(cells: Int64Array) -> tuple[Int64Array, int]:
    """Return a fold for each pixel, whole cells together, and how many folds there are."""
    names, index = np.unique(cells, return_inverse=True)
    count = min(FOLDS, len(names))
    order = np.random.default_rng(_SEED).permutation(len(names))
    folds: Int64Array = (order % max(count, 1))[index]
    return folds, count


def weigh(errors: Float32Array, cells: Int64Array) -> Float32Array:
    """Return (expert, band): weights, none negative, that sum to one and leave the least error.

    ``errors`` are (expert, band, n), ``cells`` (n,). What is common to a cell is taken off first:
    the fit at the rims of clouds mends it.
    """
    _, index = np.unique(cells, return_inverse=True)
    sizes = np.bincount(index)
    experts, bands, pixels = errors.shape
    weights = np.zeros((experts, bands), np.float32)
    for band in range(bands):
        inner = np.empty((experts, pixels))
        for expert in range(experts):
            error = errors[expert, band].astype(np.float64)
            inner[expert] = error - (np.bincount(index, error) / sizes)[index]
        weights[:, band] = _least_squares(inner)
    return weights


def _least_squares(errors: Float64Array) -> Float64Array:
    """Return (expert,) the weights of errors (expert, n) whose weighted sum is least."""
    product = np.array([[np.mean(one * other) for other in errors] for one in errors])
    scale = max(float(np.diag(product).min()), 1e-6)
    values, vectors = np.linalg.eigh(product / scale)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    rows = np.concatenate([root, np.full((1, len(errors)), _SUM_WEIGHT)])
    found, _ = nnls(rows, np.append(np.zeros(len(root)), _SUM_WEIGHT))
    weights: Float64Array = found / found.sum()
    return weights
