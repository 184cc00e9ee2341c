"""The self-check and the uncertainty, through the walk: what is stated against what is true."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from cloudfree.core.config import RunSettings
from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED
from cloudfree.core.tables import build
from cloudfree.demo import run_demo
from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests.gans import write_tiny_gans
from tests.integration.products import assert_same_pixels, make, open_raw

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def scenes(small_scenes: SyntheticScenes) -> SyntheticScenes:
    """Small ones."""
    return small_scenes


def request(scenes: SyntheticScenes) -> dict[str, Any]:
    return {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items}


def figures(out: Path) -> Any:
    return json.loads((out / "run.json").read_text())["check"]


@pytest.mark.slow
def test_a_check_changes_no_pixel_and_is_kept_by_a_resumed_run(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    plain, checked = tmp_path / "plain", tmp_path / "checked"
    make(plain, **request(scenes))
    make(checked, **request(scenes), places=3)
    assert figures(plain) is None
    first = figures(checked)
    assert first["places"] == 2  # a quarter of the area would be less
    assert set(first["models"]) == {"baseline", "inpainting"}
    assert first["pixels"] > 1000
    assert_same_pixels(open_raw(plain), open_raw(checked))
    (checked / "run.json").unlink()
    next((checked / "ledger" / "marks").glob("*.json")).unlink()
    make(checked, **request(scenes), places=0)
    assert figures(checked) == first
    elsewhere = tmp_path / "elsewhere"
    make(elsewhere, **request(scenes), places=3, workers=2)
    assert {**figures(elsewhere), "seconds": 0} == {**first, "seconds": 0}
    item = pystac.Item.from_file(str(checked / f"{scenes.date}_item.json"))
    assert item.properties["cloudfree:check"] == first


@pytest.mark.parametrize(
    ("days", "kind", "maker"), [(0, RECONSTRUCTED, "baseline"), (75, OTHER_DAYS, "other days")]
)
def test_the_stated_error_is_about_the_true_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kind: int, maker: str
) -> None:
    smaller = partial(write_scenes, size_px=512)
    monkeypatch.setitem(run_demo.__globals__, "write_scenes", smaller)
    wanted = {"restoration": {"model": "baseline"}, "references": {"days": days}}
    demo = run_demo(tmp_path, seed=2, settings=build(RunSettings, wanted, "test"))
    check = demo.outcome.summary["check"]
    stated = (check["other_days"] if kind == OTHER_DAYS else check)["models"][maker]["psnr_db"]
    true = demo.psnr_db_by_source
    assert stated == pytest.approx(true[kind], abs=4)
    assert min(true.values()) <= demo.psnr_db <= max(true.values())
    assert set(true) <= ({RECONSTRUCTED} if days == 0 else {OTHER_DAYS, RECONSTRUCTED})
    assert kind == RECONSTRUCTED or demo.psnr_db > demo.mean_colour_psnr_db + 10


@pytest.fixture(scope="module")
def gans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gans")
    write_tiny_gans(folder)
    return folder


@pytest.fixture(scope="module")
def uncertain(
    scenes: SyntheticScenes, gans: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("uncertain") / "out"
    make(out, **request(scenes), model=str(gans), places=2, uncertainty={"write": True})
    return out


def uncertainty(out: Path) -> np.ndarray:
    cube = xr.open_zarr(out / "cube.zarr", consolidated=False, mask_and_scale=False)
    return cube.uncertainty.to_numpy()


def test_made_pixels_have_an_uncertainty_and_others_none(uncertain: Path) -> None:
    raw, layer = open_raw(uncertain), uncertainty(uncertain)
    made = raw.source.to_numpy() == 2
    assert made.any()
    assert (layer[made] > 0).all()
    assert (layer[~made] == 0).all()
    assert len(np.unique(layer[made])) > 20
    curve = figures(uncertain)["calibration"]
    assert len(curve["expected"]) == len(curve["true"]) == 10
    decoded = xr.open_zarr(uncertain / "cube.zarr").uncertainty
    assert float(decoded.max()) == pytest.approx(layer.max() * 1e-4, rel=1e-4)


@pytest.mark.slow
def test_the_uncertainty_does_not_depend_on_the_chunks_nor_changes_pixels(
    scenes: SyntheticScenes, gans: Path, uncertain: Path, tmp_path: Path
) -> None:
    cut, plain = tmp_path / "cut", tmp_path / "plain"
    asked = {**request(scenes), "model": str(gans)}
    make(cut, **asked, places=2, uncertainty={"write": True}, chunk_px=256)
    make(plain, **asked)
    np.testing.assert_array_equal(uncertainty(uncertain), uncertainty(cut))
    assert_same_pixels(open_raw(uncertain), open_raw(plain))


def test_the_uncertainty_is_exported_and_described(
    scenes: SyntheticScenes, uncertain: Path
) -> None:
    with rasterio.open(uncertain / f"{scenes.date}_uncertainty.tif") as file:
        assert file.scales == (1e-4,)
        assert file.nodata == 0
        np.testing.assert_array_equal(file.read(1), uncertainty(uncertain)[0])
    item = pystac.Item.from_file(str(uncertain / f"{scenes.date}_item.json"))
    asset = item.assets["uncertainty"]
    assert asset.href == f"./{scenes.date}_uncertainty.tif"
    assert item.properties["renders"]["uncertainty"]["rescale"] == [
        [0, uncertainty(uncertain).max()]
    ]
    assert "uncertainty" in {band["name"] for band in item.assets["cube"].extra_fields["bands"]}


def test_doubtful_pixels_can_be_left_out(
    scenes: SyntheticScenes, gans: Path, uncertain: Path, tmp_path: Path
) -> None:
    layer = uncertainty(uncertain)
    limit = float(np.median(layer[layer > 0])) * 1e-4
    out = tmp_path / "out"
    doubt = {"write": True, "max": limit}
    make(out, **request(scenes), model=str(gans), places=2, uncertainty=doubt)
    before, after = open_raw(uncertain).source.to_numpy(), open_raw(out).source.to_numpy()
    doubtful = layer > limit / 1e-4
    assert doubtful.any()
    np.testing.assert_array_equal(after, np.where(doubtful, 3, before))
    assert (open_raw(out).reflectance.to_numpy()[:, :, doubtful[0]] == 0).all()
    assert uncertainty(out).max() <= limit / 1e-4


def test_a_product_of_which_all_that_was_made_is_doubtful_is_finished(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make(out, **request(scenes), places=2, uncertainty={"write": True, "max": 1e-4})
    assert 2 not in open_raw(out).source.to_numpy()
    assert pystac.Item.from_file(str(out / f"{scenes.date}_item.json")).assets["uncertainty"]


def test_wrong_requests_of_uncertainty_are_refused_in_one_line(
    scenes: SyntheticScenes, cloudfree: Command, tmp_path: Path
) -> None:
    options = ("run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
               "--model", "baseline", "--out", tmp_path / "out")  # fmt: skip
    for more, words in (
        (("--uncertainty", "--no-check"), "calibrated on the self-check"),
        (("--max-uncertainty", "7"), "give a reflectance"),
    ):
        code, _, complaint = cloudfree(*options, *more)
        assert code == 2
        assert words in complaint
        assert len(complaint.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
