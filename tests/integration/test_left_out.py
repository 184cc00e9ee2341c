"""One bad item or file is left out and named, and the next best is taken, or is read elsewhere."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, make, open_raw, summary
from tests.servers.faults import Faults
from tests.servers.processes import serve_files

Command = Callable[..., tuple[int, str, str]]
WHOLE_EARTH = [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]]
NEARER = "2024-06-15T09:00:00Z"


@pytest.fixture(scope="module")
def right(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("right") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    return out


@contextmanager
def changed(scenes: SyntheticScenes, path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Give the items by collection, with whole links, and write what they have become."""
    document = json.loads(scenes.items.read_text())
    for one in document["features"]:
        for asset in one["assets"].values():
            asset["href"] = str((scenes.items.parent / asset["href"]).resolve())
    items = {one["collection"]: one for one in document["features"]}
    yield items
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(items.values())}))


def nearer_radar(items: dict[str, dict[str, Any]]) -> dict[str, Any]:
    radar: dict[str, Any] = json.loads(json.dumps(items["sentinel-1-rtc"]))
    radar["id"], radar["properties"]["datetime"] = "nearer", NEARER
    items["nearer"] = radar
    return radar


def lies_elsewhere(scenes: SyntheticScenes, path: Path) -> Path:
    with rasterio.open(scenes.items.parent / "vv.tif") as file:
        pixels, profile = file.read(1), file.profile
    moved = Affine.translation(200_000, 0) @ profile["transform"]
    with rasterio.open(path, "w", **{**profile, "transform": moved}) as file:
        file.write(pixels, 1)
    return path


@pytest.mark.parametrize("min_seen", ["0.1", "0"])
@pytest.mark.parametrize("damage", ["gone", "no picture", "elsewhere"])
def test_a_radar_file_that_cannot_serve_gives_way_to_the_next(
    cloudfree: Command,
    scenes: SyntheticScenes,
    right: Path,
    tmp_path: Path,
    damage: str,
    min_seen: str,
) -> None:
    file = tmp_path / "vv.tif"
    if damage == "no picture":
        file.write_text("nothing")
    elif damage == "elsewhere":
        lies_elsewhere(scenes, file)
    with changed(scenes, tmp_path / "items.json") as items:
        for asset in nearer_radar(items)["assets"].values():
            asset["href"] = str(file)
    code, printed, _ = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", tmp_path / "items.json",
        "--model", "baseline", "--no-check", "--min-seen", min_seen, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "2024-06-15  left out: " in printed
    assert "of scene nearer at" in printed
    (left_out,) = summary(tmp_path / "out")["left_out"]
    assert left_out["radar"] == ["nearer"]
    assert str(file) in left_out["unreadable"]
    assert "nearer" in (tmp_path / "out" / "report.html").read_text()
    assert_same_pixels(open_raw(right), open_raw(tmp_path / "out"))
    # what was left out stays so on a resume
    code, printed, _ = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", tmp_path / "items.json",
        "--model", "baseline", "--no-check", "--min-seen", min_seen, "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "left out: " in printed


def test_strict_settings_refuse_a_radar_file_that_is_gone(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    with changed(scenes, tmp_path / "items.json") as items:
        for asset in nearer_radar(items)["assets"].values():
            asset["href"] = str(tmp_path / "gone.tif")
    (tmp_path / "run.toml").write_text("[catalog]\nstrict = true\n")
    code, _, complaint = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", tmp_path / "items.json",
        "--config", tmp_path / "run.toml", "--model", "baseline", "--no-check",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "cannot read vv of scene nearer" in complaint.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_footprint_around_the_earth_is_named_by_the_plan(
    cloudfree: Command, scenes: SyntheticScenes, right: Path, tmp_path: Path
) -> None:
    with changed(scenes, tmp_path / "items.json") as items:
        nearer_radar(items)["geometry"]["coordinates"] = WHOLE_EARTH
    asked = ["--aoi", scenes.aoi, "--date", scenes.date, "--stac", tmp_path / "items.json"]
    code, printed, _ = cloudfree("plan", *asked, "--model", "baseline")
    assert code == 0
    assert "nearer cannot be used" in printed
    assert "510 million km2, more than any scene" in printed
    make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=tmp_path / "items.json")
    assert_same_pixels(open_raw(right), open_raw(tmp_path / "out"))


def test_where_the_main_link_cannot_be_read_an_alternate_is(
    scenes: SyntheticScenes, right: Path, tmp_path: Path
) -> None:
    with serve_files(scenes.items.parent, Faults()) as server:
        with changed(scenes, tmp_path / "items.json") as items:
            for one in items.values():
                for asset in one["assets"].values():
                    name = Path(asset["href"]).name
                    asset["alternate"] = {
                        "gone": {"href": str(tmp_path / "gone.tif")},
                        "https": {"href": f"{server.files}/{name}"},
                    }
                    asset["href"] = f"http://127.0.0.1:9/{name}"
        make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=tmp_path / "items.json")
    assert_same_pixels(open_raw(right), open_raw(tmp_path / "out"))


def test_where_no_link_can_be_read_the_main_one_is_named(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    with changed(scenes, tmp_path / "items.json") as items:
        for asset in items["sentinel-2-l2a"]["assets"].values():
            asset["alternate"] = {"other": {"href": str(tmp_path / "other.tif")}}
            asset["href"] = str(tmp_path / "main.tif")
    code, _, complaint = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", tmp_path / "items.json",
        "--model", "baseline", "--no-check", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert str(tmp_path / "main.tif") in complaint
    assert "other.tif" not in complaint


def test_a_scene_of_unknown_offset_that_cannot_be_read_is_left_out(
    cloudfree: Command, scenes: SyntheticScenes, right: Path, tmp_path: Path
) -> None:
    with changed(scenes, tmp_path / "items.json") as items:
        broken = json.loads(json.dumps(items["sentinel-2-l2a"]))
        broken["id"], broken["properties"]["datetime"] = "broken", "2024-06-16T10:20:31Z"
        del broken["properties"]["s2:processing_baseline"]
        broken["assets"]["B03"]["href"] = str(tmp_path / "gone.tif")
        items["broken"] = broken
    code, printed, _ = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", "2024-06-15/2024-06-16",
        "--stac", tmp_path / "items.json", "--model", "baseline", "--no-check",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "2024-06-16  left out: cannot read B03 of scene broken" in printed
    assert_same_pixels(open_raw(right), open_raw(tmp_path / "out"))


def test_an_item_may_say_that_nodata_is_no_number(
    scenes: SyntheticScenes, right: Path, tmp_path: Path
) -> None:
    with changed(scenes, tmp_path / "items.json") as items:
        for name in ("B02", "B03", "B04"):
            asset = items["sentinel-2-l2a"]["assets"][name]
            with rasterio.open(asset["href"]) as file:
                numbers, profile = file.read(1), file.profile
            asset["href"] = str(tmp_path / f"{name}.tif")
            asset["raster:bands"] = [{"nodata": "nan", "scale": 1, "offset": 0}]
            reflectance = np.where(numbers == 0, np.nan, (numbers - 1000.0) * 1e-4)
            with rasterio.open(
                asset["href"], "w", **{**profile, "dtype": "float64", "nodata": None}
            ) as file:
                file.write(reflectance, 1)
    make(tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=tmp_path / "items.json")
    said = {s["id"]: s.get("stored") for s in summary(tmp_path / "out")["scenes"]}
    assert said[items["sentinel-2-l2a"]["id"]]["B02"]["nodata"] == "nan"
    np.testing.assert_array_equal(
        open_raw(tmp_path / "out").reflectance.where(open_raw(right).source == 1),
        open_raw(right).reflectance.where(open_raw(right).source == 1),
    )
