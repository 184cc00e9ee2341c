"""Patches are what a run sees: exact pixels under the run's statistics, clear throughout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from cloudfree.synthetic import SyntheticScenes
from cloudfree.train.pairs import LeakageError, check_leakage
from cloudfree.train.readers import read_pairs
from tests.integration.products import make, open_raw

SIDE = 32
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    return out


def cut(cloudfree: Cli, scenes: SyntheticScenes, out: Path, *more: str) -> tuple[int, str, str]:
    return cloudfree(
        "patches", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--out", out, "--size-px", str(SIDE), *more,
    )  # fmt: skip


def test_patches_are_the_product_s_seen_pixels(
    cloudfree: Cli, scenes: SyntheticScenes, product: Path, tmp_path: Path
) -> None:
    code, printed, _ = cut(cloudfree, scenes, tmp_path / "train", "--json")
    assert code == 0
    counts = json.loads(printed)
    files = sorted((tmp_path / "train").glob("*/*.npz"))
    assert counts["kept"] == len(files) > 3
    assert counts["cloud"] > 0
    assert counts["nodata"] > 0
    cube = open_raw(product)
    measured = json.loads((product / "ledger/state.json").read_text())
    text = json.dumps(measured)
    for path in files:
        patch = np.load(path, allow_pickle=False)
        assert list(patch["bands"]) == ["B02", "B03", "B04"]
        affine = Affine(*patch["transform"])
        left, top = affine @ (0.5, 0.5)
        here = cube.sel(
            x=slice(left, left + (SIDE - 0.5) * affine.a),
            y=slice(top, top + (SIDE - 0.5) * affine.e),
        )
        assert here.sizes["y"] == here.sizes["x"] == SIDE
        assert (here.source.to_numpy() == 1).all()
        low, high = (patch[name][:, None, None] for name in ("low_dn", "high_dn"))
        wanted = np.clip(2 * (here.reflectance.to_numpy()[0] - low) / (high - low) - 1, -1, 1)
        np.testing.assert_allclose(patch["optical"], wanted, atol=1e-3)
        assert all(f"{value:.1f}" in text for value in patch["low_dn"].tolist())
        assert np.abs(patch["radar"]).max() <= 1
        assert patch["radar"].std() > 0.01


def test_a_training_reads_them_back(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    cut(cloudfree, scenes, tmp_path / "train")
    files = sorted((tmp_path / "train").glob("*/*.npz"))
    pairs, problems = read_pairs(tmp_path / "train")
    assert not problems
    assert len(pairs) == len(files)
    patch = np.load(files[1], allow_pickle=False)
    np.testing.assert_array_equal(pairs[1].optical, patch["optical"][::-1])
    np.testing.assert_array_equal(pairs[1].low_dn, patch["low_dn"][::-1])
    np.testing.assert_array_equal(pairs[1].radar, patch["radar"])
    files[0].write_bytes(files[0].read_bytes()[:3000])
    np.savez(files[1], optical=np.zeros((1, 8, 8)), bands=np.array(["B08"]))
    pairs, problems = read_pairs(tmp_path / "train")
    assert [problem.path for problem in problems] == files[:2]
    assert len(pairs) == len(files) - 2


def test_the_same_ground_at_another_time_is_a_leak(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    cut(cloudfree, scenes, tmp_path / "train")
    for path in sorted((tmp_path / "train").glob("*/*.npz")):
        patch = dict(np.load(path, allow_pickle=False))
        other = tmp_path / "val/later" / path.name
        other.parent.mkdir(parents=True, exist_ok=True)
        np.savez(other, **{**patch, "scene": np.array("later"), "radar": -patch["radar"]})
    with pytest.raises(LeakageError, match="share the ground"):
        check_leakage(read_pairs(tmp_path / "train")[0], read_pairs(tmp_path / "val")[0])


def test_wrong_sizes_are_refused(cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path) -> None:
    code, _, error = cloudfree(
        "patches", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--out", tmp_path / "p", "--size-px", "20",
    )  # fmt: skip
    assert code == 2
    assert error.strip().splitlines() == ["cloudfree: --size-px is 20; give a multiple of 8"]
    assert not (tmp_path / "p").exists()
