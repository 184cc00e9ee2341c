"""Experts: each one way to estimate a pixel from its evidence, learnt from the scene's seen pixels.

The simplest two learn nothing: the closest observation and the line in time. The others say what
the line misses, as a sum of weighted features, by ridge regression, so that shrinking weights
leaves the line. Features are the evidence itself, in two layouts, and for the networks a hidden
layer over it whose weights are drawn once and never trained (Huang et al. 2006; Rahimi and Recht
2008): such a fit has one answer, found in one step, and the answers of fits without some cells come
almost for free (``learn``), which is what the referee needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from cloudfree.core.types import AnyArray, Float32Array, Float64Array, Int64Array
from cloudfree.restoration.other_days.evidence import OBSERVATIONS, Evidence

BLOCK_PX = 4096
"""Pixels go through an expert so many at a time, the last block padded: the order of sums of a
matrix product depends on its shape."""
_CLIP = 4.0
"""Standardised inputs of a hidden layer end here; its linear path takes them as they are."""
_HIDDEN = 512
_HIDDEN_SPREAD = 0.5
_SEED = 0
Layout = Literal["rank", "date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What an expert that learns looks at, and how."""

    layout: Layout
    """``rank``: the nearest, second nearest, … before and after. ``date``: each reference, by the
    pixel's own line in time where it was not clear."""
    observations: int
    """How many before and after (``rank``)."""
    hidden: int
    """Width of the hidden layer, 0 for none."""
    penalty: float
    """Of a weight's square, in standardised features and errors."""


DESIGNS: dict[str, Design] = {
    "ridge_nearest": Design(layout="rank", observations=1, hidden=0, penalty=1e-3),
    "ridge_rank": Design(layout="rank", observations=OBSERVATIONS, hidden=0, penalty=3e-3),
    "ridge_date": Design(layout="date", observations=OBSERVATIONS, hidden=0, penalty=3e-3),
    "network_rank": Design(layout="rank", observations=OBSERVATIONS, hidden=_HIDDEN, penalty=3e-3),
    "network_date": Design(layout="date", observations=OBSERVATIONS, hidden=_HIDDEN, penalty=3e-3),
}
DOUBT = Design(layout="rank", observations=OBSERVATIONS, hidden=_HIDDEN, penalty=1e-2)
"""Of the expert on the error of the others."""
EXPERTS = ("closest", "line", *DESIGNS)
"""In the order of a fit's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What an expert learnt of a scene."""

    middle: Float32Array
    """(feature,) means of the features."""
    spread: Float32Array
    """(feature,) their standard deviations, 1 where a feature is constant."""
    hidden: Float32Array
    """(feature + 1, width): weights of the hidden layer, then its constants."""
    weights: Float32Array
    """(1 + feature + width, band): constant, linear path and hidden layer, to reflectance
    numbers."""


def lay_out(design: Design, evidence: Evidence) -> Float32Array:
    """Return (n, feature): the line, what each observation differs from it, and which are there."""
    if design.layout == "rank":
        numbers, present = evidence.by_rank(design.observations)
    else:
        numbers, present = evidence.numbers, evidence.used
    differs = (numbers - evidence.line).reshape(-1, evidence.line.shape[1])
    return np.concatenate([evidence.line, differs, present]).T.astype(np.float32)


def learn(
    design: Design, features: Float32Array, missed: Float64Array, folds: Int64Array, count: int
) -> tuple[Learnt, Float32Array]:
    """Return what is learnt of all rows, and (n, band) what rows get from fits without their fold.

    ``features`` are (n, feature), ``missed`` (n, band) what the line misses, ``folds`` (n,) numbers
    below ``count``. The normal equations of the rows outside a fold are those of all less its own.
    """
    middle, deviation = _describe(features)
    scale = np.maximum(missed.std(axis=0), 1.0)
    start = Learnt(
        middle=middle,
        spread=np.where(deviation > 1e-3, deviation, 1).astype(np.float32),
        hidden=_draw_hidden(features.shape[1], design.hidden),
        weights=np.zeros((0, missed.shape[1]), np.float32),
    )
    parts = [_normal_equations(start, features, missed / scale, folds == f) for f in range(count)]
    penalty = torch.full((len(parts[0][0]),), design.penalty, dtype=torch.float64)
    penalty[0] = 0
    left, right = (torch.stack(sums).sum(dim=0) for sums in zip(*parts, strict=True))
    held_out = np.zeros(missed.shape, np.float32)
    for fold in range(count):
        rows = np.flatnonzero(folds == fold)
        others = len(folds) - len(rows)
        if len(rows) and others:
            solved = _solve(left - parts[fold][0], right - parts[fold][1], others, penalty)
            held_out[rows] = estimate(_finish(start, solved, scale), features[rows])
    return _finish(start, _solve(left, right, len(folds), penalty), scale), held_out


def estimate(learnt: Learnt, features: Float32Array) -> Float32Array:
    """Return (n, band): what the line misses at pixels with these features (n, feature)."""
    weights = torch.from_numpy(learnt.weights)
    parts = [(rows @ weights)[:used].numpy() for rows, used in _expand(learnt, features)]
    return np.concatenate(parts) if parts else np.zeros((0, learnt.weights.shape[1]), np.float32)


def _describe(features: Float32Array) -> tuple[Float32Array, Float32Array]:
    middle = features.mean(axis=0, dtype=np.float64)
    return middle.astype(np.float32), features.std(axis=0, dtype=np.float64).astype(np.float32)


def _draw_hidden(features: int, width: int) -> Float32Array:
    """Return weights of the hidden layer, such that a sum over features has unit variance."""
    drawn = np.random.default_rng(_SEED).normal(size=(features + 1, width)) * _HIDDEN_SPREAD
    drawn[:-1] /= np.sqrt(features)
    return drawn.astype(np.float32)


def _expand(learnt: Learnt, features: Float32Array) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield blocks of (BLOCK_PX, 1 + feature + width), and how many of their rows are real."""
    hidden, constants = torch.from_numpy(learnt.hidden[:-1]), torch.from_numpy(learnt.hidden[-1])
    for start in range(0, len(features), BLOCK_PX):
        part = features[start : start + BLOCK_PX]
        block = np.zeros((BLOCK_PX, features.shape[1]), np.float32)
        block[: len(part)] = (part - learnt.middle) / learnt.spread
        linear = torch.from_numpy(block)
        active = torch.relu(linear.clip(-_CLIP, _CLIP) @ hidden + constants)
        yield torch.cat([torch.ones((BLOCK_PX, 1)), linear, active], dim=1), len(part)


def _normal_equations(
    learnt: Learnt, features: Float32Array, missed: Float64Array, where: AnyArray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of products of expanded features, and with what the line misses there."""
    size = 1 + features.shape[1] + learnt.hidden.shape[1]
    left = torch.zeros((size, size), dtype=torch.float64)
    right = torch.zeros((size, missed.shape[1]), dtype=torch.float64)
    asked = torch.from_numpy(missed[where].astype(np.float32))
    done = 0
    for block, used in _expand(learnt, features[where]):
        rows = block[:used]
        left += rows.T @ rows
        right += rows.T @ asked[done : done + used]
        done += used
    return left, right


def _solve(
    left: torch.Tensor, right: torch.Tensor, rows: int, penalty: torch.Tensor
) -> torch.Tensor:
    solved: torch.Tensor = torch.linalg.solve(left / rows + torch.diag(penalty), right / rows)
    return solved


def _finish(start: Learnt, solved: torch.Tensor, scale: Float64Array) -> Learnt:
    return Learnt(
        middle=start.middle,
        spread=start.spread,
        hidden=start.hidden,
        weights=(solved.numpy() * scale).astype(np.float32),
    )
