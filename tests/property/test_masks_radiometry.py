"""Algebra of masks and pictures."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfree.core.config import MaskSettings
from cloudfree.pixels.masks import (
    CLOUDY,
    DEFECTIVE,
    DRAWN_HIDDEN,
    DRAWN_SEEN,
    DRAWN_UNKNOWN,
    SHADOW,
    choose_scene,
    dilate,
    drop_specks,
    hidden_pixels,
    reach_px,
)
from cloudfree.pixels.radiometry import (
    OpticalStatistics,
    from_picture,
    harmonise,
    to_decibel,
    to_picture,
)
from cloudfree.scenes.harmonisation import find_offset
from cloudfree.scenes.providers import OpticalCollection

COLLECTION = OpticalCollection(id="sentinel-2-l2a", level="L2A", offset="baseline")


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999),
    share=st.floats(0, 0.2),
    height=st.integers(1, 30),
    width=st.integers(1, 41),
    radius=st.one_of(st.floats(0, 9), st.integers(0, 9).map(float)),
)
def test_a_dilation_is_an_exact_disc(
    seed: int, share: float, height: int, width: int, radius: float
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    y, x = np.mgrid[:height, :width]
    expected = np.zeros_like(mask)
    for row, col in np.argwhere(mask):
        expected |= np.hypot(y - row, x - col) <= radius + 1e-6
    np.testing.assert_array_equal(dilate(mask, radius), expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), top=st.integers(0, 20), left=st.integers(0, 20))
def test_a_dilation_does_not_depend_on_the_cut(seed: int, top: int, left: int) -> None:
    mask = np.random.default_rng(seed).random((60, 75)) < 0.01
    part = dilate(mask[top : top + 40, left : left + 50], 6.5)[7:-7, 7:-7]
    whole = dilate(mask, 6.5)[top + 7 : top + 33, left + 7 : left + 43]
    np.testing.assert_array_equal(part, whole)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), share=st.floats(0, 0.7), least=st.integers(1, 12))
def test_specks_are_what_hangs_together_in_too_few_pixels(
    seed: int, share: float, least: int
) -> None:
    mask = np.random.default_rng(seed).random((13, 17)) < share
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    expected = np.zeros_like(mask)
    while left:
        spot, edge = set(), {left.pop()}
        while edge:
            spot |= edge
            edge = {
                (y, x) for y, x in left if any(max(abs(y - v), abs(x - u)) == 1 for v, u in edge)
            }
            left -= edge
        if len(spot) >= least:
            expected[tuple(np.array(list(spot)).T)] = True
    np.testing.assert_array_equal(drop_specks(mask, least), expected)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999),
    share=st.floats(0.02, 0.45),
    area=st.sampled_from([0.0, 400.0, 800.0, 1600.0]),
    dilation=st.sampled_from([0.0, 10.0, 25.0]),
    draws=st.booleans(),
)
def test_hidden_pixels_do_not_depend_on_the_cut(
    seed: int, share: float, area: float, dilation: float, draws: bool
) -> None:
    rng = np.random.default_rng(seed)
    odds = [1 - share, share / 2, share / 4, share / 4]
    codes = rng.choice([0, CLOUDY, SHADOW, DEFECTIVE], (90, 100), p=odds).astype(np.uint8)
    valid = rng.random(codes.shape) < 0.95
    values = [DRAWN_SEEN, DRAWN_HIDDEN, DRAWN_UNKNOWN]
    drawn = rng.choice(values, codes.shape, p=[0.3, 0.01, 0.69]).astype(np.uint8) if draws else None
    rules = MaskSettings(dilation_m=dilation, min_area_m2=area)
    halo = reach_px(rules, 10.0)
    whole = hidden_pixels(codes, drawn, valid, rules, 10.0)
    y, x = rng.integers(halo, 90 - halo - 10), rng.integers(halo, 100 - halo - 10)
    read = slice(y - halo, y + 10 + halo), slice(x - halo, x + 10 + halo)
    cut = hidden_pixels(
        codes[read], None if drawn is None else drawn[read], valid[read], rules, 10.0
    )
    core = slice(halo, halo + 10)
    np.testing.assert_array_equal(cut[core, core], whole[y : y + 10, x : x + 10])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(1, 5), share=st.floats(0, 1))
def test_the_first_scene_that_sees_a_pixel_gives_it(seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((count, 7, 11)) < 0.6
    seen = valid & (rng.random(valid.shape) < share)
    chosen = choose_scene(seen, valid)
    for y, x in np.ndindex(7, 11):
        for flags in (seen[:, y, x], valid[:, y, x]):
            if flags.any():
                assert chosen[y, x] == 1 + flags.tolist().index(True)
                break
        else:
            assert chosen[y, x] == 0


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 9999),
    low=st.floats(1, 5000),
    spread=st.floats(1, 20_000),
)
def test_a_picture_and_back_is_the_number_within_its_limits(
    seed: int, low: float, spread: float
) -> None:
    numbers = np.random.default_rng(seed).integers(1, 65_536, (1, 9, 13)).astype(np.uint16)
    stretch = OpticalStatistics(low=(low,), high=(low + spread,), seen_pixels=2000)
    picture = to_picture(numbers, np.ones((9, 13), bool), stretch, -1.0)
    assert (np.abs(picture) <= 1).all()
    back = from_picture(picture, stretch)
    np.testing.assert_allclose(back, np.clip(numbers, low, low + spread), rtol=1e-5, atol=0.01)


@settings(max_examples=60, deadline=None)
@given(major=st.integers(0, 99), minor=st.integers(0, 99), dn=st.integers(0, 65_535))
def test_a_valid_pixel_is_its_number_with_the_offset_but_at_least_1(
    major: int, minor: int, dn: int
) -> None:
    baseline = {"s2:processing_baseline": f"{major:02d}.{minor:02d}"}
    offset = find_offset(COLLECTION, baseline, {}).dn
    assert offset is not None
    assert offset == (-1000 if major >= 4 else 0)
    numbers = harmonise(np.full((2, 1, 3), dn, np.uint16), np.ones((1, 3), bool), offset)
    assert (numbers == max(1, dn + offset)).all()


@settings(max_examples=60, deadline=None)
@given(
    power=st.floats(-1, 100, allow_subnormal=False, width=32),
    floor=st.floats(-60, 0, allow_subnormal=False),
)
def test_decibel_never_falls_below_the_floor(power: float, floor: float) -> None:
    found = to_decibel(np.array([[power, np.nan]], np.float32), floor)
    expected = floor if power <= 0 else max(floor, 10 * np.log10(power))
    np.testing.assert_allclose(found, [[expected, np.nan]], atol=1e-4)
