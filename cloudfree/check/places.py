"""Where the self-check hides pixels: places that were seen, and whose cloud is laid there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.config import CHECK_PX, MIRRORS
from cloudfree.core.types import BoolArray, Float64Array

_WELL_SEEN = 0.25
"""Places where more is seen are taken first, in drawn order."""
_CLOUDY = (0.01, 0.9)
"""Hidden share of a place that clouds are taken from. The more there is, the oftener it is taken:
the clouds are those that most hidden pixels of the product lie under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where pixels are hidden, and under which cloud."""

    step: int
    """Index of the step."""
    at: tuple[int, int]
    """Row and column of the place, in places."""
    cloud_from: tuple[int, int] | None
    """Row and column of the place whose cloud is laid over it; None for a drawn cloud."""
    mirror: int
    """How that cloud is mirrored first."""
    seed: int
    """Of a drawn cloud, and of the sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """How much of each place a step shows."""

    seen: Float64Array
    """(row, col) of places: pixels of the area that were seen, as a share of a whole place."""
    hidden: Float64Array
    """(row, col): hidden share of the pixels that exist."""


def count_blocks(seen: BoolArray, hidden: BoolArray, shape: tuple[int, int]) -> Blocks:
    """Return the shares of places of a product of ``shape``, of masks (y, x) in larger pixels."""
    rows, cols = (-(-side // CHECK_PX) for side in shape)
    scale = [side / pixels for side, pixels in zip(shape, seen.shape, strict=True)]
    y = ((np.arange(seen.shape[0]) + 0.5) * scale[0]).astype(int) // CHECK_PX
    x = ((np.arange(seen.shape[1]) + 0.5) * scale[1]).astype(int) // CHECK_PX
    index = (y[:, None] * cols + x[None, :]).ravel()

    def count(mask: BoolArray) -> Float64Array:
        pixels = np.bincount(index[mask.ravel()], minlength=rows * cols).reshape(rows, cols)
        return np.asarray(pixels * (scale[0] * scale[1] / CHECK_PX**2))

    seen_share, hidden_share = count(seen), count(hidden)
    return Blocks(
        seen=seen_share, hidden=hidden_share / np.maximum(seen_share + hidden_share, 1e-9)
    )


def choose_places(blocks: dict[int, Blocks], number: int, seed: int) -> list[Place]:
    """Return at most ``number`` places, spread over steps (keys) and the area, drawn by ``seed``.

    Where there are too few, a place is used up to three times, under a cloud mirrored otherwise.
    """
    rng = np.random.default_rng(seed)
    queues = {step: _rank(one, rng) for step, one in blocks.items()}
    chosen: list[Place] = []
    for mirror in range(len(MIRRORS)):
        for nth in range(max(map(len, queues.values()), default=0)):
            for step, queue in queues.items():
                if nth < len(queue) and len(chosen) < number:
                    place = Place(
                        step=step,
                        at=queue[nth],
                        cloud_from=_draw_cloudy(blocks[step], rng),
                        mirror=mirror,
                        seed=int(rng.integers(2**31)),
                    )
                    chosen.append(place)
    return chosen


def _draw_cloudy(blocks: Blocks, rng: np.random.Generator) -> tuple[int, int] | None:
    """Return a place with cloud to take; None where there is none."""
    low, high = _CLOUDY
    weight = np.where((blocks.hidden >= low) & (blocks.hidden <= high), blocks.hidden, 0).ravel()
    if not weight.any():
        return None
    row, col = np.unravel_index(
        rng.choice(weight.size, p=weight / weight.sum()), blocks.hidden.shape
    )
    return int(row), int(col)


def _rank(blocks: Blocks, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return the places where something was seen: those well seen in drawn order, then the rest."""
    at = [(int(row), int(col)) for row, col in np.argwhere(blocks.seen > 0)]
    order = rng.permutation(len(at))
    return sorted(
        (at[i] for i in order), key=lambda place: -min(float(blocks.seen[place]), _WELL_SEEN)
    )
