"""Seen pixels under clouds of elsewhere: what they look like then, and what stays as it is."""

import numpy as np

from cloudfree.core.types import Masks
from cloudfree.pixels.observation import Observation
from cloudfree.walk.hiding import borrow_cloud, draw_over, move_cloud

SHAPE = (48, 64)


def observe(made: np.ndarray, seed: int) -> Observation:
    rng = np.random.default_rng(seed)
    ground = rng.integers(500, 1500, (3, *SHAPE))
    return Observation(
        reflectance=np.where(made, 7000, ground).astype(np.uint16),
        masks=Masks(seen=~made, made=made),
        decibel=np.full((1, *SHAPE), -12, np.float32),
        optical_scene=np.ones(SHAPE, np.uint16),
        radar_scene=np.ones(SHAPE, np.uint16),
    )


def test_a_moved_cloud_hides_or_shows_the_other_ground() -> None:
    ground = np.full((3, 60, 250), 800, np.float32)
    other = np.full_like(ground, 1500)
    clouded = ground.copy()
    clouded[..., 50:100] = 6000  # opaque
    clouded[..., 100:150] = 1800  # half of its light from cloud
    clouded[..., 200:] = 400  # shadow
    moved = move_cloud(clouded, ground, other)
    np.testing.assert_allclose(
        moved[:, 30, [25, 75, 125, 175, 225]].T,
        [[1500] * 3, [6000] * 3, [1800 + 0.5 * 700] * 3, [1500] * 3, [750] * 3],
        atol=1,
    )


def test_ground_below_a_cloud_that_is_not_there_stays_behind() -> None:
    """A mask is wider than its cloud: the ground that is seen at its rim does not move along."""
    rng = np.random.default_rng(6)
    ground = np.full((3, 60, 80), 1000, np.float32)
    other = np.full_like(ground, 1500)
    field = rng.normal(0, 100, (1, 60, 80)).astype(np.float32)
    moved = move_cloud(ground + field, ground, other)
    assert np.std(moved) < 0.3 * np.std(field)


def test_a_borrowed_cloud_hides_seen_pixels_alone() -> None:
    own, theirs = np.zeros((2, *SHAPE), bool)
    own[:10] = True
    theirs[:, 50:] = True
    truth, other = observe(own, 1), observe(theirs, 2)
    hidden, clouded = borrow_cloud(truth, other, (-1,), (7, 11))
    expected = np.zeros(SHAPE, bool)
    expected[10:, :14] = True
    np.testing.assert_array_equal(hidden, expected)
    np.testing.assert_array_equal(clouded.masks.seen, ~own & ~expected)
    np.testing.assert_array_equal(clouded.masks.made, own | expected)
    np.testing.assert_array_equal(clouded.reflectance[:, ~hidden], truth.reflectance[:, ~hidden])
    assert (clouded.reflectance[:, hidden] > 5000).all()


def test_a_drawn_cloud_covers_two_fifths_and_is_drawn_by_the_seed() -> None:
    truth = observe(np.zeros(SHAPE, bool), 1)
    hidden, clouded = draw_over(truth, 3)
    assert abs(hidden.mean() - 0.4) < 0.01
    assert (clouded.reflectance[:, hidden].mean(axis=0) > 2000).all()
    again, other = draw_over(truth, 3)[0], draw_over(truth, 4)[0]
    np.testing.assert_array_equal(hidden, again)
    assert (hidden != other).any()
