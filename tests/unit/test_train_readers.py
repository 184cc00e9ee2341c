"""Readers: every layout, its normalisation, its problems, and the splits."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from cloudfree.errors import RequestError
from cloudfree.train.pairs import LeakageError, check_leakage, cut_windows, split_folds
from cloudfree.train.readers import read_clouds, read_pairs, standardise

H, W = 24, 40


def write(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return pixels


def write_tif(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype
    ) as target:
        target.write(pixels)
    return pixels


def random_bytes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_sen12(folder: Path, number: int, patch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    season = folder / "ROIs1970_fall"
    name = "ROIs1970_fall_{}_{}_p{}.png"
    radar = write(
        season / f"s1_{number}" / name.format("s1", number, patch), random_bytes(seed, H, W)
    )
    optical = write(
        season / f"s2_{number}" / name.format("s2", number, patch), random_bytes(seed + 1, H, W, 3)
    )
    return radar, optical


def test_sen12_is_scaled_to_pictures(tmp_path: Path) -> None:
    radar, optical = write_sen12(tmp_path, 8, 37, seed=0)
    write_sen12(tmp_path, 11, 5, seed=7)
    pairs, problems = read_pairs(tmp_path)
    assert not problems
    assert sorted(pair.scene for pair in pairs) == ["ROIs1970_fall_11", "ROIs1970_fall_8"]
    pair = next(pair for pair in pairs if pair.scene.endswith("_8"))
    np.testing.assert_allclose(pair.radar[0], radar / 127.5 - 1, atol=1e-3)
    np.testing.assert_allclose(pair.optical, optical.transpose(2, 0, 1) / 127.5 - 1, atol=1e-3)
    assert pair.has_colour


def test_grey_pairs_have_no_colour(tmp_path: Path) -> None:
    write(tmp_path / "river/s1/12.png", random_bytes(0, H, W))
    write(tmp_path / "river/s2/12.png", random_bytes(1, H, W))
    (pair,), _ = read_pairs(tmp_path)
    assert pair.kind == "sen12-grey"
    assert not pair.has_colour
    assert pair.optical.shape == (3, H, W)


def test_large_pairs_are_stretched_per_scene(tmp_path: Path) -> None:
    """Two files of one scene share a stretch and a standardisation; both are of known DN."""
    radar = [random_bytes(2, 64, 64) // 2 + 20, random_bytes(3, 64, 64) // 8 + 100]
    optical = [random_bytes(4, 64, 64, 3) // 2, random_bytes(5, 64, 64, 3) // 2 + 60]
    for index in (0, 1):
        write(tmp_path / f"texas/s1/{index}.png", radar[index])
        write(tmp_path / f"texas/s2/{index}.png", optical[index])
    pairs, _ = read_pairs(tmp_path)
    assert {pair.scene for pair in pairs} == {"texas"}
    joined = np.concatenate([picture.reshape(-1, 3) for picture in optical])
    low, high = 13.95 * np.percentile(joined, (0.5, 99.5), axis=0)
    np.testing.assert_allclose(pairs[0].low_dn, low, rtol=1e-5)
    np.testing.assert_allclose(pairs[1].high_dn, high, rtol=1e-5)
    dn = 13.95 * optical[1].transpose(2, 0, 1)
    expected = np.clip(2 * (dn - low[:, None, None]) / (high - low)[:, None, None] - 1, -1, 1)
    np.testing.assert_allclose(pairs[1].optical, expected, atol=2e-3)
    decibel = 20 * np.log10(np.stack(radar).astype(float)) - 52
    expected_radar = np.clip((decibel - decibel.mean()) / (2.5 * decibel.std()), -1, 1)
    np.testing.assert_allclose(np.stack([p.radar[0] for p in pairs]), expected_radar, atol=2e-3)


def test_triplets_keep_their_real_cloud(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    radar = write_tif(tmp_path / "746_s1.tif", rng.normal(-14, 3, (2, H, W)).astype(np.float32))
    clear = rng.integers(300, 3000, (13, H, W)).astype(np.uint16)
    write_tif(tmp_path / "746_s2_clear.tif", clear)
    write_tif(tmp_path / "746_s2_cloudy.tif", clear + 4000)
    mask = (rng.random((1, H, W)) > 0.5).astype(np.uint8)
    write_tif(tmp_path / "746_mask.tif", mask)
    (pair,), _ = read_pairs(tmp_path)
    assert pair.cloudy is not None
    np.testing.assert_array_equal(pair.made, mask[0] == 1)
    np.testing.assert_allclose(pair.radar[0], standardise(radar[0]), atol=1e-3)
    low, high = 500, 3000  # constants: what is shown must not depend on the truth
    expected = np.clip(2 * (clear[3].astype(float) - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(pair.optical[0], expected, atol=2e-3)
    assert (pair.cloudy == 1).mean() > 0.9


def test_problems_are_named_counted_and_skipped_or_refused(tmp_path: Path) -> None:
    write_sen12(tmp_path, 8, 1, seed=0)
    for patch in (2, 3, 4):
        write_sen12(tmp_path, 8, patch, seed=patch)
    optical = tmp_path / "ROIs1970_fall/s2_8/ROIs1970_fall_s2_8_p{}.png"
    Path(str(optical).format(2)).unlink()
    truncated = Path(str(optical).format(3))
    truncated.write_bytes(truncated.read_bytes()[:200])
    write(Path(str(optical).format(4)), random_bytes(1, H, W + 8, 3))
    pairs, problems = read_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["ROIs1970_fall_s1_8_p1"]
    assert [problem.path.stem[-2:] for problem in problems] == ["p2", "p3", "p4"]
    assert "no optical partner" in problems[0].reason
    assert "cannot be read" in problems[1].reason
    assert "px" in problems[2].reason
    with pytest.raises(RequestError, match="3 of the files"):
        read_pairs(tmp_path, on_problem="refuse")


def test_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no known layout"):
        read_pairs(tmp_path)


def test_shared_scenes_and_equal_pictures_are_leaks(tmp_path: Path) -> None:
    write_sen12(tmp_path / "a", 8, 1, seed=0)
    write_sen12(tmp_path / "b", 8, 2, seed=5)
    write_sen12(tmp_path / "c", 9, 3, seed=0)
    write_sen12(tmp_path / "d", 9, 4, seed=9)
    a, b, c, d = (read_pairs(tmp_path / name)[0] for name in "abcd")
    with pytest.raises(LeakageError, match="ROIs1970_fall_8"):
        check_leakage(a, b)
    with pytest.raises(LeakageError, match="is ROIs1970_fall_s1_9_p3"):
        check_leakage(a, c)
    check_leakage(a, d)


def test_folds_hold_each_scene_once(tmp_path: Path) -> None:
    for number, patches in ((1, 5), (2, 3), (3, 2), (4, 1)):
        for patch in range(patches):
            write_sen12(tmp_path, number, patch, seed=17 * number + patch)
    pairs, _ = read_pairs(tmp_path)
    folds = split_folds(pairs, 2)
    sizes = [sum(pair.scene in fold for pair in pairs) for fold in folds]
    assert sorted(scene for fold in folds for scene in fold) == sorted({p.scene for p in pairs})
    assert sorted(sizes) == [5, 6]
    assert split_folds(pairs[::-1], 2) == folds


def test_windows_do_not_overlap(tmp_path: Path) -> None:
    write_sen12(tmp_path, 8, 1, seed=0)
    (pair,), _ = read_pairs(tmp_path)
    windows = cut_windows([pair], 16)
    assert [window.name for window in windows] == [f"{pair.name}_0_0", f"{pair.name}_0_16"]
    np.testing.assert_array_equal(windows[1].optical, pair.optical[:, :16, 16:32])


def test_clouds_come_from_thick_pairs_as_rgb(tmp_path: Path) -> None:
    clear = np.full((3, H, W), 1000, np.uint16)
    cloudy = clear.copy()
    cloudy[:, :, 10:] = np.array([7000, 6000, 5000], np.uint16)[:, None, None]
    write_tif(tmp_path / "a_clear.tif", clear)
    write_tif(tmp_path / "a_cloudy.tif", cloudy)
    write_tif(tmp_path / "b_clear.tif", clear)
    write_tif(tmp_path / "b_cloudy.tif", clear + 50)
    (cloud,) = read_clouds(tmp_path)
    np.testing.assert_allclose(cloud.texture_dn[:, 5, 20], [5000, 6000, 7000])
