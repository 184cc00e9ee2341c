"""Readers: every layout, its normalisation and its problems."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudfree.core.contract import Channels
from cloudfree.core.errors import RequestError
from cloudfree.train.pairs import standardise
from cloudfree.train.readers import read_clouds, read_pairs
from tests.gans import COLOUR
from tests.pairs import PATCH_SHAPE, write_patch, write_tif, write_triplet

H, W = PATCH_SHAPE


def write(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
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
    pairs, problems = read_pairs(tmp_path, COLOUR)
    assert not problems
    assert sorted(pair.scene for pair in pairs) == ["ROIs1970_fall_11", "ROIs1970_fall_8"]
    pair = next(pair for pair in pairs if pair.scene.endswith("_8"))
    np.testing.assert_allclose(pair.radar[0], radar / 127.5 - 1, atol=1e-3)
    np.testing.assert_allclose(pair.optical, optical.transpose(2, 0, 1) / 127.5 - 1, atol=1e-3)
    assert pair.has_colour


def test_grey_pairs_have_no_colour(tmp_path: Path) -> None:
    write(tmp_path / "river/s1/12.png", random_bytes(0, H, W))
    write(tmp_path / "river/s2/12.png", random_bytes(1, H, W))
    (pair,), _ = read_pairs(tmp_path, COLOUR)
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
    pairs, _ = read_pairs(tmp_path, COLOUR)
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
    radar, clear, mask = write_triplet(tmp_path, 746)
    (pair,), _ = read_pairs(tmp_path, COLOUR)
    assert pair.cloudy is not None
    np.testing.assert_array_equal(pair.made, mask == 1)
    np.testing.assert_allclose(pair.radar, standardise(radar[:1]), atol=1e-3)
    low, high = 500, 3000  # constants: what is shown must not depend on the truth
    expected = np.clip(2 * (clear[[3, 2, 1]].astype(float) - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(pair.optical, expected, atol=2e-3)
    assert (pair.cloudy == 1).mean() > 0.9


def test_triplets_give_any_bands_and_both_polarisations_each_standardised(tmp_path: Path) -> None:
    radar, clear, _ = write_triplet(tmp_path, 746)
    channels = Channels(
        bands=("B12", "B8A", "B01"), polarizations=("vh", "vv"), all_polarizations=True
    )
    (pair,), _ = read_pairs(tmp_path, channels)
    assert pair.cloudy is not None
    assert pair.low_dn.shape == pair.high_dn.shape == (3,)
    vv, vh = (standardise(layer) for layer in radar)
    assert np.abs(vv - standardise(radar)[0]).mean() > 0.1
    np.testing.assert_allclose(pair.radar, [vh, vv], atol=1e-3)
    for picture, dn in ((pair.optical, clear), (pair.cloudy, clear + 4000)):
        expected = np.clip((dn[[12, 8, 0]].astype(float) - 500) / 1250 - 1, -1, 1)
        np.testing.assert_allclose(picture, expected, atol=2e-3)


def write_set(folder: Path, name: str) -> None:
    """Write one pair of a set of RGB and one polarisation."""
    if name == "SEN1-2":
        write_sen12(folder, 8, 37, seed=0)
        return
    write(folder / "place/s1/1.png", random_bytes(0, H, W))
    optical = random_bytes(1, H, W) if name == "grey" else random_bytes(1, H, W, 3)
    write(folder / "place/s2/1.png", optical)


def test_a_set_of_rgb_gives_some_of_its_bands_in_any_order(tmp_path: Path) -> None:
    for name in ("SEN1-2", "larger"):
        write_set(tmp_path / name, name)
        (all_three,), _ = read_pairs(tmp_path / name, COLOUR)
        (two,), _ = read_pairs(tmp_path / name, Channels(bands=("B02", "B04")))
        np.testing.assert_array_equal(two.optical, all_three.optical[[2, 0]])
        np.testing.assert_array_equal(two.high_dn, all_three.high_dn[[2, 0]])
        np.testing.assert_array_equal(two.radar, all_three.radar)


NEAR_INFRARED = Channels(bands=("B04", "B08"))
BOTH = Channels(bands=COLOUR.bands, all_polarizations=True)
WITHOUT = {
    "no such band": ("SEN1-2", NEAR_INFRARED, "SEN1-2 in .* lacks B08, has B04, B03, B02"),
    "not both": ("SEN1-2", BOTH, "SEN1-2 in .* lacks VV and VH, has VV"),
    "not both, larger": ("larger", BOTH, "larger pairs in .* lacks VV and VH, has VH"),
    "no such band, larger": ("larger", NEAR_INFRARED, "larger pairs in .* lacks B08"),
    "the other one": (
        "larger", Channels(bands=("B04",), polarizations=("vv",)), "lacks VV, has VH",
    ),
    "grey, not RGB": ("grey", Channels(bands=("B04",)), "luminance of B04, B03, B02; B04 are want"),
    "grey, not both": ("grey", BOTH, "SEN1-2 in .* lacks VV and VH, has VV"),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT)
def test_a_set_without_the_channels_says_what_it_has(case: str, tmp_path: Path) -> None:
    name, channels, words = WITHOUT[case]
    write_set(tmp_path, name)
    with pytest.raises(RequestError, match=words) as refused:
        read_pairs(tmp_path, channels)
    assert "\n" not in str(refused.value)


def test_problems_are_named_counted_and_skipped_or_refused(tmp_path: Path) -> None:
    write_sen12(tmp_path, 8, 1, seed=0)
    for patch in (2, 3, 4):
        write_sen12(tmp_path, 8, patch, seed=patch)
    optical = tmp_path / "ROIs1970_fall/s2_8/ROIs1970_fall_s2_8_p{}.png"
    Path(str(optical).format(2)).unlink()
    truncated = Path(str(optical).format(3))
    truncated.write_bytes(truncated.read_bytes()[:200])
    write(Path(str(optical).format(4)), random_bytes(1, H, W + 8, 3))
    pairs, problems = read_pairs(tmp_path, COLOUR)
    assert [pair.name for pair in pairs] == ["ROIs1970_fall_s1_8_p1"]
    assert [problem.path.stem[-2:] for problem in problems] == ["p2", "p3", "p4"]
    assert "no optical partner" in problems[0].reason
    assert "cannot be read" in problems[1].reason
    assert "px" in problems[2].reason
    with pytest.raises(RequestError, match="3 of the files"):
        read_pairs(tmp_path, COLOUR, on_problem="refuse")


def test_unknown_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no known layout"):
        read_pairs(tmp_path, COLOUR)


def test_clouds_come_from_thick_pairs_as_rgb(tmp_path: Path) -> None:
    clear = np.full((3, H, W), 1000, np.uint16)
    cloudy = clear.copy()
    cloudy[:, :, 10:] = np.array([7000, 6000, 5000], np.uint16)[:, None, None]
    write_tif(tmp_path / "a_clear.tif", clear)
    write_tif(tmp_path / "a_cloudy.tif", cloudy)
    write_tif(tmp_path / "b_clear.tif", clear)
    write_tif(tmp_path / "b_cloudy.tif", clear + 50)
    (cloud,) = read_clouds(tmp_path, ("B04", "B03", "B02"))
    np.testing.assert_allclose(cloud.texture_dn[:, 5, 20], [5000, 6000, 7000])
    (cloud,) = read_clouds(tmp_path, ("B03",))
    np.testing.assert_allclose(cloud.texture_dn[:, 5, 20], [6000])
    with pytest.raises(RequestError, match="have B02, B03, B04; B04, B08 are wanted") as refused:
        read_clouds(tmp_path, ("B04", "B08"))
    assert "\n" not in str(refused.value)


def test_patches_give_red_green_blue_by_name(tmp_path: Path) -> None:
    patch = write_patch(tmp_path / "S2A_T33/2024-06-15_-9_5.npz")
    (pair,), problems = read_pairs(tmp_path, COLOUR)
    assert not problems
    assert (pair.kind, pair.scene, pair.place) == ("patches", "S2A_T33", "32632_24_-9_5")
    assert pair.has_colour
    np.testing.assert_array_equal(pair.optical, patch["optical"][[3, 2, 0]])
    np.testing.assert_array_equal(pair.radar, patch["radar"])
    np.testing.assert_array_equal(pair.low_dn, [300, 200, 100])
    np.testing.assert_array_equal(pair.high_dn, [1300, 1200, 1100])


def test_patches_give_the_asked_channels_by_name(tmp_path: Path) -> None:
    radar = np.random.default_rng(4).uniform(-1, 1, (2, H, W)).astype(np.float16)
    names = np.array(["vv", "vh"])
    patch = write_patch(tmp_path / "s/a.npz", radar=radar, polarizations=names)
    bands = ("B08", "B04")
    for asked, index in (
        (Channels(bands=bands, all_polarizations=True), [0, 1]),
        (Channels(bands=bands, polarizations=("vh", "vv")), [1]),
        (Channels(bands=bands), [0]),
    ):
        (pair,), problems = read_pairs(tmp_path, asked)
        assert not problems
        np.testing.assert_array_equal(pair.radar, radar[index])
        np.testing.assert_array_equal(pair.optical, patch["optical"][[1, 3]])
        np.testing.assert_array_equal(pair.high_dn, [4800, 1300])
    with pytest.raises(
        RequestError, match=r"1 files.*a\.npz: is no patch of B05.*lacks B05, has B02"
    ):
        read_pairs(tmp_path, Channels(bands=("B05",)))


def test_the_scene_of_a_patch_is_the_stored_one(tmp_path: Path) -> None:
    write_patch(tmp_path / "moved/a.npz", scene=np.array("S2B_T31"))
    (pair,), _ = read_pairs(tmp_path, COLOUR)
    assert pair.scene == "S2B_T31"


UNFIT_PATCHES = {
    "a missing band": ({"bands": np.array(["B02", "B08", "B03", "B05"])}, "lacks B04"),
    "missing layers": ({"radar": None, "place": None}, "lacks radar, place"),
    "a narrower radar": ({"radar": np.zeros((1, H, W - 8), np.float16)}, "radar is"),
    "two polarisations": ({"radar": np.zeros((2, H, W), np.float16)}, "radar is (2, 24, 40)"),
    "no name of a polarisation": ({"polarizations": None}, "lacks polarizations"),
    "unknown polarisation": ({"polarizations": np.array(["hh"])}, "lacks VV or VH, has HH"),
    "a band without name": ({"bands": np.array(["B02", "B03", "B04"])}, "optical is of"),
    "a lost stretch": ({"low_dn": np.zeros(3, np.float32)}, "low_dn is of"),
    "holes": ({"radar": np.full((1, H, W), np.nan, np.float16)}, "not finite"),
    "nameless bands": ({"bands": np.array(4)}, "lacks B04, B03, B02"),
    "text": ({"optical": np.full((4, H, W), "x")}, "is no patch"),
    "pickled objects": ({"scene": np.array([{}], dtype=object)}, "allow_pickle"),
}


@pytest.mark.parametrize("case", UNFIT_PATCHES)
def test_unfit_patches_are_problems(case: str, tmp_path: Path) -> None:
    other, hint = UNFIT_PATCHES[case]
    write_patch(tmp_path / "scene/good.npz")
    write_patch(tmp_path / "scene/unfit.npz", **other)
    pairs, problems = read_pairs(tmp_path, COLOUR)
    assert [pair.name for pair in pairs] == ["scene_good"]
    assert [problem.path.name for problem in problems] == ["unfit.npz"]
    assert hint in problems[0].reason
    with pytest.raises(RequestError, match="1 of the files"):
        read_pairs(tmp_path, COLOUR, on_problem="refuse")


def test_damaged_patches_are_problems_wherever_the_damage_is(tmp_path: Path) -> None:
    write_patch(tmp_path / "scene/good.npz")
    write_patch(tmp_path / "scene/spoilt.npz")
    whole = (tmp_path / "scene/spoilt.npz").read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(100, 600)]
    np.save(tmp_path / "array.npy", np.ones(3))
    for content in (b"", whole[:9], whole[:-30], (tmp_path / "array.npy").read_bytes(), *flipped):
        (tmp_path / "scene/spoilt.npz").write_bytes(content)
        pairs, problems = read_pairs(tmp_path, COLOUR)
        assert [pair.name for pair in pairs] == ["scene_good"]
        assert [problem.path.name for problem in problems] == ["spoilt.npz"]
