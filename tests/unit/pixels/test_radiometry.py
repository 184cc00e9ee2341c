"""Digital numbers to reflectance, radar to decibel, both to pictures and back."""

import numpy as np
import pytest

from cloudfree.core.config import RadiometrySettings
from cloudfree.pixels.radiometry import (
    OpticalStatistics,
    RadarStatistics,
    from_picture,
    harmonise,
    measure_optical,
    measure_radar,
    standardise,
    to_decibel,
    to_picture,
)

STRETCH = OpticalStatistics(low=(100.0, 250.5), high=(1300.0, 4100.25), seen_pixels=5000)


def test_a_valid_pixel_never_becomes_nodata() -> None:
    dn = np.array([[[0, 1, 999, 1000, 1001, 65535]]], np.uint16)
    valid = np.array([[True, True, True, True, True, True]])
    np.testing.assert_array_equal(harmonise(dn, valid, -1000), [[[1, 1, 1, 1, 1, 64535]]])
    np.testing.assert_array_equal(harmonise(dn, valid, 0), [[[1, 1, 999, 1000, 1001, 65535]]])
    assert harmonise(dn, valid, -1000).dtype == np.uint16


def test_what_is_not_valid_is_0_in_every_band() -> None:
    dn = np.full((3, 2, 4), 2345, np.uint16)
    valid = np.zeros((2, 4), bool)
    valid[1, 2] = True
    reflectance = harmonise(dn, valid, -1000)
    np.testing.assert_array_equal(reflectance[:, 1, 2], [1345, 1345, 1345])
    assert np.count_nonzero(reflectance) == 3


def test_power_in_decibel() -> None:
    power = np.array([[1.0, 0.1, 10.0], [0.0, -3.0, np.nan]], np.float32)
    decibel = to_decibel(power, -35.0)
    expected = [[0.0, -10.0, 10.0], [-35.0, -35.0, np.nan]]
    np.testing.assert_allclose(decibel, expected, atol=1e-5)
    assert decibel.dtype == np.float32


def test_statistics_are_percentiles_of_seen_pixels_alone() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(300, 2000, (2, 5000)).astype(np.uint16)
    seen = rng.random(5000) < 0.5
    sample = np.where(seen, truth, 9999).astype(np.uint16)
    found = measure_optical(sample, seen, RadiometrySettings(low_percent=2, high_percent=90))
    assert found.seen_pixels == seen.sum()
    for band in range(2):
        low, high = np.percentile(truth[band, seen], [2, 90])
        assert (found.low[band], found.high[band]) == (low, high)


def test_a_sample_too_small_gives_the_true_colour_defaults() -> None:
    sample = np.full((3, 5000), 4000, np.uint16)
    seen = np.arange(5000) < 999
    found = measure_optical(sample, seen, RadiometrySettings())
    assert found == OpticalStatistics(low=(1.0,) * 3, high=(3558.0,) * 3, seen_pixels=999)


def test_a_uniform_scene_can_still_be_stretched_and_stretched_back() -> None:
    sample = np.full((1, 2000), 800, np.uint16)
    found = measure_optical(sample, np.ones(2000, bool), RadiometrySettings())
    assert found.high[0] > found.low[0] == 800
    picture = to_picture(sample[:, None, :5], np.ones((1, 5), bool), found, -1.0)
    np.testing.assert_allclose(from_picture(picture, found), 800)


def test_radar_statistics_leave_out_what_is_missing() -> None:
    """A pixel counts where both channels are known; each has its own mean and spread."""
    rng = np.random.default_rng(4)
    scale, mean = np.array([2, 3])[:, None, None], np.array([-11, -18])[:, None, None]
    decibel = (rng.normal(0, 1, (5, 2, 12, 70)) * scale + mean).astype(np.float32)
    known = decibel[..., :50].astype(float)
    decibel[:, 0, :, 50:60] = np.nan
    decibel[:, 1, :, 60:] = np.nan
    found = measure_radar(decibel)
    assert found.pixels == 3000
    assert found.mean_db == pytest.approx((known[:, 0].mean(), known[:, 1].mean()))
    assert found.std_db == pytest.approx((known[:, 0].std(), known[:, 1].std()))


def test_radar_without_a_sample_or_spread_can_still_be_standardised() -> None:
    nothing = measure_radar(np.full((2, 30, 70), np.nan, np.float32))
    uniform = measure_radar(np.full((1, 30, 70), -9.0, np.float32))
    assert nothing.pixels == 0
    assert len(nothing.mean_db) == 2
    assert min(nothing.std_db) > 0
    assert uniform.mean_db == (-9.0,)
    assert min(uniform.std_db) > 0


def test_a_picture_stretches_seen_pixels_and_fills_the_rest() -> None:
    numbers = np.array([[[100, 700, 1300, 2000]], [[250, 250, 4100, 1]]], np.uint16)
    seen = np.array([[True, True, True, False]])
    picture = to_picture(numbers, seen, STRETCH, fill=-0.25)
    np.testing.assert_allclose(picture[0], [[-1, 0, 1, -0.25]], atol=1e-6)
    np.testing.assert_allclose(picture[1], [[-1, -1, 1, -0.25]], atol=2e-4)
    assert picture.dtype == np.float32


def test_a_picture_of_many_windows_is_that_of_each() -> None:
    rng = np.random.default_rng(5)
    numbers = rng.integers(1, 5000, (3, 2, 4, 6)).astype(np.uint16)
    seen = rng.random((3, 4, 6)) < 0.6
    together = to_picture(numbers, seen, STRETCH, -1.0)
    for index in range(3):
        alone = to_picture(numbers[index], seen[index], STRETCH, -1.0)
        np.testing.assert_array_equal(together[index], alone)


def test_a_picture_stretched_back_stays_within_black_and_white() -> None:
    picture = np.array([[[-3.0, -1.0, 0.0, 1.0, 8.0]]] * 2, np.float32)
    numbers = from_picture(picture, STRETCH)
    np.testing.assert_allclose(numbers[0], [[100, 100, 700, 1300, 1300]], rtol=1e-6)
    np.testing.assert_allclose(numbers[1, 0, [0, 4]], [250.5, 4100.25], rtol=1e-6)


def test_radar_is_standardised_and_missing_is_filled() -> None:
    """Each channel by its own mean and standard deviation."""
    decibel = np.array([[[-11.0, -6, -16, 40, np.nan]], [[-14.0, 2, -30, -22, -18]]], np.float32)
    radar = RadarStatistics(mean_db=(-11.0, -18.0), std_db=(2.0, 3.2), pixels=5000)
    expected = [[[0, 1, -1, 1, -0.5]], [[0.5, 1, -1, -0.5, 0]]]
    np.testing.assert_allclose(standardise(decibel, radar, -0.5), expected, atol=1e-6)
