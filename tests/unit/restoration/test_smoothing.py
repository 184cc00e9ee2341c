"""Local means: of what, how far, and how they fade."""

import numpy as np
import pytest

from cloudfree.restoration.smoothing import gaussian, local_mean, reach_px

SCALES = (1, 4, 16)
FADE = 5e-4


def mean(values: np.ndarray, where: np.ndarray, fade: float = FADE) -> np.ndarray:
    return local_mean(
        values.astype(np.float32), where, origin=(-37, 1003), scales=SCALES, fade=fade
    )


def test_a_constant_field_gives_the_constant_near_known_pixels() -> None:
    rng = np.random.default_rng(1)
    where = rng.random((90, 130)) < 0.3
    values = np.stack([np.full((90, 130), 700.0), np.full((90, 130), -40.0)])
    found = mean(values, where)
    np.testing.assert_allclose(found, values, rtol=1e-2)


def test_what_is_not_known_does_not_count() -> None:
    rng = np.random.default_rng(2)
    where = np.zeros((60, 80), bool)
    where[:, :33] = True
    values = rng.normal(size=(1, 60, 80)).astype(np.float32)
    hidden = np.where(where, values, np.nan)
    np.testing.assert_array_equal(mean(values, where), mean(hidden, where))


def test_beyond_its_reach_the_mean_is_0() -> None:
    where = np.zeros((300, 340), bool)
    where[140, 160] = True
    found = mean(np.full((1, 300, 340), 900.0), where)[0]
    y, x = np.mgrid[:300, :340]
    distance = np.maximum(abs(y - 140), abs(x - 160))
    assert found[140, 160] > 800
    assert (found[distance > reach_px(SCALES)] == 0).all()
    assert (found[distance < reach_px(SCALES) - 40] > 0).all()


def test_the_mean_fades_with_the_distance() -> None:
    where = np.zeros((40, 280), bool)
    where[:, :20] = True
    line = mean(np.full((1, 40, 280), 500.0), where)[0, 20]
    assert line[21] > 490
    assert (np.diff(line[20:150]) <= 1e-3).all()
    assert line[160] == 0


def test_near_a_known_pixel_its_own_value_rules() -> None:
    where = np.ones((64, 96), bool)
    where[:, 40:56] = False
    values = np.where(np.arange(96) < 48, 100.0, 300.0) * np.ones((1, 64, 1))
    line = mean(values, where)[0, 30]
    assert line[41] == pytest.approx(100, abs=20)
    assert line[54] == pytest.approx(300, abs=20)
    assert 150 < line[47] < 250


def test_with_nothing_known_the_mean_is_0() -> None:
    values = np.full((2, 30, 50), 77.0)
    np.testing.assert_array_equal(mean(values, np.zeros((30, 50), bool)), 0 * values)


def test_a_gaussian_keeps_a_constant_and_smooths_windows_one_by_one() -> None:
    rng = np.random.default_rng(3)
    stack = rng.normal(size=(3, 20, 31)).astype(np.float32)
    together = gaussian(stack, 2.0)
    for index in range(3):
        np.testing.assert_array_equal(together[index], gaussian(stack[index], 2.0))
    np.testing.assert_allclose(gaussian(np.full((9, 14), 5.0), 2.0), 5.0, rtol=1e-6)
    assert together.std() < stack.std() / 2
