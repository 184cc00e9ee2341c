"""The walk end to end on synthetic scenes: exact, and the same however it is cut or killed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401 (the .rio accessor)
import shapely
import xarray as xr
from rio_cogeo.cogeo import cog_validate

from cloudfree.core.contract import Channels
from cloudfree.core.errors import OutputError
from cloudfree.storage.ledger import Ledger
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.gans import write_tiny_gans
from tests.integration.products import (
    assert_same_pixels,
    make,
    open_raw,
    read_exactly,
    summary,
)

OFFSET = -1000
BANDS = ("B04", "B03", "B02")


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed product, in one chunk of 1024 px."""
    out = tmp_path_factory.mktemp("whole") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=1024)
    return out


def test_seen_pixels_are_exact_and_holes_stay_holes(product: Path, scenes: SyntheticScenes) -> None:
    cube = open_raw(product)
    folder = scenes.items.parent
    source = cube.source.to_numpy()[0]
    seen = source == 1
    assert seen.sum() > 10_000
    classes = read_exactly(folder / "SCL.tif", cube)
    for index, band in enumerate(BANDS):
        dn = read_exactly(folder / f"{band}.tif", cube).astype(int)
        product_band = cube.reflectance.to_numpy()[0, index]
        share = (product_band[seen] == np.maximum(dn[seen] + OFFSET, 1)).mean()
        assert share == 1.0
        assert (product_band[source == 0] == 0).all()
        assert (product_band[source == 2] > 0).all()
    assert (source[classes == 0] == 0).all()
    assert (source[classes == 0].size) > 0


def test_a_dark_valid_pixel_stays_valid(scenes: SyntheticScenes, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    with rasterio.open(folder / "SCL.tif") as file:
        classes = file.read(1)
    clear = np.isin(np.kron(classes, np.ones((2, 2), int)), (4, 5, 6))
    rows, cols = np.nonzero(clear)
    pick = slice(None, None, len(rows) // 500)
    for band in BANDS:
        with rasterio.open(folder / f"{band}.tif") as file:
            pixels, profile = file.read(1), file.profile
        pixels[rows[pick], cols[pick]] = 1 if band == "B02" else 7
        with rasterio.open(folder / f"{band}.tif", "w", **profile) as file:
            file.write(pixels, 1)
    out = tmp_path / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=folder / "items.json")
    cube = open_raw(out)
    dark = (cube.reflectance.to_numpy()[0] == 1).all(axis=0)
    assert dark.sum() > 100
    assert (cube.source.to_numpy()[0][dark] == 1).mean() > 0.9


@pytest.mark.parametrize(("chunk_px", "workers"), [(256, 1), (512, 2)])
def test_cutting_and_workers_do_not_change_a_bit(
    product: Path, scenes: SyntheticScenes, tmp_path: Path, chunk_px: int, workers: int
) -> None:
    out = tmp_path / "out"
    outcome = make(
        out,
        aoi=scenes.aoi,
        date=scenes.date,
        stac=scenes.items,
        chunk_px=chunk_px,
        workers=workers,
    )
    assert outcome.chunks_done >= 2
    assert_same_pixels(open_raw(product), open_raw(out))


def test_an_overlapping_area_gives_the_same_pixels(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    area = shapely.from_geojson(scenes.aoi.read_text())
    polygon = shapely.get_parts(area)[0] if area.geom_type == "GeometryCollection" else area
    west, south, east, north = polygon.bounds
    other = shapely.box(west, south, west + 0.6 * (east - west), south + 0.7 * (north - south))
    aoi = tmp_path / "other.geojson"
    aoi.write_text(shapely.to_geojson(other.intersection(polygon)))
    out = tmp_path / "out"
    make(out, aoi=aoi, date=scenes.date, stac=scenes.items, chunk_px=512)
    small, whole = open_raw(out), open_raw(product)
    small, whole = xr.align(small, whole, join="inner")
    shared = (small.source.to_numpy() > 0) & (whole.source.to_numpy() > 0)
    assert shared.sum() > 50_000
    made = shared & (small.source.to_numpy() == 2)
    assert made.sum() > 10_000
    for layer in ("source", "cloud", "optical_scene", "radar_scene"):
        np.testing.assert_array_equal(
            small[layer].to_numpy()[shared], whole[layer].to_numpy()[shared]
        )
    where = np.broadcast_to(shared[:, None], small.reflectance.shape)
    np.testing.assert_array_equal(
        small.reflectance.to_numpy()[where], whole.reflectance.to_numpy()[where]
    )


def test_a_run_killed_with_9_resumes_to_the_same_pixels(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable, "-c", "from cloudfree.cli import entry; entry()",
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--no-check",
        "--model", "baseline",
        "--out", out, "--chunk-px", "256",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 90
    marks = out / "ledger" / "marks"
    while len(list(marks.glob("*.json"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    before = {mark.name: mark.stat().st_mtime_ns for mark in marks.glob("*.json")}
    assert not (out / "run.json").exists()
    outcome = make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=2048)
    assert outcome.chunks_resumed == len(before) >= 2
    assert outcome.chunks_done > outcome.chunks_resumed
    assert all((marks / name).stat().st_mtime_ns == at for name, at in before.items())
    assert_same_pixels(open_raw(product), open_raw(out))


def test_a_run_that_was_begun_on_another_grid_is_not_gone_on_with(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    shutil.copytree(product, tmp_path / "out")
    book = Ledger(storage=open_storage(tmp_path / "out"))
    state = book.read_state()
    assert state is not None
    assert state.pop("crs") == "EPSG:32632"
    for kept, refused in (({"crs": "EPSG:32631"}, True), ({}, False)):  # earlier ones kept none
        book.write_state(state | kept)
        with (
            pytest.raises(OutputError, match="its crs is EPSG:32631, asked is EPSG:32632")
            if refused
            else nullcontext()
        ):
            make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=scenes.items)


def test_the_product_opens_and_agrees_with_itself(product: Path, scenes: SyntheticScenes) -> None:
    cube = xr.open_zarr(product / "cube.zarr", consolidated=False, decode_coords="all")
    raw = open_raw(product)
    with rasterio.open(product / f"{scenes.date}_reflectance.tif") as cog:
        np.testing.assert_array_equal(cog.read(), raw.reflectance.to_numpy()[0])
        assert cog.descriptions == BANDS
        assert cog.crs.to_epsg() == cube.rio.crs.to_epsg() == 32632
        assert cog.transform == cube.rio.transform()
    with rasterio.open(product / f"{scenes.date}_source.tif") as cog:
        np.testing.assert_array_equal(cog.read(1), raw.source.to_numpy()[0])
    for path in product.glob("*.tif"):
        assert cog_validate(path)[0]
    light = cube.reflectance.sel(band="B03").to_numpy()
    assert np.isnan(light[raw.source.to_numpy() == 0]).all()
    assert 0 < np.nanmedian(light) < 0.5
    item = pystac.Item.from_file(str(product / f"{scenes.date}_item.json"))
    assert all((product / asset.href).exists() for asset in item.assets.values())
    assert len([link for link in item.links if link.rel == "derived_from"]) == 2


def test_run_json_repeats_the_run(product: Path, scenes: SyntheticScenes) -> None:
    facts = summary(product)
    raw = open_raw(product)
    assert facts["pixels"]["seen"] == int((raw.source == 1).sum())
    assert facts["pixels"]["reconstructed"] == int((raw.source == 2).sum())
    assert [scene["offset_dn"] for scene in facts["scenes"]] == [OFFSET, 0]
    assert facts["steps"][0]["radar_age_h"] < 0
    assert facts["windows_at_most"] >= facts["windows"]["computed"] > 0
    assert {"cube.load", "masks.cloud_mask", "restoration", "rims.fit_rims"} <= set(
        facts["seconds"]
    )
    assert "?" not in json.dumps(facts["scenes"])


def test_chunks_that_fail_are_named_and_done_by_the_next_run(
    product: Path,
    scenes: SyntheticScenes,
    tmp_path: Path,
    cloudfree: Callable[..., tuple[int, str, str]],
) -> None:
    folder, out = tmp_path / "scenes", tmp_path / "out"
    shutil.copytree(scenes.items.parent, folder)
    command = [
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", folder / "items.json",
        "--no-check",
        "--model", "baseline",
        "--out", out, "--chunk-px", "256",
    ]  # fmt: skip
    assert cloudfree(*command)[0] == 0
    lost = sorted((out / "ledger" / "marks").glob("*.json"))[1:3]
    for mark in lost:
        mark.unlink()
    whole = (folder / "B04.tif").read_bytes()
    (folder / "B04.tif").write_bytes(whole[: len(whole) // 2])
    code, _, complaint = cloudfree(*command)
    assert code == 1
    assert all(f"chunk {mark.stem} failed" in complaint for mark in lost)
    (resume,) = (line for line in complaint.splitlines() if "Resume with: " in line)
    assert "Traceback" not in complaint
    told = json.loads(cloudfree("status", out, "--json")[1])
    assert set(told["failed"]) == {mark.stem for mark in lost}
    assert all("B04.tif" in reason for reason in told["failed"].values())
    (folder / "B04.tif").write_bytes(whole)
    words = shlex.split(resume.partition("Resume with: ")[2])
    assert words[0] == "cloudfree"
    code, printed, _ = cloudfree(*words[1:])
    assert code == 0
    assert "were done before" in printed
    told = json.loads(cloudfree("status", out, "--json")[1])
    assert told["failed"] == {}
    assert told["chunks_done"] == told["chunks"]
    assert_same_pixels(open_raw(product), open_raw(out))


def test_holes_in_a_scene_stay_holes(scenes: SyntheticScenes, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    for name, scale in (("SCL.tif", 2), *((f"{band}.tif", 1) for band in BANDS)):
        with rasterio.open(folder / name) as file:
            pixels, profile = file.read(1), file.profile
        pixels[200 // scale : 260 // scale, 300 // scale : 420 // scale] = 0
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(pixels, 1)
    make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=folder / "items.json")
    cube = open_raw(tmp_path / "out")
    hole = read_exactly(folder / "SCL.tif", cube) == 0
    inside = cube.source.to_numpy()[0] > 0
    assert hole.sum() >= 60 * 120
    assert not (hole & inside).any()
    assert (cube.reflectance.to_numpy()[0][:, hole] == 0).all()


def test_a_step_without_radar_keeps_its_clouds_hidden(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    collection = json.loads(scenes.items.read_text())
    for item in collection["features"]:
        for asset in item["assets"].values():
            asset["href"] = str((scenes.items.parent / asset["href"]).resolve())
    optical = next(i for i in collection["features"] if i["collection"] == "sentinel-2-l2a")
    later = json.loads(json.dumps(optical))
    later["id"], later["properties"]["datetime"] = "later", "2024-07-20T10:20:00Z"
    later["properties"]["s2:datatake_id"] = "later"
    collection["features"].append(later)
    items = tmp_path / "items.json"
    items.write_text(json.dumps(collection))
    make(tmp_path / "out", aoi=scenes.aoi, date="2024-06-01/2024-07-31", stac=items)
    cube, facts = open_raw(tmp_path / "out"), summary(tmp_path / "out")
    assert [step["radar_age_h"] is None for step in facts["steps"]] == [False, True]
    first, second = cube.source.to_numpy()
    np.testing.assert_array_equal(first == 1, second == 1)
    np.testing.assert_array_equal(first == 2, second == 3)
    assert (second == 3).sum() > 10_000
    assert (cube.reflectance.to_numpy()[1][:, second == 3] == 0).all()
    assert (tmp_path / "out" / "2024-07-20_reflectance.tif").is_file()


def test_in_an_overlap_what_any_tile_saw_is_seen(scenes: SyntheticScenes, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    with rasterio.open(folder / "truth.tif") as file:
        bands, profile = file.read(), {**file.profile, "count": 1}
    for band, pixels in zip(sorted(BANDS), bands, strict=False):
        with rasterio.open(folder / f"clear_{band}.tif", "w", **profile) as file:
            file.write(pixels, 1)
    with rasterio.open(folder / "SCL.tif") as file:
        classes, profile = file.read(1), file.profile
    with rasterio.open(folder / "clear_SCL.tif", "w", **profile) as file:
        file.write(np.where(classes == 0, 0, 4).astype(np.uint8), 1)
    collection = json.loads((folder / "items.json").read_text())
    cloudy = next(i for i in collection["features"] if i["collection"] == "sentinel-2-l2a")
    clear = json.loads(json.dumps(cloudy))
    clear["id"] = cloudy["id"] + "-z"  # after the cloudy tile in the fixed order
    cloudy["properties"]["grid:code"] = "MGRS-33TUN"
    clear["properties"]["grid:code"] = "MGRS-33TVN"
    clear["assets"] = {
        name: {**asset, "href": f"./clear_{name}.tif"}
        for name, asset in cloudy["assets"].items()
        if name != "B08"
    }
    collection["features"].append(clear)
    (folder / "items.json").write_text(json.dumps(collection))
    make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=folder / "items.json")
    cube = open_raw(tmp_path / "out")
    source, taken = cube.source.to_numpy()[0], cube.optical_scene.to_numpy()[0]
    assert set(np.unique(source)) == {0, 1}
    assert (taken == 1).sum() > 10_000
    assert (taken == 2).sum() > 10_000
    for index, band in enumerate(BANDS):
        for number, prefix in ((1, ""), (2, "clear_")):
            stored = read_exactly(folder / f"{prefix}{band}.tif", cube).astype(int)
            here = taken == number
            expected = np.maximum(stored[here] + OFFSET, 1)
            np.testing.assert_array_equal(cube.reflectance.to_numpy()[0, index][here], expected)


def test_gans_run_in_the_walk_and_any_cutting_gives_the_same_bits(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    tiny = str(write_tiny_gans(tmp_path / "tiny"))
    request = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items, "model": tiny}
    make(tmp_path / "whole", **request)
    make(tmp_path / "cut", chunk_px=256, **request)
    whole = open_raw(tmp_path / "whole")
    assert (whole.source == 2).sum() > 10_000
    assert summary(tmp_path / "whole")["model"] == "tiny 1"
    assert_same_pixels(whole, open_raw(tmp_path / "cut"))


FOUR = Channels(bands=("B08", "B04", "B02", "B03"), all_polarizations=True)


@pytest.mark.slow
def test_gans_of_four_bands_and_both_polarisations_run_in_the_walk(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    """Whatever the order of the product's bands; VH counts as much as VV, and both are recorded."""
    tiny = str(write_tiny_gans(tmp_path / "tiny", channels=FOUR, inputs=("cloudy", "radar")))
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    request = {"aoi": scenes.aoi, "date": scenes.date, "stac": folder / "items.json", "model": tiny}
    make(tmp_path / "whole", bands=("B02", "B03", "B04", "B08"), **request)
    make(tmp_path / "cut", bands=("B08", "B04", "B02", "B03"), chunk_px=256, **request)
    whole, cut = open_raw(tmp_path / "whole"), open_raw(tmp_path / "cut")
    made = (whole.source == 2).to_numpy()[0]
    assert made.sum() > 10_000
    np.testing.assert_array_equal(whole.source, cut.source)
    np.testing.assert_array_equal(whole.reflectance, cut.reflectance[:, [2, 3, 1, 0]])
    facts = summary(tmp_path / "whole")
    assert facts["steps"][0]["polarizations"] == ["vv", "vh"]
    radar = facts["statistics"][0]["statistics"]["radar"]
    assert len(radar["mean_db"]) == len(radar["std_db"]) == 2
    assert radar["mean_db"][0] > radar["mean_db"][1]

    with rasterio.open(folder / "vh.tif") as file:
        power, profile = file.read(1), file.profile
    hole = np.s_[250:300, 350:450]
    power[hole] = profile["nodata"]
    with rasterio.open(folder / "vh.tif", "w", **profile) as file:
        file.write(power, 1)
    make(tmp_path / "hole", bands=("B02", "B03", "B04", "B08"), **request)
    source = open_raw(tmp_path / "hole").source.to_numpy()[0]
    missing = read_exactly(folder / "vh.tif", whole) == profile["nodata"]
    lost = made & missing & (source == 3)
    assert lost.sum() > 0.9 * (made & missing).sum() > 1000


def test_a_plan_says_both_polarisations_or_what_is_lacking(
    scenes: SyntheticScenes, tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    tiny = write_tiny_gans(tmp_path / "tiny", channels=FOUR, inputs=("cloudy", "radar"))
    collection = json.loads(scenes.items.read_text())
    command = ["plan", "--aoi", scenes.aoi, "--date", scenes.date, "--model", tiny]
    bands = ["--bands", ",".join(FOUR.bands)]
    code, printed, _ = cloudfree(*command, "--stac", scenes.items, *bands)
    assert code == 0
    assert "(VV and VH, 17.2 h before)" in printed
    plans = [
        json.loads(cloudfree(*command, "--stac", scenes.items, *bands, "--json", *more)[1])
        for more in ([], ["--model", "baseline"])
    ]
    both, one = (plan["read_bytes"] for plan in plans)
    assert both * (2 * 4 + 1 + 4) == one * (2 * 4 + 1 + 4 + 4)  # two a band, one for SCL
    for item in collection["features"]:
        item["assets"].pop("vh", None)
    (tmp_path / "items.json").write_text(json.dumps(collection))
    for stac, more, hint in (
        (tmp_path / "items.json", bands, "no radar scene of sentinel-1-rtc with VV and VH within"),
        (scenes.items, [], "restores bands B08, B04, B02, B03; the run asks for B04, B03, B02"),
    ):
        code, _, complaint = cloudfree(*command, "--stac", stac, *more)
        assert code == 2
        (line,) = complaint.strip().splitlines()
        assert hint in line


def test_a_bundle_that_was_replaced_is_loaded_anew(scenes: SyntheticScenes, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny"
    request = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items, "model": str(tiny)}
    write_tiny_gans(tiny)
    make(tmp_path / "first", **request)
    write_tiny_gans(tiny, seed=4)
    make(tmp_path / "second", **request)
    first, second = open_raw(tmp_path / "first"), open_raw(tmp_path / "second")
    made = np.broadcast_to((first.source == 2).to_numpy()[:, None], first.reflectance.shape)
    differs = first.reflectance.to_numpy() != second.reflectance.to_numpy()
    assert differs[made].mean() > 0.5
    assert not differs[~made].any()
