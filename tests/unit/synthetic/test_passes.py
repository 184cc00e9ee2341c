"""Other passes over a synthetic place: the same ground on other days, with oddities on request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from scipy import ndimage

from cloudfree.synthetic.items import BANDS
from cloudfree.synthetic.landscape import LOOK, Day, paint_days, paint_landscape
from cloudfree.synthetic.scenes import Pass, SyntheticScenes, write_scenes

SIZE_PX = 256
HEIGHT, WIDTH = 192, 256
PASSES = (Pass(days=-10, cloud_share=0.1), Pass(days=5, cloud_share=0.4))
BEFORE, AFTER = "2024-06-05", "2024-06-20"
CLEAR, WATER, CLOUDS, SNOW = (4, 5), 6, (8, 9, 10), 11


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    return write(tmp_path_factory.mktemp("scenes"), *PASSES)


def write(folder: Path, *passes: Pass) -> SyntheticScenes:
    return write_scenes(folder, seed=1, size_px=SIZE_PX, passes=passes)


def read(scenes: SyntheticScenes, day: str = "") -> np.ndarray:
    files = [scenes.items.parent / day / f"{band}.tif" for band in BANDS]
    return np.stack([rasterio.open(file).read(1) for file in files]).astype(np.float64)


def read_scl(scenes: SyntheticScenes, day: str = "") -> np.ndarray:
    """Scene classification, repeated onto the grid of the bands."""
    scl = rasterio.open(scenes.items.parent / day / "SCL.tif").read(1)
    return np.asarray(scl.repeat(2, 0).repeat(2, 1))


def test_passes_change_nothing_in_the_two_scenes(scenes: SyntheticScenes, tmp_path: Path) -> None:
    alone = write(tmp_path)
    land = paint_landscape(np.random.default_rng(1), (HEIGHT, WIDTH))
    wedge = read_scl(scenes) == 0
    shown = np.where(wedge, 0, np.rint(10_000 * land.cloudy + 1000))
    np.testing.assert_array_equal(read(scenes), shown)
    files = [file for file in tmp_path.iterdir() if file.suffix != ".json"]
    assert len(files) == 9
    for file in files:
        assert file.read_bytes() == (scenes.items.parent / file.name).read_bytes(), file.name
    with_passes, without = (
        json.loads(one.items.read_text(encoding="utf-8"))["features"] for one in (scenes, alone)
    )
    assert with_passes[:2] == without
    assert len(with_passes) == 2 + len(PASSES)


def test_items_of_passes_are_other_datatakes_without_radar(scenes: SyntheticScenes) -> None:
    items = pystac.ItemCollection.from_file(str(scenes.items)).items
    optical = [item for item in items if item.collection_id == "sentinel-2-l2a"]
    assert [str(item.datetime.date()) for item in optical] == [scenes.date, BEFORE, AFTER]
    assert len({item.properties["s2:datatake_id"] for item in optical}) == 3
    assert len(items) == 4
    for item, day in zip(optical, ("", BEFORE, AFTER), strict=True):
        scl = read_scl(scenes, day)
        share = np.isin(scl, CLOUDS).sum() / (scl > 0).sum()
        assert item.properties["eo:cloud_cover"] == pytest.approx(100 * share, abs=0.01)
        for asset in item.assets.values():
            assert (scenes.items.parent / asset.href).is_file()
    before, after = (item.properties["eo:cloud_cover"] for item in optical[1:])
    assert before + 10 < after


@pytest.mark.parametrize("day", [BEFORE, AFTER])
def test_a_pass_shows_the_same_place_in_another_state(scenes: SyntheticScenes, day: str) -> None:
    clear = np.isin(read_scl(scenes), CLEAR) & np.isin(read_scl(scenes, day), CLEAR)
    now, then = read(scenes)[:, clear], read(scenes, day)[:, clear]
    assert clear.mean() > 0.1
    for band in range(len(BANDS)):
        assert 0.8 < np.corrcoef(now[band], then[band])[0, 1] < 0.999
    clouds = [np.isin(read_scl(scenes, one), CLOUDS) for one in ("", day)]
    assert (clouds[0] != clouds[1]).mean() > 0.1


def test_some_fields_change_and_stay_so() -> None:
    shares = (0.0, 0.15, 0.3, -0.3)
    days = [Day(look=LOOK, cloud_share=0, changed=share) for share in shares]
    lands = list(paint_days(np.random.default_rng(4), (HEIGHT, WIDTH), days))
    same, few, many, others = ((land.clear != lands[0].clear).any(0) for land in lands)
    assert not same.any()
    assert 0.03 < few.mean() < 0.2  # of fields, and half of the ground is forest, town or water
    assert many.mean() > 1.5 * few.mean()
    assert not (few & ~many).any()
    inner, elsewhere = (ndimage.binary_erosion(one, iterations=3) for one in (many, others))
    assert (inner & elsewhere).sum() < 0.05 * elsewhere.sum()  # colours are blurred at borders
    vv_db = [10 * np.log10(land.power[0]) for land in lands]
    change_db = abs(ndimage.uniform_filter(vv_db[2] - vv_db[0], 5))
    assert change_db[inner].mean() > change_db[~many].mean() + 0.2


def test_gain_and_offset_are_of_the_stored_numbers_of_one_pass(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    other = write(tmp_path, replace(PASSES[0], gain=1.3, offset_dn=500), PASSES[1])
    before, after = read(scenes, BEFORE), read(scenes, AFTER)
    np.testing.assert_array_equal(read(other, AFTER), after)
    brighter = read(other, BEFORE)
    np.testing.assert_array_equal(brighter == 0, before == 0)
    seen = before > 0
    assert abs(brighter - (1.3 * before + 500))[seen].max() <= 1.2  # both were rounded
    np.testing.assert_array_equal(read_scl(other, BEFORE), read_scl(scenes, BEFORE))


def test_a_missed_cloud_is_the_largest_and_shows(scenes: SyntheticScenes, tmp_path: Path) -> None:
    other = write(tmp_path, PASSES[0], replace(PASSES[1], cloud_missed=True))
    known, found = (read_scl(one, AFTER) for one in (scenes, other))
    missed = known != found
    assert np.isin(known[missed], CLOUDS).all()
    assert set(np.unique(found[missed])) == {4}
    left = ndimage.label(np.isin(found, CLOUDS))[0]
    assert missed.sum() > np.bincount(left.ravel())[1:].max()
    np.testing.assert_array_equal(read(other, AFTER), read(scenes, AFTER))


def test_a_clear_pass_has_no_cloud_to_miss(tmp_path: Path) -> None:
    other = write(tmp_path, Pass(days=5, cloud_share=0, cloud_missed=True))
    assert {4, 5, WATER} <= set(np.unique(read_scl(other, AFTER)))


def test_snow_is_bright_and_the_classification_knows_it(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    other = write(tmp_path, replace(PASSES[0], snow=True), PASSES[1])
    scl, snowy = read_scl(other, BEFORE), read(other, BEFORE)
    assert (scl == SNOW).mean() > 0.4
    assert not np.isin(scl, CLEAR).any()
    assert np.percentile(snowy[0, scl == SNOW], 5) > 5000
    assert np.median(snowy[0, scl == WATER]) < 2000
    np.testing.assert_array_equal(read(other, AFTER), read(scenes, AFTER))


@pytest.mark.parametrize("days", [(0,), (5, -3, 5)])
def test_passes_of_one_day_are_refused(days: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a day of its own"):
        write(tmp_path, *(Pass(days=one) for one in days))
