"""Experts: each one way to estimate a pixel from its evidence, learnt from the scene's seen pixels.

The simplest two learn nothing: the closest observation and the line in time. The others say what
the line misses, as a sum of weighted features, by ridge regression, so that shrinking weights
leaves the line. Features are the evidence itself, in two layouts, and for the networks a hidden
layer over it whose weights are drawn once and never trained (Huang et al. 2006; Rahimi and Recht
2008): such a fit has one answer, found in one step, and the answers of fits without some cells come
almost for free (``learn``), which is what the referee needs. The experts of a layout share its
features, hidden layer and normal equations: each solves those of the features that it looks at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch

from cloudfree.core.types import BoolArray, Float32Array, Float64Array, Int64Array
from cloudfree.restoration.other_days.evidence import OBSERVATIONS, Evidence

STEP_PX = 512
"""Pixels go through a layout so many at a time, which a core's cache holds. The order of sums of a
matrix product depends on its shape: where bits count, pixels come in whole steps."""
_CLIP = 4.0
"""Standardised inputs of a hidden layer end here; its linear path takes them as they are."""
_HIDDEN = 512
_HIDDEN_SPREAD = 0.5
_SEED = 0
Layout = Literal["rank", "date"]
"""``rank``: the nearest, second nearest, … before and after. ``date``: each reference, by the
pixel's own line in time where it was not clear."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What an expert that learns looks at, and how."""

    layout: Layout
    """Of its features."""
    observations: int
    """How many before and after (``rank``)."""
    hidden: bool
    """Whether it looks at the hidden layer."""
    penalty: float
    """Of a weight's square, in standardised features and errors."""


DESIGNS: dict[str, Design] = {  # a layout's stand together, in the order of LAYOUTS
    "ridge_nearest": Design(layout="rank", observations=1, hidden=False, penalty=1e-3),
    "ridge_rank": Design(layout="rank", observations=OBSERVATIONS, hidden=False, penalty=3e-3),
    "network_rank": Design(layout="rank", observations=OBSERVATIONS, hidden=True, penalty=3e-3),
    "ridge_date": Design(layout="date", observations=OBSERVATIONS, hidden=False, penalty=3e-3),
    "network_date": Design(layout="date", observations=OBSERVATIONS, hidden=True, penalty=3e-3),
}
DOUBT = Design(layout="rank", observations=OBSERVATIONS, hidden=True, penalty=1e-2)
"""Of the expert on the error of the others."""
EXPERTS = ("closest", "line", *DESIGNS)
"""In the order of a fit's weights."""


def find_experts(layout: Layout) -> dict[str, Design]:
    """Return those that learn in a layout."""
    return {name: design for name, design in DESIGNS.items() if design.layout == layout}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What was learnt of a scene in a layout."""

    middle: Float32Array
    """(feature,) means of the features."""
    spread: Float32Array
    """(feature,) their standard deviations, 1 where a feature is constant."""
    hidden: Float32Array
    """(width, feature + 1): weights of the hidden layer, then its constants."""
    weights: Float32Array
    """(answer, 1 + feature + width): constant, linear path and hidden layer of each answer."""


def lay_out(layout: Layout, evidence: Evidence) -> Float32Array:
    """Return (feature, n): the line, what each observation differs from it, and which are there."""
    if layout == "rank":
        numbers, present = evidence.by_rank(OBSERVATIONS)
    else:
        numbers, present = evidence.numbers, evidence.used
    differs = (numbers - evidence.line).reshape(-1, evidence.line.shape[1])
    return np.concatenate([evidence.line, differs, present], dtype=np.float32)


def learn(
    layout: Layout, features: Float32Array, missed: Float64Array, folds: Int64Array, count: int
) -> tuple[Learnt, Float32Array]:
    """Return what is learnt of all pixels, and what they get from fits without their fold.

    ``features`` are (feature, n), ``missed`` (band, n) what the line misses, ``folds`` (n,) numbers
    below ``count``. Answers are each expert's bands, (expert x band, n) of what is held out. The
    normal equations of the pixels outside a fold are those of all less its own.
    """
    designs = find_experts(layout).values()
    bands = len(missed)
    scale = np.maximum(missed.std(axis=1), 1.0)
    middle, deviation = _describe(features)
    start = Learnt(
        middle=middle,
        spread=np.where(deviation > 1e-3, deviation, 1).astype(np.float32),
        hidden=_draw_hidden(len(features)),
        weights=np.zeros((0, 1 + len(features) + _HIDDEN), np.float32),
    )
    looks = [_find_looks(design, len(features), bands) for design in designs]

    def solve(left: torch.Tensor, right: torch.Tensor, pixels: int) -> Learnt:
        parts = [
            _solve(left / pixels, right / pixels, look, design.penalty) * scale[:, None]
            for design, look in zip(designs, looks, strict=True)
        ]
        return replace(start, weights=np.concatenate(parts, dtype=np.float32))

    relative = missed / scale[:, None]
    rows = [np.flatnonzero(folds == fold) for fold in range(count)]
    parts = [_normal_equations(start, features[:, of], relative[:, of]) for of in rows]
    left, right = (torch.stack(sums).sum(dim=0) for sums in zip(*parts, strict=True))
    held_out = np.zeros((bands * len(looks), len(folds)), np.float32)
    for of, (own_left, own_right) in zip(rows, parts, strict=True):
        others = len(folds) - len(of)
        if len(of) and others:
            learnt = solve(left - own_left, right - own_right, others)
            held_out[:, of] = estimate(learnt, features[:, of])
    return solve(left, right, len(folds)), held_out


def learn_doubt(learnt: Learnt, features: Float32Array, root: Float64Array) -> Learnt:
    """Return ``learnt`` with one more answer: the root (n,) of the error at ``features``."""
    left, right = _normal_equations(learnt, features, root[None])
    look = _find_looks(DOUBT, len(features), 1)
    row = _solve(left / len(root), right / len(root), look, DOUBT.penalty)
    return replace(learnt, weights=np.concatenate([learnt.weights, row], dtype=np.float32))


def estimate(learnt: Learnt, features: Float32Array) -> Float32Array:
    """Return (answer, n) at pixels with these features (feature, n)."""
    weights = torch.from_numpy(learnt.weights)
    answers = np.empty((len(weights), features.shape[1]), np.float32)
    for part, rows in _expand(learnt, features):
        answers[:, part] = (weights @ rows).numpy()
    return answers


def _find_looks(design: Design, features: int, bands: int) -> BoolArray:
    """Return (1 + feature + width,): what an expert looks at. See ``lay_out`` for the order."""
    slots = np.arange((features - bands) // (bands + 1))
    near = slots % OBSERVATIONS < design.observations if design.layout == "rank" else slots >= 0
    always, hidden = np.ones(1 + bands, bool), np.full(_HIDDEN, design.hidden)
    return np.concatenate([always, np.repeat(near, bands), near, hidden])


def _describe(features: Float32Array) -> tuple[Float32Array, Float32Array]:
    middle = features.mean(axis=1, dtype=np.float64)
    return middle.astype(np.float32), features.std(axis=1, dtype=np.float64).astype(np.float32)


def _draw_hidden(features: int) -> Float32Array:
    """Return weights of the hidden layer, such that a sum over features has unit variance."""
    drawn = np.random.default_rng(_SEED).normal(size=(features + 1, _HIDDEN)) * _HIDDEN_SPREAD
    drawn[:-1] /= np.sqrt(features)
    return np.ascontiguousarray(drawn.T, np.float32)


def _expand(learnt: Learnt, features: Float32Array) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield steps of pixels and their (1 + feature + width, pixel); the next overwrites it."""
    count, pixels = features.shape
    hidden = torch.from_numpy(np.ascontiguousarray(learnt.hidden[:, :-1]))
    constants = torch.from_numpy(learnt.hidden[:, -1:])
    middle, spread = learnt.middle[:, None], learnt.spread[:, None]
    for start in range(0, pixels, STEP_PX):
        part = slice(start, min(start + STEP_PX, pixels))
        linear = torch.from_numpy((features[:, part] - middle) / spread)
        rows = torch.empty((learnt.weights.shape[1], linear.shape[1]))
        rows[0] = 1
        rows[1 : 1 + count] = linear
        active = rows[1 + count :]
        torch.addmm(constants, hidden, linear.clip_(-_CLIP, _CLIP), out=active)
        active.relu_()
        yield part, rows


def _normal_equations(
    learnt: Learnt, features: Float32Array, missed: Float64Array
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of products of expanded features, and with what the line misses there."""
    size = learnt.weights.shape[1]
    left = torch.zeros((size, size), dtype=torch.float64)
    right = torch.zeros((size, len(missed)), dtype=torch.float64)
    asked = torch.from_numpy(missed.astype(np.float32))
    for part, rows in _expand(learnt, features):
        left += rows @ rows.T
        right += rows @ asked[:, part].T
    return left, right


def _solve(
    left: torch.Tensor, right: torch.Tensor, look: BoolArray, penalty: float
) -> Float64Array:
    """Return (answer, 1 + feature + width): the weights of what is looked at, 0 of the rest."""
    at = torch.from_numpy(np.flatnonzero(look))
    ridge = torch.full((len(at),), penalty, dtype=torch.float64)
    ridge[0] = 0
    weights = torch.zeros((right.shape[1], len(left)), dtype=torch.float64)
    weights[:, at] = torch.linalg.solve(left[at][:, at] + torch.diag(ridge), right[at]).T
    return weights.numpy()
