"""A composite has the same bits however the picture is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfree.core.types import Masks
from cloudfree.restoration.rims import REACH_PX, fit_rims

HEIGHT, WIDTH = 330, 350
ORIGIN = (-40_007, 51_013)
RNG = np.random.default_rng(21)
REFLECTANCE = RNG.integers(1, 4000, (2, HEIGHT, WIDTH)).astype(np.uint16)
CANDIDATE = RNG.normal(2000, 800, REFLECTANCE.shape).astype(np.float32)
MADE = np.kron(RNG.random((11, 10)) < 0.6, np.ones((30, 35))).astype(bool)
VALID = np.ones((HEIGHT, WIDTH), bool)
VALID[:50, 300:] = False
COVERED = RNG.random((HEIGHT, WIDTH)) < 0.9
LOW = np.full(REFLECTANCE.shape, 200.0, np.float32)
HIGH = np.full(REFLECTANCE.shape, 3800.0, np.float32)


def cut(y: slice, x: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    done = fit_rims(
        REFLECTANCE[:, y, x],
        Masks(seen=(VALID & ~MADE)[y, x], made=(VALID & MADE)[y, x]),
        candidate=CANDIDATE[:, y, x],
        covered=COVERED[y, x],
        limits=(LOW[:, y, x], HIGH[:, y, x]),
        origin=(ORIGIN[0] + y.start, ORIGIN[1] + x.start),
    )
    return done.reflectance, done.source, done.limited


WHOLE = cut(slice(0, HEIGHT), slice(0, WIDTH))


@settings(max_examples=30, deadline=None)
@given(
    top=st.integers(0, 40),
    left=st.integers(0, 40),
    height=st.integers(1, 30),
    width=st.integers(1, 50),
    more=st.integers(0, 19),
)
def test_a_core_with_its_reach_around_has_the_bits_of_the_whole(
    top: int, left: int, height: int, width: int, more: int
) -> None:
    y = slice(max(top - more, 0), top + height + 2 * REACH_PX)
    x = slice(left, min(left + width + 2 * REACH_PX + more, WIDTH))
    core_y, core_x = top + REACH_PX, left + REACH_PX
    for part, whole in zip(cut(y, x), WHOLE, strict=True):
        np.testing.assert_array_equal(
            part[
                ...,
                core_y - y.start : core_y - y.start + height,
                core_x - x.start : core_x - x.start + width,
            ],
            whole[..., core_y : core_y + height, core_x : core_x + width],
        )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), low=st.integers(1, 3000))
def test_seen_is_exact_and_made_within_limits(seed: int, share: float, low: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, 33, 47)
    reflectance = rng.integers(1, 65_536, shape).astype(np.uint16)
    made = rng.random(shape[1:]) < share
    valid = rng.random(shape[1:]) < 0.9
    covered = rng.random(shape[1:]) < 0.9
    high = low + float(rng.integers(1, 4000))
    done = fit_rims(
        reflectance,
        Masks(seen=valid & ~made, made=valid & made),
        candidate=rng.normal(2000, 3000, shape).astype(np.float32),
        covered=covered,
        limits=(np.full(shape, low, np.float32), np.full(shape, high, np.float32)),
        origin=(seed, -seed),
    )
    seen, new = valid & ~made, valid & made & covered
    np.testing.assert_array_equal(done.reflectance[:, seen], reflectance[:, seen])
    assert (done.reflectance[:, new] >= low).all()
    assert (done.reflectance[:, new] <= high).all()
    assert (done.reflectance[:, ~(seen | new)] == 0).all()
