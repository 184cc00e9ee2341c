"""Evidence, harmonising, vetoes, folds and weights, each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from cloudfree.restoration.other_days.evidence import gather, keep_nearest
from cloudfree.restoration.other_days.harmonise import FEWEST_PIXELS, harmonise
from cloudfree.restoration.other_days.referee import FOLDS, deal_folds, weigh
from cloudfree.restoration.other_days.vetoes import measure_limits

DAYS = np.array([-30, -10, -4, 6, 20])
RNG = np.random.default_rng(12)


def test_only_the_nearest_on_either_side_are_kept() -> None:
    clear = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
    kept = keep_nearest(clear, DAYS, 2)
    expected = np.array([[0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
    np.testing.assert_array_equal(kept, expected)


def test_the_line_runs_through_the_days_around_the_target() -> None:
    speed = RNG.uniform(-20, 20, (3, 40))
    numbers = (2000 + speed * DAYS[:, None, None]).astype(np.float32)
    used = RNG.random((5, 40)) < 0.5
    evidence = gather(np.where(used[:, None], numbers, 9999).astype(np.float32), used, DAYS)
    before, after = used[:3].any(axis=0), used[3:].any(axis=0)
    np.testing.assert_allclose(evidence.line[:, before & after], 2000, atol=0.01)
    assert (evidence.line[:, ~before & ~after] == 0).all()
    between = used[[0, 2]].all(axis=0) & ~used[1]
    np.testing.assert_allclose(evidence.numbers[1][:, between], numbers[1][:, between], rtol=1e-5)
    alone = before & ~after
    nearest = evidence.nearest[alone]
    assert (nearest == np.where(used[2], 2, np.where(used[1], 1, 0))[alone]).all()
    np.testing.assert_array_equal(
        evidence.line[:, alone], numbers[nearest, :, np.flatnonzero(alone)].T
    )
    np.testing.assert_array_equal(evidence.closest[:, alone], evidence.line[:, alone])


def test_observations_by_rank_name_what_is_missing() -> None:
    numbers = np.arange(5, dtype=np.float32)[:, None, None] * 100 * np.ones((1, 2, 1), np.float32)
    used = np.array([1, 0, 1, 1, 0], bool)[:, None]
    evidence = gather(numbers, used, DAYS)
    by_rank, present = evidence.by_rank(2)
    np.testing.assert_array_equal(present[:, 0], [True, True, True, False])
    np.testing.assert_allclose(by_rank[:, 0, 0], [200, 0, 300, evidence.line[0, 0]])
    assert evidence.line[0, 0] == pytest.approx(200 + 100 * 4 / 10)


def test_gain_and_offset_are_found_in_spite_of_missed_cloud() -> None:
    target = RNG.uniform(500, 3000, (2, 4000))
    reference = (target - 120) / 1.25 + RNG.normal(0, 5, target.shape)
    reference[:, :400] = 8000
    fit = harmonise(
        np.rint(target).astype(np.uint16),
        np.ones(4000, bool),
        np.rint(reference).astype(np.uint16)[None],
        np.ones((1, 4000), bool),
    )
    np.testing.assert_allclose(np.diagonal(fit.gain[0]), 1.25, rtol=0.02)
    np.testing.assert_allclose(fit.offset[0], 120, atol=40)


def test_with_few_pixels_in_both_a_reference_keeps_its_numbers() -> None:
    target = RNG.integers(500, 3000, (3, 1000)).astype(np.uint16)
    clear = np.zeros((2, 1000), bool)
    clear[0, : FEWEST_PIXELS - 1] = clear[1, :FEWEST_PIXELS] = True
    reference = np.stack([target, target]) // 2
    fit = harmonise(target, np.ones(1000, bool), reference, clear)
    np.testing.assert_array_equal(fit.gain[0], np.eye(3))
    np.testing.assert_array_equal(fit.offset[0], 0)
    np.testing.assert_allclose(np.diagonal(fit.gain[1]), 2, rtol=0.01)
    np.testing.assert_array_equal(fit.apply(reference)[0], reference[0])


def test_limits_grow_with_what_is_usual() -> None:
    wild = RNG.normal(2000, 400, (6, 2, 3000)).astype(np.float32)
    clear = np.ones((6, 3000), bool)
    change = RNG.normal(3, 1, (6, 1, 3000)).astype(np.float32)
    limits = measure_limits(wild, clear, change)
    np.testing.assert_allclose(limits.spike, 10 * 400 * np.sqrt(1.5), rtol=0.1)
    np.testing.assert_allclose(limits.radar_middle_db, 3, atol=0.2)
    np.testing.assert_allclose(limits.radar_db, 5, rtol=0.1)
    calm = measure_limits(np.full((6, 2, 3000), 800, np.float32), clear, np.full_like(change, 3))
    np.testing.assert_array_equal(calm.spike, 600)
    np.testing.assert_array_equal(calm.radar_db, 2)


def test_radar_that_is_not_known_forbids_nothing() -> None:
    numbers = np.full((3, 2, 500), 800, np.float32)
    unknown = np.full((3, 2, 500), np.nan, np.float32)
    limits = measure_limits(numbers, np.ones((3, 500), bool), unknown)
    assert np.isinf(limits.radar_db).all()


def test_cells_are_hidden_whole_and_folds_are_even() -> None:
    cells = RNG.integers(0, 45, 5000) * 7
    folds, count = deal_folds(cells)
    assert count == FOLDS
    per_cell = {cell: set(folds[cells == cell]) for cell in np.unique(cells)}
    assert all(len(found) == 1 for found in per_cell.values())
    sizes = np.bincount([found.pop() for found in per_cell.values()])
    assert len(sizes) == FOLDS
    assert sizes.max() - sizes.min() <= 1
    assert deal_folds(np.array([3, 3, 8]))[1] == 2


def test_weights_are_those_of_independent_errors() -> None:
    """The best shares of independent errors go as one over the variance."""
    sigmas = np.array([10.0, 20.0, 40.0])
    errors = RNG.normal(0, sigmas[:, None, None], (3, 2, 60_000)).astype(np.float32)
    weights = weigh(errors, np.arange(60_000) // 100)
    best = (1 / sigmas**2) / (1 / sigmas**2).sum()
    np.testing.assert_allclose(weights, np.tile(best[:, None], 2), atol=0.02)


def test_what_is_common_to_a_cell_does_not_count() -> None:
    cells = np.arange(20_000) // 100
    common = RNG.normal(0, 300, 200)[cells]
    fine = RNG.normal(0, 20, 20_000)
    errors = np.stack([common, fine])[:, None].astype(np.float32)
    weights = weigh(errors, cells)
    assert weights[0, 0] > 0.99
