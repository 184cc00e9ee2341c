"""Scores of a model on pairs with truth: alike for all, deterministic, with honest intervals."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cloudfree.core.errors import RequestError
from cloudfree.core.progress import Silent
from cloudfree.core.types import BoolArray
from cloudfree.restoration.bundle import open_bundle
from cloudfree.synthetic.clouds import CloudSettings
from cloudfree.train.evaluate import (
    EvaluationSettings,
    Figures,
    as_text,
    evaluate,
    find_blocks,
    keep_seen,
    restore,
    summarise,
)
from cloudfree.train.pairs import Pair
from cloudfree.train.scoring import Window
from tests.gans import write_tiny_gans
from tests.pairs import write_pairs

SETTINGS = EvaluationSettings(seed=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "val", range(2, 4), patches=1).parent


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_tiny_gans(tmp_path_factory.mktemp("bundle"))
    colours = "\n".join(["[bars]", "mean_colour = [0.5, -0.25, 0.0]"])
    weights = [[0.1 * row + 0.01 * band for band in range(3)] for row in range(7)]
    text = (folder / "model.toml").read_text()
    tables = f"{colours}\nregression = {weights}\n"
    (folder / "model.toml").write_text(text.replace("[sar2opt]", f"{tables}[sar2opt]", 1))
    return str(folder)


@pytest.fixture(scope="module")
def scored(data: Path, bundle: str) -> dict[str, Figures]:
    return evaluate(data, bundle, SETTINGS, Silent())


def make_window(shape: tuple[int, int] = (256, 256), seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(-0.8, 0.8, (3, *shape)).astype(np.float32)
    made = np.zeros((1, *shape), bool)
    made[:, 40:90, 100:180] = True
    cloudy = np.where(made, np.float32(1), truth)
    return Window(
        group="sen12",
        radar=torch.from_numpy(rng.uniform(-1, 1, (1, *shape)).astype(np.float32)),
        truth=torch.from_numpy(truth),
        cloudy=torch.from_numpy(cloudy),
        made=torch.from_numpy(made),
        under_cloud=made[0],
    )


def test_the_object_has_every_key_and_is_deterministic(
    data: Path, bundle: str, scored: dict[str, Figures]
) -> None:
    figures = scored
    assert list(figures) == ["sar2opt", "cloud_removal", "product", "baselines", "paper", "data"]
    assert {"psnr", "ssim", "n"} <= figures["sar2opt"].keys()
    wanted = {
        "psnr",
        "ssim",
        "psnr_cloudy",
        "psnr_opaque",
        "psnr_clear",
        "mae",
        "sam",
        "n",
        "interval",
    }
    assert wanted <= figures["cloud_removal"].keys()
    assert figures["baselines"]["sar2opt"].keys() == {"mean_colour", "regression"}
    fills = {"cloudy", "mean_colour", "inpainting", "regression", "baseline"}
    assert figures["baselines"]["cloud_removal"].keys() == fills
    assert figures["data"]["windows"] == 2
    assert evaluate(data, bundle, SETTINGS, Silent()) == figures
    assert evaluate(data, bundle, replace(SETTINGS, seed=4), Silent()) != figures
    assert "19.450" in as_text(figures)
    json.dumps(figures)


def test_the_mean_colour_scores_what_its_formula_says(
    data: Path, scored: dict[str, Figures]
) -> None:
    colour = np.array([0.5, -0.25, 0.0])
    wanted = []
    for path in sorted((data / "val").glob("ROIs*/s2_*/*.png")):
        truth = (np.asarray(Image.open(path)) / 127.5 - 1).astype(np.float16).astype(np.float64)
        wanted.append(10 * np.log10(4 / ((truth - colour) ** 2).mean()))
    given = scored["baselines"]["sar2opt"]["mean_colour"]
    assert given["psnr"] == pytest.approx(np.mean(wanted), abs=1e-3)


def test_a_model_does_not_see_what_the_walk_hides(data: Path, bundle: str) -> None:
    model = open_bundle(bundle).load()
    window = make_window()
    brighter = replace(window, cloudy=torch.where(window.made, -0.3, window.cloudy))
    np.testing.assert_array_equal(restore(model, [window]), restore(model, [brighter]))


def test_the_product_keeps_seen_pixels() -> None:
    window = make_window()
    candidate = np.zeros((3, 256, 256), np.float32)
    product = keep_seen(candidate, window)
    seen: BoolArray = ~window.made.numpy()[0]
    assert np.abs(product - window.truth.numpy())[:, seen].max() < 2.1e-4
    assert np.abs(product - 1)[:, ~seen].min() > 0.1


def test_pixels_under_cloud_are_judged_apart(data: Path, bundle: str) -> None:
    """The cloudy picture as it is has its error under cloud and none elsewhere."""
    skies = CloudSettings(cover=(0.3, 0.3), overcast=0.0, shadow_light=(1.0, 1.0))
    figures = evaluate(data, bundle, replace(SETTINGS, clouds=skies), Silent())
    cloudy = figures["baselines"]["cloud_removal"]["cloudy"]
    assert cloudy["psnr_clear"] > 30 > 15 > cloudy["psnr_cloudy"] > cloudy["psnr_opaque"]


def test_intervals_come_from_blocks_not_pictures() -> None:
    """Eight equal pictures a block: as uncertain as one picture a block."""
    values = [10.0, 12.0, 17.0]
    alone = summarise([{"psnr": v} for v in values], list("abc"), seed=0)
    eight = [{"psnr": value} for value in values for _ in range(8)]
    many = summarise(eight, [block for block in "abc" for _ in range(8)], seed=0)
    assert alone["psnr"] == many["psnr"] == 13
    assert alone["interval"] == many["interval"]
    low, high = alone["interval"]["psnr"]
    assert low < 11 < 15 < high


def test_a_figure_that_no_picture_has_is_left_out() -> None:
    one: dict[str, float] = {"psnr": 10.0, "psnr_cloudy": float("nan")}
    assert set(summarise([one, one], ["a", "b"], seed=0)) == {"psnr", "n", "interval"}


def test_neighbours_make_a_block() -> None:
    def pair(scene: str, name: str, side: int) -> Pair:
        radar = np.zeros((1, side, side + 8), np.float16)
        return Pair(
            name=name, scene=scene, kind="sen12", radar=radar, optical=radar,
            low_dn=np.zeros(3, np.float32), high_dn=np.ones(3, np.float32),
        )  # fmt: skip

    patches = [pair("a", f"p{i}", 256) for i in range(9)]
    unit, blocks = find_blocks(patches)
    assert unit == "block"
    assert [blocks.count(block) for block in dict.fromkeys(blocks)] == [4, 4, 1]
    large = [pair("b", "t0", 1024), pair("b", "t0", 1024), pair("b", "t1", 1024)]
    assert find_blocks(large)[1][0] == find_blocks(large)[1][1] != find_blocks(large)[1][2]
    assert find_blocks([pair(str(i), "p", 256) for i in range(5)])[0] == "scene"


def test_baseline_has_no_sar2opt(data: Path) -> None:
    figures = evaluate(data, "baseline", SETTINGS, Silent())
    assert "sar2opt" not in figures
    same = figures["baselines"]["cloud_removal"]["baseline"]
    assert figures["cloud_removal"] == same


def test_sheet_shows_a_row_a_picture(data: Path, bundle: str, tmp_path: Path) -> None:
    evaluate(data, bundle, SETTINGS, Silent(), sheet=tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size == (6 * 192, 2 * 192)


@pytest.mark.parametrize("kind", ["missing", "empty", "small"])
def test_folders_that_cannot_be_judged_are_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "pairs"
    if kind != "missing":
        folder.mkdir()
    if kind == "small":
        write_pairs(folder, range(1, 2), side=128)
    with pytest.raises(RequestError, match="pairs"):
        evaluate(folder, "baseline", SETTINGS, Silent())


@pytest.mark.parametrize(
    "wrong", [["--cover", "a"], ["--cover", "0.9,0.2"], ["--data", "nowhere"], ["--model", "none"]]
)
def test_wrong_input_is_one_line(
    data: Path, wrong: list[str], cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, complaint = cloudfree("evaluate", "--data", data, *wrong)
    assert code == 2
    assert len(complaint.strip().splitlines()) == 1
