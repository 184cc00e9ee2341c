"""Counts over pixels: right, and the same however they are cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cloudfree.product.pixel_counts import (
    BINS,
    SEAM_REACH,
    PixelCounts,
    count_chunk,
    count_pixels,
    sample,
)
from cloudfree.product.store import write_chunk
from cloudfree.storage.outputs import open_storage
from tests.cubes import (
    HEIGHT,
    WIDTH,
    fill_of_other_days,
    make_cube_of_other_days,
    make_grid,
    stored,
)

WHOLE = (slice(None), slice(None))


def picture(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return source codes in blobs, with specks and holes, and two bands."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    source = np.where(np.sin(y / 5) + np.cos(x / 7) > 0.2, 1, 2).astype(np.uint8)
    source[(source == 2) & (np.sin(x / 3) > 0)] = 4
    rough = rng.random(shape)
    source[rough < 0.03] = 0
    source[rough > 0.98] = 3
    return source, rng.integers(1, 12_000, (2, *shape)).astype(np.uint16)


def same(one: PixelCounts, other: PixelCounts) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("pixels", "references", "histogram", "seam_steps", "seam_pairs")
    )


def test_a_histogram_counts_each_kind_for_itself() -> None:
    source = np.array([[1, 1, 2, 0, 3, 4]], np.uint8)
    numbers = np.array([[[0, 49, 50, 50, 50, 120]], [[99, 100, 65535, 7, 7, 9]]], np.uint16)
    tally = count_pixels(source, numbers, WHOLE)
    assert tally.pixels.tolist() == [1, 2, 1, 1, 1]
    seen, made = tally.histogram
    assert np.flatnonzero(seen[0]).tolist() == [0]
    assert seen[0, 0] == 2
    assert np.flatnonzero(seen[1]).tolist() == [1, 2]
    assert np.flatnonzero(made[0]).tolist() == [1, 2]  # both kinds
    assert np.flatnonzero(made[1]).tolist() == [0, BINS - 1]


def test_the_profile_of_a_seam_with_a_known_answer() -> None:
    # one row: twelve seen pixels that rise by 3, a jump of 100, twelve made ones that rise by 7
    row = np.concatenate([1000 + 3 * np.arange(12), 1133 + 7 * np.arange(12)])
    source = np.array([[1] * 12 + [4] * 3 + [2] * 9], np.uint8)  # both kinds are made
    tally = count_pixels(source, np.stack([row, 2 * row])[:, None].astype(np.uint16), WHOLE)
    assert tally.seam_pairs.tolist() == [1] * (2 * SEAM_REACH + 1)
    expected = [9] * SEAM_REACH + [300] + [21] * SEAM_REACH
    assert tally.seam_steps.tolist() == expected
    turned = count_pixels(source.T, np.stack([row, 2 * row])[:, :, None].astype(np.uint16), WHOLE)
    assert same(tally, turned)


def test_a_seam_ends_where_its_kind_does() -> None:
    source = np.array([[1, 1, 0, 1, 1, 2, 2, 1]], np.uint8)
    row = np.array([[[1, 2, 4, 8, 16, 32, 64, 128]]], np.uint16)
    tally = count_pixels(source, row, WHOLE)
    middle = SEAM_REACH
    # from the left: 8-16 | 16-32 | 32-64; from the right: nothing | 128-64 | 64-32
    assert tally.seam_pairs[middle - 2 : middle + 3].tolist() == [0, 1, 2, 2, 0]
    assert tally.seam_steps[middle - 2 : middle + 3].tolist() == [0, 8, 16 + 64, 32 + 32, 0]


def profile_by_loops(source: np.ndarray, numbers: np.ndarray) -> tuple[list[int], list[int]]:
    """Return steps and pairs, pixel by pixel."""
    steps, pairs = [0] * (2 * SEAM_REACH + 1), [0] * (2 * SEAM_REACH + 1)
    lines = [(source[i], numbers[:, i]) for i in range(source.shape[0])]
    lines += [(source[:, i], numbers[:, :, i]) for i in range(source.shape[1])]
    for codes, values in [*lines, *((c[::-1], v[:, ::-1]) for c, v in lines)]:
        for at in range(len(codes) - 1):
            if codes[at] != 1 or codes[at + 1] not in (2, 4):
                continue
            left = [at]
            while len(left) <= SEAM_REACH and left[-1] > 0 and codes[left[-1] - 1] == 1:
                left.append(left[-1] - 1)
            right = [at + 1]
            while (
                len(right) <= SEAM_REACH
                and right[-1] + 1 < len(codes)
                and codes[right[-1] + 1] in (2, 4)
            ):
                right.append(right[-1] + 1)
            found = [(0, at, at + 1)]
            found += [(-1 - k, *pair) for k, pair in enumerate(pairwise(left))]
            found += [(1 + k, *pair) for k, pair in enumerate(pairwise(right))]
            for distance, one, other in found:
                difference = values[:, one].astype(int) - values[:, other].astype(int)
                steps[SEAM_REACH + distance] += int(np.abs(difference).sum())
                pairs[SEAM_REACH + distance] += 1
    return steps, pairs


def test_the_profile_is_what_loops_find() -> None:
    source, numbers = picture(5, (37, 53))
    tally = count_pixels(source, numbers, WHOLE)
    steps, pairs = profile_by_loops(source, numbers)
    assert min(pairs) > 0
    assert tally.seam_steps.tolist() == steps
    assert tally.seam_pairs.tolist() == pairs


@pytest.mark.parametrize("side", [7, 16, 40])
def test_any_cutting_gives_the_same_tally(side: int) -> None:
    shape, margin = (61, 83), SEAM_REACH + 1
    source, numbers = picture(7, shape)
    whole = count_pixels(source, numbers, WHOLE)
    cut = PixelCounts.empty(2, 0)
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            y, x = max(top - margin, 0), max(left - margin, 0)
            part = np.s_[y : top + side + margin, x : left + side + margin]
            core = (slice(top - y, top - y + side), slice(left - x, left - x + side))
            cut += count_pixels(source[part], numbers[:, *part], core)
    assert same(cut, whole)


@pytest.mark.parametrize("side", [256, 512])
def test_references_are_counted_by_scene(tmp_path: Path, side: int) -> None:
    plan = replace(make_grid(), chunk_px=side)
    cube = make_cube_of_other_days(tmp_path, plan)
    total = PixelCounts.empty(2, 4)
    for seed, chunk in enumerate(plan.chunks()):
        write_chunk(open_storage(tmp_path), 1, chunk, fill_of_other_days(chunk, seed, 3))
    for chunk in plan.chunks():
        total += count_chunk(
            open_storage(tmp_path), 1, chunk,
            bands=(0, 2), whole=(HEIGHT, WIDTH), small=(57, 121), references=4,
        ).counts  # fmt: skip
    scenes, source = (stored(cube, name)[1] for name in ("reference_scene", "source"))
    assert total.references.tolist() == [int((scenes == n).sum()) for n in (1, 2, 3, 4)]
    assert total.references[3] == 0  # a scene that nothing was made of
    assert total.references.sum() == total.pixels[4] == (source == 4).sum()


@pytest.mark.parametrize(("size", "small"), [(1000, 300), (7, 7), (4097, 900), (5, 1)])
def test_a_sample_takes_the_middle_of_each_part(size: int, small: int) -> None:
    taken = sample(size, small)
    assert len(taken) == small
    assert taken[0] == size // (2 * small)
    assert taken[-1] < size
    assert (np.diff(taken) >= 1).all()
