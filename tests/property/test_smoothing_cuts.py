"""Local means have the same bits however the picture is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfree.restoration.smoothing import local_mean, reach_px

SCALES = (1, 4, 8)
REACH = reach_px(SCALES)
HEIGHT, WIDTH = 230, 270
ORIGIN = (-1003, 4021)
RNG = np.random.default_rng(11)
VALUES = RNG.normal(0, 300, (2, HEIGHT, WIDTH)).astype(np.float32)
SPECKLED = RNG.random((HEIGHT, WIDTH)) < 0.2
PATCHY = np.kron(RNG.random((10, 10)) < 0.3, np.ones((23, 27))).astype(bool)
MASKS = {"speckled": SPECKLED, "patchy": PATCHY, "both": SPECKLED & PATCHY}


def mean(where: np.ndarray, y: slice, x: slice) -> np.ndarray:
    origin = (ORIGIN[0] + y.start, ORIGIN[1] + x.start)
    return local_mean(VALUES[:, y, x], where[y, x], origin=origin, scales=SCALES, fade=5e-4)


WHOLE = {name: mean(where, slice(0, HEIGHT), slice(0, WIDTH)) for name, where in MASKS.items()}


@settings(max_examples=60, deadline=None)
@given(
    top=st.integers(0, 60),
    left=st.integers(0, 60),
    height=st.integers(1, 40),
    width=st.integers(1, 70),
    more=st.tuples(*[st.integers(0, 20)] * 4),
    name=st.sampled_from(sorted(MASKS)),
)
def test_a_core_with_its_reach_around_has_the_bits_of_the_whole(
    top: int, left: int, height: int, width: int, more: tuple[int, int, int, int], name: str
) -> None:
    y = slice(max(top - more[0], 0), min(top + height + 2 * REACH + more[1], HEIGHT))
    x = slice(max(left - more[2], 0), min(left + width + 2 * REACH + more[3], WIDTH))
    core_y, core_x = top + REACH, left + REACH
    part = mean(MASKS[name], y, x)[
        :, core_y - y.start : core_y - y.start + height, core_x - x.start : core_x - x.start + width
    ]
    np.testing.assert_array_equal(
        part, WHOLE[name][:, core_y : core_y + height, core_x : core_x + width]
    )
