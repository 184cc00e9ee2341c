"""What is valid, hidden and seen."""

import numpy as np

from cloudfree.core.config import MaskSettings
from cloudfree.core.types import UInt8Array
from cloudfree.pixels.masks import (
    CLEAR,
    CLOUDY,
    DEFECTIVE,
    DILATED,
    DRAWN_HIDDEN,
    DRAWN_SEEN,
    DRAWN_UNKNOWN,
    EMPTY_REACH_PX,
    SHADOW,
    choose_scene,
    dilate,
    drop_empty,
    drop_specks,
    hidden_pixels,
    reach_px,
    read_classes,
    valid_pixels,
)

SETTINGS = MaskSettings(dilation_m=20.0, min_area_m2=0.0)


def hide(
    classes: np.ndarray,
    settings: MaskSettings = SETTINGS,
    pixel_m: float | np.ndarray = 10.0,
    drawn: UInt8Array | None = None,
) -> UInt8Array:
    codes = read_classes(classes.astype(np.uint8), settings)
    return hidden_pixels(codes, drawn, classes != 0, settings, pixel_m)


def test_with_a_classification_class_0_alone_is_nodata() -> None:
    dn = np.zeros((2, 2, 3), np.uint16)
    dn[:, 0, 0] = 700
    classes = np.array([[0, 4, 4], [1, 9, 0]], np.uint8)
    expected = [[False, True, True], [True, True, False]]
    np.testing.assert_array_equal(valid_pixels(dn, classes, carries_offset=False), expected)


def test_without_one_a_pixel_is_valid_where_any_band_is_not_0() -> None:
    dn = np.zeros((3, 2, 3), np.uint16)
    dn[1, 0, 2] = 1
    dn[:, 1, 1] = 900
    expected = [[False, False, True], [False, True, False]]
    np.testing.assert_array_equal(valid_pixels(dn, None, carries_offset=False), expected)


def test_where_numbers_carry_an_offset_a_0_in_one_band_is_no_data() -> None:
    dn = np.full((2, 2, 3), 1400, np.uint16)
    dn[1, 0, 2] = 0
    classes = np.array([[4, 4, 4], [0, 4, 9]], np.uint8)
    expected = [[True, True, False], [False, True, True]]
    np.testing.assert_array_equal(valid_pixels(dn, classes, carries_offset=True), expected)
    without = valid_pixels(dn, None, carries_offset=True)
    np.testing.assert_array_equal(without, [[True, True, False], [True, True, True]])


def test_every_class_has_its_code() -> None:
    codes = read_classes(np.arange(12, dtype=np.uint8)[None], MaskSettings())[0]
    hidden = {1: DEFECTIVE, 3: SHADOW, 8: CLOUDY, 9: CLOUDY, 10: CLOUDY}
    assert codes.tolist() == [hidden.get(number, CLEAR) for number in range(12)]


def test_settings_move_classes() -> None:
    settings = MaskSettings(cloudy=(9, 7), shadow=(2,), defective=())
    codes = read_classes(np.arange(12, dtype=np.uint8)[None], settings)[0]
    hidden = {2: SHADOW, 7: CLOUDY, 9: CLOUDY}
    assert codes.tolist() == [hidden.get(number, CLEAR) for number in range(12)]


def test_codes_of_cloud_shadow_and_their_rim() -> None:
    classes = np.full((5, 9), 4, np.uint8)
    classes[2, 2], classes[2, 6] = 9, 3
    codes = hide(classes, MaskSettings(dilation_m=10, min_area_m2=0))
    expected = np.full((5, 9), CLEAR)
    for x, code in ((2, CLOUDY), (6, SHADOW)):
        expected[2, x - 1 : x + 2] = expected[1:4, x] = DILATED
        expected[2, x] = code
    np.testing.assert_array_equal(codes, expected)


def test_a_defective_pixel_is_hidden_and_nothing_around_it() -> None:
    classes = np.full((6, 8), 4, np.uint8)
    classes[3, 4] = 1
    expected = np.where(classes == 1, DEFECTIVE, CLEAR)
    np.testing.assert_array_equal(hide(classes), expected)
    classes[3, 5] = 9  # within the rim of a cloud it stays what it is
    codes = hide(classes)
    assert (codes[3, 4], codes[3, 3]) == (DEFECTIVE, DILATED)


def test_snow_water_shade_and_unclassified_are_seen() -> None:
    classes = np.array([[2, 4, 5, 6], [7, 11, 11, 7]], np.uint8)
    assert not hide(classes).any()


def test_specks_are_dropped_by_their_area_on_the_ground() -> None:
    classes = np.full((12, 20), 4, np.uint8)
    classes[1, 2:5] = 9  # 3 px
    classes[5:7, 3:5] = 9  # 4 px
    classes[9, 12:14], classes[10, 14:16] = 9, 3  # 4 px of cloud and shadow that meet at a corner
    settings = MaskSettings(dilation_m=0, min_area_m2=400)
    expected = np.full(classes.shape, CLEAR)
    expected[5:7, 3:5] = expected[9, 12:14] = CLOUDY
    expected[10, 14:16] = SHADOW
    np.testing.assert_array_equal(hide(classes, settings, 10.0), expected)
    assert (hide(classes, settings, 20.0) != CLEAR).sum() == 11
    assert not hide(classes, settings, 5.0).any()


def test_a_users_mask_overrules_classes_where_it_knows() -> None:
    classes = np.full((7, 30), 4, np.uint8)
    classes[:, 4:8], classes[:, 9], classes[:, 24:], classes[:, 29] = 9, 1, 9, 0
    drawn = np.full(classes.shape, DRAWN_SEEN, np.uint8)
    drawn[:, 15:17], drawn[:, 20:], drawn[:, 29] = DRAWN_HIDDEN, DRAWN_UNKNOWN, DRAWN_HIDDEN
    codes = hide(classes, MaskSettings(dilation_m=10, min_area_m2=0), drawn=drawn)
    expected = [CLEAR] * 14 + [DILATED, CLOUDY, CLOUDY, DILATED] + [CLEAR] * 5
    expected += [DILATED] + [CLOUDY] * 5 + [CLEAR]
    np.testing.assert_array_equal(codes, np.tile(expected, (7, 1)))


def test_a_users_smallest_spot_is_no_speck() -> None:
    drawn = np.full((5, 9), DRAWN_SEEN, np.uint8)
    drawn[2, 3] = DRAWN_HIDDEN
    codes = hide(np.full((5, 9), 4), MaskSettings(dilation_m=0), drawn=drawn)
    np.testing.assert_array_equal(codes == CLOUDY, drawn == DRAWN_HIDDEN)


def test_nothing_is_hidden_where_nothing_is_valid() -> None:
    classes = np.full((4, 6), 4, np.uint8)
    classes[1, 2], classes[:, 3] = 8, 0
    codes = hide(classes)
    assert (codes[:, 3] == CLEAR).all()
    assert codes[1, 2] == CLOUDY
    assert codes[1, 4] == DILATED


def test_a_dilation_in_metres_follows_the_resolution() -> None:
    classes = np.full((9, 11), 4, np.uint8)
    classes[4, 5] = 9
    assert (hide(classes, pixel_m=10.0) != CLEAR).sum() == 13
    assert (hide(classes, pixel_m=20.0) != CLEAR).sum() == 5
    assert (hide(classes, pixel_m=60.0) != CLEAR).sum() == 1


def test_each_pixel_has_its_own_side_on_the_ground() -> None:
    classes = np.full((9, 22), 4, np.uint8)
    classes[4, [5, 16]] = 9
    halves = np.where(np.arange(22) < 11, 10.0, 20.0)[None, :].repeat(9, axis=0)
    hidden = hide(classes, pixel_m=halves) != CLEAR
    assert (hidden[:, :11].sum(), hidden[:, 11:].sum()) == (13, 5)
    classes[4, [6, 17]] = 9  # now 200 m2 and 800 m2
    hidden = hide(classes, MaskSettings(dilation_m=0, min_area_m2=500), halves) != CLEAR
    assert (hidden[:, :11].sum(), hidden[:, 11:].sum()) == (0, 2)


def test_the_reach_is_that_of_the_dilation_and_of_the_longest_speck() -> None:
    assert reach_px(MaskSettings(), 10.0) == 10 + 15
    assert reach_px(MaskSettings(dilation_m=25, min_area_m2=0), 10.0) == 3
    assert reach_px(MaskSettings(), 60.0) == 2


def test_dropping_specks_leaves_the_given_mask_alone() -> None:
    mask = np.zeros((5, 8), bool)
    mask[2, 3] = True
    assert not drop_specks(mask, 2).any()
    assert mask.sum() == 1


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


def make_power(shape: tuple[int, int] = (40, 56)) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.gamma(4, 0.02, (2, *shape)).astype(np.float32)


def test_areas_of_zero_are_no_radar_and_single_zeros_are() -> None:
    power = make_power()
    power[:, :, :20] = 0  # a swath's end that nobody marks
    power[:, 10, 30] = power[:, 20:22, 40:42] = 0  # calm water, noise taken off
    power[1, 25:35, 30:50] = 0  # in one channel alone
    dropped = drop_empty(power)
    expected = np.zeros((40, 56), bool)
    expected[:, :20] = True
    np.testing.assert_array_equal(np.isnan(dropped), np.broadcast_to(expected, power.shape))
    np.testing.assert_array_equal(dropped[:, ~expected], power[:, ~expected])


def test_a_thin_line_of_zero_along_the_end_of_a_swath_is_no_radar() -> None:
    power = make_power()
    power[:, :, :10] = np.nan
    power[:, :, 10] = 0
    assert np.isnan(drop_empty(power)[:, :, 10]).all()
    assert not np.isnan(drop_empty(power)[:, :, 11]).any()


def test_what_is_no_radar_does_not_depend_on_the_cut() -> None:
    power = make_power()
    rng = np.random.default_rng(8)
    holes = rng.random((40, 56)) < 0.05
    power[:, np.kron(rng.random((10, 14)) < 0.2, np.ones((4, 4), bool)) | holes] = 0
    whole = drop_empty(power)
    reach = EMPTY_REACH_PX
    for top, left, height, width in ((0, 0, 17, 23), (9, 13, 20, 31), (22, 30, 18, 26)):
        part = drop_empty(power[:, top : top + height, left : left + width])
        inner = np.s_[:, reach : height - reach, reach : width - reach]
        cut = whole[:, top : top + height, left : left + width]
        np.testing.assert_array_equal(part[inner], cut[inner])
