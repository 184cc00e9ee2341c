"""The lattice covers every pixel and does not depend on how the area was cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfree.geometry.windows import Lattice, choose_windows

strides = st.integers(1, 4).map(lambda n: 8 * n)
lattices = st.builds(
    lambda stride, more: Lattice(window_px=stride + 8 * more, stride_px=stride),
    strides,
    st.integers(0, 3),
)
positions = st.integers(-1_000_000, 1_000_000)


@settings(max_examples=200, deadline=None)
@given(lattice=lattices, pixel=positions)
def test_every_pixel_lies_in_a_window(lattice: Lattice, pixel: int) -> None:
    margin = lattice.window_px - 1
    starts = lattice.starts(pixel - margin, pixel + 1 + margin)
    holding = [s for s in starts if s <= pixel < s + lattice.window_px]
    assert holding
    assert holding == starts


@settings(max_examples=200, deadline=None)
@given(
    lattice=lattices,
    first=positions,
    size=st.integers(1, 400),
    before=st.integers(0, 90),
    after=st.integers(0, 90),
)
def test_a_larger_span_has_the_same_windows_and_more(
    lattice: Lattice, first: int, size: int, before: int, after: int
) -> None:
    part = lattice.starts(first, first + size)
    whole = lattice.starts(first - before, first + size + after)
    inside = [s for s in whole if first <= s and s + lattice.window_px <= first + size]
    assert part == inside
    assert all(s % lattice.stride_px == 0 for s in whole)


HALO = 40
LATTICE = Lattice(window_px=24, stride_px=16)
REACH = HALO - LATTICE.window_px + 1


def choose(made: np.ndarray, core: tuple[slice, slice], origin: tuple[int, int]) -> set:
    choice = choose_windows(
        LATTICE, made=made, core=core, wanted=made[core], origin=origin, reach_px=REACH
    )
    return {
        (y + origin[0], x + origin[1])
        for y, x in zip(choice.rows.tolist(), choice.cols.tolist(), strict=True)
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    share=st.sampled_from([0.0005, 0.003, 0.02]),
    height=st.integers(1, 60),
    width=st.integers(1, 80),
    origin=st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
)
def test_the_chosen_windows_are_those_with_a_made_pixel_near_a_wanted_one(
    seed: int, share: float, height: int, width: int, origin: tuple[int, int]
) -> None:
    made = np.random.default_rng(seed).random((height + 2 * HALO, width + 2 * HALO)) < share
    core = (slice(HALO, HALO + height), slice(HALO, HALO + width))
    near = np.zeros_like(made)
    near[core] = made[core]
    expected = set()
    size = LATTICE.window_px
    for y in range(-origin[0] % 16, made.shape[0] - size + 1, 16):
        for x in range(-origin[1] % 16, made.shape[1] - size + 1, 16):
            around = near[
                max(y - REACH, 0) : y + size + REACH, max(x - REACH, 0) : x + size + REACH
            ]
            if made[y : y + size, x : x + size].any() and around.any():
                expected.add((y + origin[0], x + origin[1]))
    assert choose(made, core, origin) == expected


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999),
    share=st.sampled_from([0.001, 0.01, 0.1]),
    split=st.integers(1, 89),
    origin=st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
)
def test_two_chunks_agree_on_every_window_over_a_wanted_pixel(
    seed: int, share: float, split: int, origin: tuple[int, int]
) -> None:
    height, width = 50, 90
    made = np.random.default_rng(seed).random((height + 2 * HALO, width + 2 * HALO)) < share
    whole = choose(made, (slice(HALO, HALO + height), slice(HALO, HALO + width)), origin)
    for first, last in ((0, split), (split, width)):
        part = made[:, first : last + 2 * HALO]
        core = (slice(HALO, HALO + height), slice(HALO, HALO + last - first))
        found = choose(part, core, (origin[0], origin[1] + first))
        assert found <= whole
        for y, x in np.argwhere(part[core]).tolist():
            row, col = y + HALO + origin[0], x + HALO + first + origin[1]
            size = LATTICE.window_px
            over = {
                (top, left)
                for top in LATTICE.starts(row - size + 1, row + size)
                for left in LATTICE.starts(col - size + 1, col + size)
            }
            assert over <= found
