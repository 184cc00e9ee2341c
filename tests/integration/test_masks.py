"""What is hidden, through the command line: classes, detector, a user's file, too little seen."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr

from cloudfree.pixels.masks import CLEAR, CLOUDY, DEFECTIVE, DILATED, SHADOW, dilate
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, open_raw, read_exactly, summary

Command = Callable[..., tuple[int, str, str]]


def asked(scenes: SyntheticScenes, out: Path, folder: Path | None = None) -> list[str | Path]:
    items = scenes.items if folder is None else folder / "items.json"
    return [
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", items, "--out", out,
        "--no-check",
        "--overwrite",
    ]  # fmt: skip


def copied(scenes: SyntheticScenes, folder: Path) -> Path:
    shutil.copytree(scenes.items.parent, folder)
    return folder


def rewrite(path: Path, change: Callable[[np.ndarray], None]) -> None:
    with rasterio.open(path) as file:
        pixels, profile = file.read(1), {**file.profile, "driver": "GTiff", "tiled": False}
    change(pixels)
    for name in ("blockxsize", "blockysize", "interleave"):
        profile.pop(name, None)
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)


def without_classes(scenes: SyntheticScenes, folder: Path) -> Path:
    """Make the optical scene one of Level-1C, which has no SCL."""
    copied(scenes, folder)
    collection = json.loads((folder / "items.json").read_text())
    for item in collection["features"]:
        if item["collection"] == "sentinel-2-l2a":
            item["collection"] = "sentinel-2-l1c"
            del item["assets"]["SCL"]
    (folder / "items.json").write_text(json.dumps(collection))
    (folder / "SCL.tif").unlink()
    return folder


def done(result: tuple[int, str, str]) -> str:
    code, printed, complaint = result
    assert code == 0, complaint
    return printed


def test_defective_pixels_are_made_and_specks_are_seen(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    folder, out = copied(scenes, tmp_path / "scenes"), tmp_path / "out"

    def draw(classes: np.ndarray) -> None:
        classes[classes > 0] = 4
        classes[100:110, 120:125] = 1
        classes[150, 200] = 9  # 400 m2
        classes[170:172, 150:152] = 9  # 1600 m2
        classes[120:124, 170:180] = 11
        classes[130:134, 170:180] = 7

    rewrite(folder / "SCL.tif", draw)
    done(cloudfree(*asked(scenes, out, folder)))
    cube = open_raw(out)
    classes = read_exactly(folder / "SCL.tif", cube)
    source, cloud = cube.source.to_numpy()[0], cube.cloud.to_numpy()[0]
    inside = source > 0
    assert (inside & (classes == 1)).sum() == 200
    np.testing.assert_array_equal(cloud == DEFECTIVE, inside & (classes == 1))
    np.testing.assert_array_equal(cloud == CLOUDY, (classes == 9) & (cloud != CLEAR))
    assert (cloud == CLOUDY).sum() == 16
    assert cube.cloud.attrs["flag_meanings"].split()[DEFECTIVE] == "defective"
    assert (inside & np.isin(classes, (7, 11))).sum() == 320
    grown = dilate(cloud == CLOUDY, 10)
    np.testing.assert_array_equal(source == 1, inside & (classes != 1) & ~grown)
    assert (source[classes == 1] == 2).sum() == 200


def hazy(folder: Path, cube: xr.Dataset) -> np.ndarray:
    blue, red = (
        (read_exactly(folder / f"{band}.tif", cube).astype(float) - 1000) / 1e4
        for band in ("B02", "B04")
    )
    return blue - 0.5 * red > 0.12


@pytest.mark.slow
def test_a_scene_without_classes_gets_a_detector_and_any_cutting_the_same_bits(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    folder = without_classes(scenes, tmp_path / "scenes")
    done(cloudfree(*asked(scenes, tmp_path / "whole", folder)))
    cube = open_raw(tmp_path / "whole")
    source, cloud = cube.source.to_numpy()[0], cube.cloud.to_numpy()[0]
    found = hazy(folder, cube) & (source > 0)
    assert (cloud == CLOUDY).sum() > 10_000
    assert not (cloud == CLOUDY)[~found].any()
    assert (cloud[found] != CLEAR).mean() > 0.99  # the rest are specks
    assert list(summary(tmp_path / "whole")["masks"].values()) == ["thresholds of B02 B04"]
    done(cloudfree(*asked(scenes, tmp_path / "cut", folder), "--chunk-px", "256"))
    assert_same_pixels(cube, open_raw(tmp_path / "cut"))
    # the same detector over a scene that has classes, which then say no more than where it lies
    done(cloudfree(*asked(scenes, tmp_path / "told"), "--mask", "detector"))
    told = open_raw(tmp_path / "told")
    np.testing.assert_array_equal(told.cloud == CLOUDY, cube.cloud == CLOUDY)


def test_bands_of_the_detector_are_read_only_for_it(
    cloudfree: Command, real_scenes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    for path in real_scenes.glob("jiangsu*"):
        (folder / path.name).write_bytes(path.read_bytes())
    shutil.copy(real_scenes / "items.json", folder)
    (folder / "jiangsu_cloudy_B10.tif").unlink()
    arguments = (
        "run", "--aoi", folder / "jiangsu.geojson", "--date", "2018-09-20",
        "--no-check",
        "--stac", folder / "items.json", "--out", tmp_path / "out",
    )  # fmt: skip
    code, _, complaint = cloudfree(*arguments, "--mask", "detector")
    assert code == 2
    assert "B10.tif" in complaint
    done(cloudfree(*arguments))
    assert summary(tmp_path / "out")["masks"] == {"jiangsu-s2-cloudy": "SCL"}


@pytest.fixture
def own_mask(scenes: SyntheticScenes, tmp_path: Path) -> Path:
    """A mask in degrees: a hidden disc in a seen square; nodata, and nothing at all, around it.

    Beside it, for the test's own reading, the same as labels: 1 seen, 2 hidden.
    """
    area = shapely.from_geojson(scenes.aoi.read_text())
    lon, lat = area.centroid.x, area.centroid.y
    step, side = 0.00017, 160
    y, x = np.mgrid[:side, :side] - side / 2
    labels = np.zeros((side, side), np.uint8)
    labels[20:140, 20:140] = 1
    labels[np.hypot(y, x) < 31] = 2
    profile = {
        "driver": "GTiff", "count": 1, "height": side, "width": side, "crs": "EPSG:4326",
        "transform": rasterio.Affine(step, 0, lon - step * side / 2, 0, -step, lat + 0.0136),
    }  # fmt: skip
    with rasterio.open(tmp_path / "labels.tif", "w", dtype="uint8", **profile) as file:
        file.write(labels, 1)
    with rasterio.open(tmp_path / "own.tif", "w", dtype="int16", nodata=-9, **profile) as file:
        file.write(np.array([-9, 0, 40], np.int16)[labels], 1)
    return tmp_path / "own.tif"


@pytest.mark.slow
def test_a_mask_file_overrules_classes_and_any_cutting_gives_the_same_bits(
    cloudfree: Command, scenes: SyntheticScenes, own_mask: Path, tmp_path: Path
) -> None:
    done(cloudfree(*asked(scenes, tmp_path / "whole"), "--mask", own_mask))
    done(cloudfree(*asked(scenes, tmp_path / "plain")))
    cube, plain = open_raw(tmp_path / "whole"), open_raw(tmp_path / "plain")
    inside = cube.source.to_numpy()[0] > 0
    drawn = read_exactly(tmp_path / "labels.tif", cube)
    classes = read_exactly(scenes.items.parent / "SCL.tif", cube)
    cloud, before = cube.cloud.to_numpy()[0], plain.cloud.to_numpy()[0]
    hidden = inside & (drawn == 2)
    assert hidden.sum() > 500
    assert np.isin(cloud[hidden], (CLOUDY, SHADOW)).all()
    cleared = inside & (drawn == 1) & np.isin(classes, (3, 8, 9, 10))
    assert cleared.sum() > 500
    assert np.isin(cloud[cleared], (CLEAR, DILATED)).all()
    far = inside & (drawn == 0) & ~dilate(drawn > 0, 11)
    assert far.sum() > 10_000
    assert (before[far] != CLEAR).sum() > 1000
    np.testing.assert_array_equal(cloud[far], before[far])
    done(cloudfree(*asked(scenes, tmp_path / "cut"), "--mask", own_mask, "--chunk-px", "256"))
    assert_same_pixels(cube, open_raw(tmp_path / "cut"))


@pytest.mark.slow
def test_a_mask_files_content_is_part_of_the_request(
    cloudfree: Command, scenes: SyntheticScenes, own_mask: Path, tmp_path: Path
) -> None:
    command = [*asked(scenes, tmp_path / "out"), "--mask", own_mask]
    command.remove("--overwrite")
    done(cloudfree(*command))
    elsewhere = tmp_path / "same.tif"
    shutil.copy(own_mask, elsewhere)
    command[-1] = elsewhere
    assert "were done before" in done(cloudfree(*command))
    rewrite(elsewhere, lambda pixels: pixels.__setitem__((5, 5), 40))
    code, _, complaint = cloudfree(*command)
    assert code == 2
    assert "settings.masks.source" in complaint


@pytest.mark.slow
def test_polygons_hide_what_they_hold(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    area = shapely.from_geojson(scenes.aoi.read_text())
    spot = shapely.Point(area.centroid).buffer(0.008, quad_segs=7)
    file = tmp_path / "own.geojson"
    file.write_text(shapely.to_geojson(spot))
    for name, chunk in (("whole", "2048"), ("cut", "256")):
        done(cloudfree(*asked(scenes, tmp_path / name), "--mask", file, "--chunk-px", chunk))
    cube = open_raw(tmp_path / "whole")
    inside, cloud = cube.source.to_numpy()[0] > 0, cube.cloud.to_numpy()[0]
    crs = pyproj.CRS(cube.spatial_ref.attrs["crs_wkt"])
    x, y = np.meshgrid(cube.x.to_numpy(), cube.y.to_numpy())
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    hidden = np.isin(cloud, (CLOUDY, SHADOW))
    np.testing.assert_array_equal(hidden, inside & shapely.contains_xy(spot, lon, lat))
    assert hidden.sum() > 5_000
    assert_same_pixels(cube, open_raw(tmp_path / "cut"))


def test_a_mask_that_shows_the_ground_is_named_with_its_share_and_turned_round(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    shown = tmp_path / "shown.tif"
    with rasterio.open(scenes.items.parent / "SCL.tif") as file:
        ground = np.isin(file.read(1), (2, 4, 5, 6, 7, 11)).astype(np.uint8)
        place = {"crs": file.crs, "transform": file.transform}
    height, width = ground.shape
    with rasterio.open(
        shown, "w", driver="GTiff", count=1, height=height, width=width, dtype="uint8", **place
    ) as file:
        file.write(ground, 1)
    command = (*asked(scenes, tmp_path / "out"), "--model", "baseline", "--min-seen", "0.2")
    code, _, complaint = cloudfree(*command, "--mask", shown)
    assert code == 2
    line = next(text for text in complaint.splitlines() if text.startswith("cloudfree: "))
    share = float(re.search(r"hides (\d+\.\d\d)% of the area", line)[1])
    turn = shlex.split(re.search(r"turn it round: (rio .*); or", line)[1])
    rio = Path(sys.executable).parent / turn[0]
    subprocess.run([rio, *turn[1:]], cwd=tmp_path, check=True, timeout=120)
    done(cloudfree(*command, "--mask", tmp_path / "mask.tif"))
    cube = open_raw(tmp_path / "out")
    seen, cloud = cube.source.to_numpy()[0] == 1, cube.cloud.to_numpy()[0]
    assert read_exactly(shown, cube)[seen].all()
    crs = pyproj.CRS(cube.spatial_ref.attrs["crs_wkt"])
    x, y = np.meshgrid(cube.x.to_numpy(), cube.y.to_numpy())
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    inside = shapely.contains_xy(shapely.from_geojson(scenes.aoi.read_text()), lon, lat)
    assert share == pytest.approx(100 * read_exactly(shown, cube)[inside].mean(), abs=0.02)
    assert (read_exactly(shown, cube)[np.isin(cloud, (CLOUDY, SHADOW))] == 0).all()


def test_plan_names_what_hides_and_reads_nothing(
    cloudfree: Command, scenes: SyntheticScenes, own_mask: Path, tmp_path: Path
) -> None:
    items = tmp_path / "nowhere" / "items.json"
    items.parent.mkdir()
    shutil.copy(scenes.items, items)  # the links now lead nowhere
    command = ("plan", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", items)
    assert "masks    SCL" in done(cloudfree(*command))
    assert "thresholds of B02 B04" in done(cloudfree(*command, "--mask", "detector"))
    assert "own.tif, over SCL" in done(cloudfree(*command, "--mask", own_mask))


FINLAND = ("2019-11-15", "2019-12-15")


def finland(real_scenes: Path, out: Path, date: str) -> tuple[str | Path, ...]:
    return (
        "run", "--aoi", real_scenes / "finland.geojson", "--date", date,
        "--no-check",
        "--stac", real_scenes / "items.json", "--out", out,
    )  # fmt: skip


@pytest.mark.slow
def test_an_interval_loses_the_months_that_show_nothing(
    cloudfree: Command, real_scenes: Path, tmp_path: Path
) -> None:
    command = finland(real_scenes, tmp_path / "out", "2019-09-01/2020-01-31")
    printed = done(cloudfree(*command))
    assert "2019-12-15  left out: shows 6.6" in printed
    facts = summary(tmp_path / "out")
    assert [step["time"][:10] for step in facts["left_out"]] == list(FINLAND)
    assert all(step["seen_share"] < 0.1 for step in facts["left_out"])
    assert open_raw(tmp_path / "out").sizes["time"] == 3
    # a resumed run knows them without looking again
    assert "were done before" in done(cloudfree(*command))
    assert summary(tmp_path / "out")["left_out"] == facts["left_out"]
    done(cloudfree(*command, "--min-seen", "0", "--overwrite"))
    cube = open_raw(tmp_path / "out")
    assert summary(tmp_path / "out")["left_out"] == []
    inside = cube.source.to_numpy() > 0
    shares = (cube.source.to_numpy() == 1).sum((1, 2)) / inside.sum((1, 2))
    stated = [step["seen_share"] for step in facts["left_out"]]
    np.testing.assert_allclose(shares[2:4], stated, atol=1e-4)


def test_a_day_takes_the_next_best_datatake(
    cloudfree: Command, real_scenes: Path, tmp_path: Path
) -> None:
    command = finland(real_scenes, tmp_path / "out", "2019-12-15")
    printed = done(cloudfree(*command, "--optical-days", "40"))
    assert "2020-01-15  radar" in printed
    facts = summary(tmp_path / "out")
    assert [step["optical"] for step in facts["steps"]] == [["finland-2020-01-s2"]]
    assert [step["optical"] for step in facts["left_out"]] == [["finland-2019-12-s2"]]
    asked_for_more = ("--optical-days", "40", "--min-seen", "0.95", "--overwrite")
    code, _, complaint = cloudfree(*command, *asked_for_more)
    assert code == 2
    assert "finland-2020-01-s2 shows 93.2" in complaint
    assert "others looked at: 2" in complaint


def test_a_day_without_a_next_best_says_how_much_is_seen(
    cloudfree: Command, real_scenes: Path, tmp_path: Path
) -> None:
    code, printed, complaint = cloudfree(*finland(real_scenes, tmp_path / "out", "2019-12-15"))
    assert (code, printed) == (2, "")
    line = next(text for text in complaint.splitlines() if text.startswith("cloudfree: "))
    assert "finland-2019-12-s2 shows 6.6" in line
    assert "Lower --min-seen" in line
    assert not (tmp_path / "out").exists()
    done(cloudfree(*finland(real_scenes, tmp_path / "out", "2019-12-15"), "--min-seen", "0.05"))


def test_a_mask_file_is_of_one_overpass(
    cloudfree: Command, real_scenes: Path, tmp_path: Path
) -> None:
    shutil.copy(real_scenes / "finland.geojson", tmp_path / "own.geojson")
    interval = finland(real_scenes, tmp_path / "out", "2019-09-01/2019-10-31")
    code, _, complaint = cloudfree(*interval, "--mask", tmp_path / "own.geojson")
    assert code == 2
    assert "holds 2; give the mask's own day" in complaint
    # all is hidden by it: another day is not taken, for which it was not drawn
    day = finland(real_scenes, tmp_path / "out", "2019-10-15")
    far = ("--optical-days", "40", "--mask", tmp_path / "own.geojson")
    code, _, complaint = cloudfree(*day, *far)
    assert code == 2
    assert "finland-2019-10-s2 shows 0.00%" in complaint
