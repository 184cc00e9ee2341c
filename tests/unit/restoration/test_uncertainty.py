from __future__ import annotations

import numpy as np
import pytest

from cloudfree.restoration.uncertainty import Calibration, calibrate, distance_to_seen, judge


def test_distance_is_counted_from_the_nearest_seen_pixel_up_to_a_limit() -> None:
    seen = np.zeros((5, 9), bool)
    seen[2, 1] = True
    distance = distance_to_seen(seen, 6)
    assert distance[2, 1] == 0
    assert distance[2, 4] == 3
    assert distance[4, 1] == 2
    assert distance[2, 8] == 6
    assert distance_to_seen(np.zeros((5, 9), bool), 6).min() == 6


def test_calibration_finds_what_errors_were_made_of() -> None:
    rng = np.random.default_rng(0)
    signs = rng.random((3, 5000)).astype(np.float32) * np.array([[40], [300], [128]], np.float32)
    errors = (20 + 2.0 * signs[0] + 0.5 * signs[2]).astype(np.float32)
    found = calibrate(signs, errors + rng.normal(0, 5, 5000).astype(np.float32))
    assert found.constant == pytest.approx(20, abs=2)
    assert found.weights == pytest.approx((2.0, 0.0, 0.5), abs=0.05)
    np.testing.assert_allclose(found.expected_error(signs), errors, atol=4)


def test_no_sign_of_doubt_can_lower_the_expected_error() -> None:
    signs = np.linspace(0, 1, 100, dtype=np.float32)[None].repeat(3, 0)
    assert min(calibrate(signs, 100 - 50 * signs[0]).weights) >= 0
    assert calibrate(np.zeros((3, 10), np.float32), np.full(10, 7, np.float32)) == Calibration(
        constant=pytest.approx(7), weights=(0.0, 0.0, 0.0)
    )


@pytest.mark.parametrize(("told", "rank"), [(1.0, 0.9), (0.0, 0.0)])
def test_the_curve_judges_each_place_by_the_others(told: float, rank: float) -> None:
    rng = np.random.default_rng(1)
    signs = [rng.random((3, 2000)).astype(np.float32) * 100 for _ in range(4)]
    noise = [rng.random(2000).astype(np.float32) * 100 for _ in range(4)]
    errors = [told * one[1] + (1 - told) * other for one, other in zip(signs, noise, strict=True)]
    expected, true, found = judge(signs, errors)
    assert found == pytest.approx(rank, abs=0.12)
    assert len(expected) == len(true) == 10
    assert (np.diff(expected) >= 0).all()
    assert true.mean() == pytest.approx(np.concatenate(errors).mean(), rel=1e-4)
    if told:
        np.testing.assert_allclose(expected, true, rtol=0.1, atol=1)
