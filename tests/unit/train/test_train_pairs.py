"""Pairs: scaled to [-1, 1], split by scene and place, cut into windows."""

from dataclasses import replace

import numpy as np
import pytest

from cloudfree.train.pairs import (
    LeakageError,
    Pair,
    check_leakage,
    cut_windows,
    split_folds,
    standardise,
    stretch,
)

H, W = 24, 40


def make_pair(scene: str, name: str, seed: int, place: str = "") -> Pair:
    rng = np.random.default_rng(seed)
    return Pair(
        name=name,
        scene=scene,
        kind="sen12",
        radar=rng.uniform(-1, 1, (1, H, W)).astype(np.float16),
        optical=rng.uniform(-1, 1, (3, H, W)).astype(np.float16),
        low_dn=np.full(3, 500, np.float32),
        high_dn=np.full(3, 3000, np.float32),
        place=place,
    )


def test_a_shared_scene_is_a_leak() -> None:
    with pytest.raises(LeakageError, match="fall_8"):
        check_leakage([make_pair("fall_8", "p1", 0)], [make_pair("fall_8", "p2", 5)])
    check_leakage([make_pair("fall_8", "p1", 0)], [make_pair("fall_9", "p4", 9)])


def test_equal_radar_is_a_leak() -> None:
    with pytest.raises(LeakageError, match="p1 of the training is p3 of the validation"):
        check_leakage([make_pair("fall_8", "p1", 0)], [make_pair("fall_9", "p3", 0)])


def test_a_shared_place_is_a_leak() -> None:
    june = make_pair("june", "p1", 0, place="32632_256_-9_5")
    july = make_pair("july", "p2", 1, place="32632_256_-9_5")
    with pytest.raises(LeakageError, match="share the ground of p1"):
        check_leakage([june], [july])
    check_leakage([june], [replace(july, place="32632_256_-9_6")])
    check_leakage([replace(june, place="")], [replace(july, place="")])


def test_folds_hold_each_scene_once() -> None:
    pairs = [
        make_pair(f"scene{scene}", f"p{patch}", patch)
        for scene, patches in ((1, 5), (2, 3), (3, 2), (4, 1))
        for patch in range(patches)
    ]
    folds = split_folds(pairs, 2)
    sizes = [sum(pair.scene in fold for pair in pairs) for fold in folds]
    assert sorted(scene for fold in folds for scene in fold) == sorted({p.scene for p in pairs})
    assert sorted(sizes) == [5, 6]
    assert split_folds(pairs[::-1], 2) == folds


def test_windows_do_not_overlap() -> None:
    pair = make_pair("fall_8", "p1", 0)
    windows = cut_windows([pair], 16)
    assert [window.name for window in windows] == ["p1_0_0", "p1_0_16"]
    np.testing.assert_array_equal(windows[1].optical, pair.optical[:, :16, 16:32])
    np.testing.assert_array_equal(windows[1].radar, pair.radar[:, :16, 16:32])


def test_stretch_takes_low_to_minus_one_and_high_to_one() -> None:
    dn = np.array([[[100, 600, 1100, 5]], [[200, 1200, 2200, 9999]]], float)
    low, high = np.array([100, 200], np.float32), np.array([1100, 2200], np.float32)
    wanted = [[[-1, 0, 1, -1]], [[-1, 0, 1, 1]]]
    np.testing.assert_allclose(stretch(dn, low, high), wanted, atol=1e-6)


def test_radar_is_two_and_a_half_deviations_wide() -> None:
    decibel = np.array([[-22.0, -12.0, -7.0, 40.0]])
    np.testing.assert_allclose(standardise(decibel, -12, 4), [[-1, 0, 0.5, 1]], atol=1e-6)
    own = np.random.default_rng(1).normal(-15, 2, (1, H, W))
    np.testing.assert_array_equal(standardise(own), standardise(own, own.mean(), own.std()))
