"""What is valid, hidden and seen."""

import numpy as np

from cloudfree.config import MaskSettings
from cloudfree.masks import (
    CLEAR,
    CLOUDY,
    DILATED,
    SHADOW,
    choose_scene,
    dilate,
    hidden_pixels,
    valid_pixels,
)

SETTINGS = MaskSettings(dilation_m=20.0)


def test_with_a_classification_class_0_alone_is_nodata() -> None:
    dn = np.zeros((2, 2, 3), np.uint16)
    dn[:, 0, 0] = 700
    classes = np.array([[0, 4, 4], [1, 9, 0]], np.uint8)
    expected = [[False, True, True], [True, True, False]]
    np.testing.assert_array_equal(valid_pixels(dn, classes), expected)


def test_without_one_a_pixel_is_valid_where_any_band_is_not_0() -> None:
    dn = np.zeros((3, 2, 3), np.uint16)
    dn[1, 0, 2] = 1
    dn[:, 1, 1] = 900
    expected = [[False, False, True], [False, True, False]]
    np.testing.assert_array_equal(valid_pixels(dn, None), expected)


def test_codes_of_cloud_shadow_and_their_rim() -> None:
    classes = np.full((5, 9), 4, np.uint8)
    classes[2, 2], classes[2, 6] = 9, 3
    codes = hidden_pixels(classes, np.ones(classes.shape, bool), MaskSettings(dilation_m=10), 10.0)
    expected = np.full((5, 9), CLEAR)
    for x, code in ((2, CLOUDY), (6, SHADOW)):
        expected[2, x - 1 : x + 2] = expected[1:4, x] = DILATED
        expected[2, x] = code
    np.testing.assert_array_equal(codes, expected)


def test_nothing_is_hidden_where_nothing_is_valid() -> None:
    classes = np.full((4, 6), 4, np.uint8)
    classes[1, 2], classes[:, 3] = 8, 0
    codes = hidden_pixels(classes, classes != 0, SETTINGS, 10.0)
    assert (codes[:, 3] == CLEAR).all()
    assert codes[1, 2] == CLOUDY
    assert codes[1, 4] == DILATED


def test_without_a_classification_nothing_is_hidden() -> None:
    codes = hidden_pixels(None, np.ones((3, 5), bool), SETTINGS, 10.0)
    np.testing.assert_array_equal(codes, np.zeros((3, 5)))


def test_a_dilation_in_metres_follows_the_resolution() -> None:
    classes = np.full((9, 11), 4, np.uint8)
    classes[4, 5] = 9
    valid = np.ones(classes.shape, bool)
    assert (hidden_pixels(classes, valid, SETTINGS, 10.0) != CLEAR).sum() == 13
    assert (hidden_pixels(classes, valid, SETTINGS, 20.0) != CLEAR).sum() == 5
    assert (hidden_pixels(classes, valid, SETTINGS, 60.0) != CLEAR).sum() == 1


def test_dilating_leaves_the_given_mask_alone() -> None:
    mask = np.zeros((5, 8), bool)
    mask[2, 3] = True
    assert dilate(mask, 1.0).sum() == 5
    assert mask.sum() == 1


def test_seen_in_any_scene_goes_before_valid_in_the_first() -> None:
    seen = np.array([[[1, 0, 0, 0, 0]], [[1, 1, 0, 0, 0]], [[1, 1, 0, 0, 0]]], bool)
    valid = np.array([[[1, 1, 0, 0, 1]], [[1, 1, 1, 0, 1]], [[1, 1, 1, 0, 0]]], bool)
    np.testing.assert_array_equal(choose_scene(seen, valid), [[1, 2, 2, 0, 1]])


def test_scenes_beyond_255_keep_their_number() -> None:
    count = 300
    valid = np.zeros((count, 1, 2), bool)
    valid[-1, 0, 1] = True
    np.testing.assert_array_equal(choose_scene(valid, valid), [[0, count]])
