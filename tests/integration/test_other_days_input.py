"""Other days that are few, odd or many: each does the sensible thing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from cloudfree.core.bands import REFLECTANCE_SCALE, WHITE
from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED
from cloudfree.synthetic.scenes import Pass, SyntheticScenes, read_reflectance, write_scenes
from tests.integration.products import assert_same_pixels, make, open_raw, summary

pytestmark = pytest.mark.slow

BEFORE, AFTER = "2024-06-05", "2024-06-20"
Item = dict[str, Any]
Change = Callable[[Item, Path], None]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    passes = (Pass(days=-10, cloud_share=0.1), Pass(days=5, cloud_share=0.1))
    return write_scenes(tmp_path_factory.mktemp("place"), size_px=384, passes=passes)


@pytest.fixture(scope="module")
def usual(place: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(place, tmp_path_factory.mktemp("usual") / "out")


@pytest.fixture(scope="module")
def alone(place: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(place, tmp_path_factory.mktemp("alone") / "out", days=0)


def run(place: SyntheticScenes, out: Path, *, days: float = 75, date: str = "") -> Path:
    make(out, aoi=place.aoi, date=date or place.date, stac=place.items, references={"days": days})
    return out


def changed(place: SyntheticScenes, folder: Path, day: str, change: Change) -> SyntheticScenes:
    """Return a copy of the place in which the optical item of a day, or its files, are changed."""
    shutil.copytree(place.items.parent, folder)
    items = json.loads((folder / "items.json").read_text())
    for item in items["features"]:
        if item["id"] == f"synthetic-sentinel-2-l2a-{day}":
            change(item, folder)
    (folder / "items.json").write_text(json.dumps(items))
    return replace(place, items=folder / "items.json", truth=folder / "truth.tif")


def rewrite(file: Path, pixels: np.ndarray, **profile: Any) -> None:
    with rasterio.open(file) as source:
        profile = source.profile | {"driver": "GTiff"} | profile
    with rasterio.open(file, "w", **profile) as target:
        target.write(pixels, 1)


def files(item: Item, folder: Path) -> list[Path]:
    return [folder / asset["href"] for asset in item["assets"].values()]


def days_in(out: Path) -> set[int]:
    cube = open_raw(out)
    return set(np.unique(cube.reference_days.to_numpy()[cube.source.to_numpy() == OTHER_DAYS]))


def psnr(out: Path, place: SyntheticScenes) -> float:
    cube = open_raw(out).isel(time=0)
    truth = read_reflectance(place.items.parent, cube).to_numpy()
    error = cube.reflectance.to_numpy() * REFLECTANCE_SCALE - truth
    squared = np.nanmean(error[:, cube.source.to_numpy() == OTHER_DAYS] ** 2)
    return float(10 * np.log10((WHITE * REFLECTANCE_SCALE) ** 2 / squared))


def test_no_other_day_in_reach(place: SyntheticScenes, alone: Path, tmp_path: Path) -> None:
    out = run(place, tmp_path / "out", days=3)
    assert_same_pixels(open_raw(alone), open_raw(out))
    assert summary(out)["pixels"]["other_days"] == 0


def test_days_that_are_all_cloud_though_they_do_not_say_so(
    place: SyntheticScenes, alone: Path, tmp_path: Path
) -> None:
    def cloud(item: Item, folder: Path) -> None:
        with rasterio.open(folder / item["assets"]["SCL"]["href"]) as file:
            classes = file.read(1)
        rewrite(folder / item["assets"]["SCL"]["href"], np.where(classes > 0, 9, 0))

    both = changed(place, tmp_path / "one", BEFORE, cloud)
    both = changed(both, tmp_path / "both", AFTER, cloud)
    assert_same_pixels(open_raw(alone), open_raw(run(both, tmp_path / "out")))


def test_a_day_without_a_band_is_left_out(place: SyntheticScenes, tmp_path: Path) -> None:
    odd = changed(place, tmp_path / "odd", AFTER, lambda item, _: item["assets"].pop("B03"))
    out = run(odd, tmp_path / "out")
    assert days_in(out) == {-10}
    assert any(AFTER in one and "B03" in one for one in summary(out)["warnings"])


def test_a_coarser_day_serves(place: SyntheticScenes, usual: Path, tmp_path: Path) -> None:
    def coarsen(item: Item, folder: Path) -> None:
        for file in files(item, folder):
            if file.stem == "SCL":
                continue
            with rasterio.open(file) as source:
                shape = (source.height // 2, source.width // 2)
                pixels = source.read(1, out_shape=shape, resampling=Resampling.average)
                grid = source.transform
            rewrite(
                file, pixels, height=shape[0], width=shape[1],
                transform=rasterio.Affine(2 * grid.a, 0, grid.c, 0, 2 * grid.e, grid.f),
            )  # fmt: skip

    odd = changed(place, tmp_path / "odd", AFTER, coarsen)
    out = run(odd, tmp_path / "out")
    assert days_in(out) == {-10, 5}
    assert psnr(out, odd) > psnr(usual, place) - 3


def test_another_nodata_and_another_level_serve(
    place: SyntheticScenes, usual: Path, tmp_path: Path
) -> None:
    def mark_otherwise(item: Item, folder: Path) -> None:
        for file in files(item, folder):
            if file.stem != "SCL":
                with rasterio.open(file) as source:
                    pixels = source.read(1)
                rewrite(file, np.where(pixels == 0, 65535, pixels), nodata=65535)

    def top_of_atmosphere(item: Item, folder: Path) -> None:
        item["collection"] = "sentinel-2-l1c"
        for file in files(item, folder):
            if file.stem in ("B02", "B03", "B04"):
                with rasterio.open(file) as source:
                    pixels = source.read(1)
                rewrite(file, np.where(pixels == 0, 0, pixels * 0.9 + 400))

    odd = changed(place, tmp_path / "one", BEFORE, mark_otherwise)
    odd = changed(odd, tmp_path / "both", AFTER, top_of_atmosphere)
    out = run(odd, tmp_path / "out")
    assert days_in(out) == {-10, 5}
    assert psnr(out, odd) == pytest.approx(psnr(usual, place), abs=0.3)


def test_two_passes_of_one_day_both_serve(place: SyntheticScenes, tmp_path: Path) -> None:
    def move(item: Item, _: Path) -> None:
        item["properties"]["datetime"] = f"{AFTER}T10:40:00Z"

    odd = changed(place, tmp_path / "odd", BEFORE, move)
    out = run(odd, tmp_path / "out")
    (found,) = summary(out)["steps"][0]["references"].values()
    assert [one["days"] for one in found] == [5, 5]
    assert open_raw(out).reference_count.max() == 2


def test_dates_of_an_interval_lean_on_each_other(
    place: SyntheticScenes, usual: Path, tmp_path: Path
) -> None:
    out = run(place, tmp_path / "one", date=f"{place.date}/{place.date}")
    assert_same_pixels(open_raw(usual), open_raw(out))
    out = run(place, tmp_path / "both", date=f"{place.date}/{AFTER}")
    steps = summary(out)["steps"]
    days = [[one["days"] for one in next(iter(s["references"].values()))] for s in steps]
    assert days == [[-10, 5], [-15, -5]]
    # numbers of scenes are those of the whole product
    first = open_raw(out).isel(time=[0]).drop_vars("reference_scene")
    assert_same_pixels(open_raw(usual), first)
    made = open_raw(out).source.isel(time=1).isin([OTHER_DAYS, RECONSTRUCTED])
    assert int(made.sum()) > 1000
