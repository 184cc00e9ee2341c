"""Seen pixels as they are, made ones fitted to them."""

from typing import Any

import numpy as np

from cloudfree.core.source import NODATA, NOT_RESTORED, RECONSTRUCTED, SEEN
from cloudfree.core.types import Masks
from cloudfree.restoration.rims import REACH_PX, FittedPixels, fit_rims

HEIGHT, WIDTH = 70, 110
RNG = np.random.default_rng(9)
REFLECTANCE = RNG.integers(1, 6000, (2, HEIGHT, WIDTH)).astype(np.uint16)
MADE = np.zeros((HEIGHT, WIDTH), bool)
MADE[20:45, 30:80] = True
NOTHING = np.zeros((HEIGHT, WIDTH), bool)
NOTHING[:, 100:] = True
MASKS = Masks(seen=~MADE & ~NOTHING, made=MADE)
ALL = np.ones((HEIGHT, WIDTH), bool)


def limits(low: float = 1.0, high: float = 10_000.0) -> tuple[np.ndarray, np.ndarray]:
    shape = (2, HEIGHT, WIDTH)
    return np.full(shape, low, np.float32), np.full(shape, high, np.float32)


def fit(candidate: np.ndarray, **changes: Any) -> FittedPixels:
    asked = {
        "candidate": candidate.astype(np.float32),
        "covered": ALL,
        "limits": limits(),
        "origin": (-11, 77),
        **changes,
    }
    return fit_rims(REFLECTANCE, MASKS, **asked)


def test_seen_pixels_are_passed_on_exactly() -> None:
    done = fit(RNG.normal(3000, 2000, REFLECTANCE.shape))
    np.testing.assert_array_equal(done.reflectance[:, MASKS.seen], REFLECTANCE[:, MASKS.seen])
    assert (done.reflectance[:, NOTHING] == 0).all()
    assert not done.limited[MASKS.seen].any()


def test_the_source_layer_names_every_pixel() -> None:
    covered = ALL.copy()
    covered[:, 60:] = False
    source = fit(np.full(REFLECTANCE.shape, 500.0), covered=covered).source
    assert set(source[MASKS.seen]) == {SEEN}
    assert set(source[MADE & covered]) == {RECONSTRUCTED}
    assert set(source[MADE & ~covered]) == {NOT_RESTORED}
    assert set(source[NOTHING]) == {NODATA}


def test_made_pixels_have_numbers_exactly_where_reconstructed() -> None:
    covered = ALL.copy()
    covered[30:, :] = False
    done = fit(np.full(REFLECTANCE.shape, -7000.0), covered=covered)
    shown = (done.source == SEEN) | (done.source == RECONSTRUCTED)
    for band in done.reflectance:
        np.testing.assert_array_equal(band > 0, shown)


def test_made_pixels_stay_within_limits_and_say_when_they_met_one() -> None:
    low, high = 400.0, 900.0
    candidate = RNG.normal(650, 400, REFLECTANCE.shape)
    nobody = np.zeros_like(ALL)
    done = fit_rims(
        REFLECTANCE,
        Masks(seen=nobody, made=MADE),
        candidate=candidate.astype(np.float32),
        covered=ALL,
        limits=limits(low, high),
        origin=(0, 0),
    )
    made = done.reflectance[:, MADE]
    assert (made.min(), made.max()) == (low, high)
    expected = ((candidate < low) | (candidate > high)).any(axis=0) & MADE
    np.testing.assert_array_equal(done.limited, expected)


def test_far_from_seen_pixels_the_candidate_is_left_alone() -> None:
    shape = (1, 40, 3 * REACH_PX)
    seen = np.zeros(shape[1:], bool)
    seen[:, :100] = True
    candidate = RNG.uniform(1000, 3000, shape).astype(np.float32)
    done = fit_rims(
        np.where(seen, 2500, 9000).astype(np.uint16)[None],
        Masks(seen=seen, made=~seen),
        candidate=candidate,
        covered=np.ones_like(seen),
        limits=(np.ones(shape, np.float32), np.full(shape, 9999, np.float32)),
        origin=(5, -3),
    )
    far = slice(100 + REACH_PX, None)
    np.testing.assert_array_equal(done.reflectance[..., far], np.rint(candidate[..., far]))


def test_what_the_candidate_misses_at_the_rim_is_mended_inside() -> None:
    truth = 1500 + 4 * np.arange(WIDTH) * np.ones((2, HEIGHT, 1))
    candidate = truth - 350
    done = fit_rims(
        np.where(MASKS.seen, truth, 9000).astype(np.uint16),
        MASKS,
        candidate=candidate.astype(np.float32),
        covered=ALL,
        limits=limits(),
        origin=(-11, 77),
    )
    off = np.abs(done.reflectance.astype(float) - truth)[:, MADE]
    assert off.max() < 10


def test_the_cloud_itself_is_never_mixed_in() -> None:
    candidate = np.full(REFLECTANCE.shape, 1200.0)
    done = fit(candidate)
    brighter = REFLECTANCE.copy()
    brighter[:, MADE] = 20_000
    again = fit_rims(
        brighter,
        MASKS,
        candidate=candidate.astype(np.float32),
        covered=ALL,
        limits=limits(),
        origin=(-11, 77),
    )
    np.testing.assert_array_equal(done.reflectance, again.reflectance)


def test_seen_pixels_without_a_candidate_do_not_count() -> None:
    covered = ALL.copy()
    covered[:, :29] = False
    candidate = np.full(REFLECTANCE.shape, 1200.0)
    other = np.where(covered, candidate, 50_000.0)
    one, two = fit(candidate, covered=covered), fit(other, covered=covered)
    np.testing.assert_array_equal(one.reflectance, two.reflectance)


def test_with_nothing_to_make_nothing_is_asked_of_the_candidate() -> None:
    done = fit_rims(
        REFLECTANCE,
        Masks(seen=~NOTHING, made=np.zeros_like(ALL)),
        candidate=np.full(REFLECTANCE.shape, np.nan, np.float32),
        covered=np.zeros_like(ALL),
        limits=limits(),
        origin=(0, 0),
    )
    np.testing.assert_array_equal(done.reflectance, np.where(NOTHING, 0, REFLECTANCE))
    assert not done.limited.any()


def test_a_made_pixel_is_never_nodata() -> None:
    done = fit(np.full(REFLECTANCE.shape, -9000.0), limits=limits(0.0, 0.0))
    assert (done.reflectance[:, MADE] >= 1).all()
