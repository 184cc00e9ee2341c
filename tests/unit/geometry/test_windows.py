"""The lattice of windows and which of them are needed."""

import numpy as np
import pytest

from cloudfree.geometry.windows import Lattice, choose_windows

LATTICE = Lattice(window_px=16, stride_px=8)


def test_windows_start_at_multiples_of_the_stride_on_both_sides_of_0() -> None:
    assert LATTICE.starts(-20, 30) == [-16, -8, 0, 8]
    assert LATTICE.starts(-17, 16) == [-16, -8, 0]
    assert LATTICE.starts(1, 23) == []


@pytest.mark.parametrize("window", [8, 64, 256])
def test_the_taper_is_positive_and_falls_to_the_rim_alike_on_every_side(window: int) -> None:
    taper = Lattice(window_px=window, stride_px=8).taper()
    assert taper.shape == (window, window)
    assert taper.dtype == np.float32
    assert (taper > 0).all()
    middle = taper[window // 2]
    assert (np.diff(middle[: window // 2]) > 0).all()
    np.testing.assert_allclose(taper, taper[::-1, ::-1], rtol=1e-5)
    np.testing.assert_allclose(taper, taper.T)


def test_only_windows_that_hold_a_made_pixel_near_a_wanted_one_are_computed() -> None:
    made = np.zeros((48, 64), bool)
    made[20, 30] = True
    made[40, 60] = True
    core = (slice(16, 32), slice(16, 48))
    choice = choose_windows(
        LATTICE, made=made, core=core, wanted=made[core], origin=(-8, 800), reach_px=3
    )
    # absolute rows -8..39: starts 0, 8, 16, .. -> offsets 8, 16; columns: offsets 16, 24
    places = list(zip(choice.rows.tolist(), choice.cols.tolist(), strict=True))
    assert places == [(8, 16), (8, 24), (16, 16), (16, 24)]
    assert len(choice) == 4


def test_nothing_to_make_needs_no_window() -> None:
    made = np.zeros((40, 48), bool)
    core = (slice(8, 24), slice(8, 32))
    choice = choose_windows(
        LATTICE, made=made, core=core, wanted=made[core], origin=(0, 0), reach_px=8
    )
    assert len(choice) == 0
    # window starts 0, 8, 16 down and 0, 8, 16, 24 across touch the core
    assert choice.skipped == 12


def test_what_is_made_but_not_wanted_needs_no_window() -> None:
    made = np.ones((40, 48), bool)
    core = (slice(8, 24), slice(8, 32))
    choice = choose_windows(
        LATTICE,
        made=made,
        core=core,
        wanted=np.zeros((16, 24), bool),
        origin=(0, 0),
        reach_px=8,
    )
    assert len(choice) == 0
