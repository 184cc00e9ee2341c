"""Hidden pixels made of other days, through whole runs on a painted place of many days."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import xarray as xr

from cloudfree.core.bands import REFLECTANCE_SCALE, WHITE
from cloudfree.core.config import ReferenceSettings, RunSettings
from cloudfree.core.errors import OutputError
from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED, SEEN
from cloudfree.planning.plan import Plan, Request, make_plan
from cloudfree.product.layers import NO_DAYS
from cloudfree.storage.ledger import Ledger
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.scenes import SyntheticYear, read_reflectance, write_year
from tests.integration.products import assert_same_pixels, make, open_raw, summary

DAY = "2024-06-27"
DAYS = ("2024-05-10", "2024-06-03", DAY, "2024-07-21", "2024-08-14")
OTHERS = {"days": 75}


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> SyntheticYear:
    return write_year(tmp_path_factory.mktemp("year"), size_px=512, days=DAYS, cloud_share=0.12)


@pytest.fixture(scope="module")
def product(year: SyntheticYear, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("product") / "out"
    make(out, aoi=year.aoi, date=DAY, stac=year.items, references=OTHERS, places=4)
    return out


def psnr(out: Path, year: SyntheticYear, code: int) -> float:
    cube = open_raw(out).isel(time=0)
    truth = read_reflectance(year.items.parent / DAY, cube).to_numpy()
    error = cube.reflectance.to_numpy() * REFLECTANCE_SCALE - truth
    squared = np.nanmean(error[:, cube.source.to_numpy() == code] ** 2)
    return float(10 * np.log10((WHITE * REFLECTANCE_SCALE) ** 2 / squared))


def test_other_days_are_far_closer_than_radar(
    product: Path, year: SyntheticYear, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    make(alone, aoi=year.aoi, date=DAY, stac=year.items)
    assert psnr(product, year, OTHER_DAYS) > psnr(alone, year, RECONSTRUCTED) + 5
    seen = open_raw(alone).source == SEEN
    np.testing.assert_array_equal(
        open_raw(alone).reflectance.where(seen, 0), open_raw(product).reflectance.where(seen, 0)
    )


def test_layers_say_what_a_pixel_was_made_of(product: Path) -> None:
    cube = open_raw(product).isel(time=0)
    made = (cube.source == OTHER_DAYS).to_numpy()
    scene, days, count = (
        cube[f"reference_{name}"].to_numpy() for name in ("scene", "days", "count")
    )
    assert made.any()
    for layer, nothing in ((scene, 0), (days, NO_DAYS), (count, 0)):
        assert ((layer != nothing) == made).all()
    names = json.loads((product / "cube.zarr" / "zarr.json").read_text())["attributes"]
    assert len(names["reference_scenes"]) == 4
    of_day = {"05-10": -48, "06-03": -24, "07-21": 24, "08-14": 48}
    for index, name in enumerate(names["reference_scenes"], 1):
        assert set(days[scene == index]) <= {of_day[name[-5:]]}
    assert {-24, 24} <= set(days[made])
    assert count.max() <= 4


def test_the_check_tells_both_kinds_apart(product: Path) -> None:
    check = summary(product)["check"]
    assert list(check["models"]) == ["baseline", "inpainting"]
    of_others = check["other_days"]
    assert list(of_others["models"])[:3] == ["other days", "closest", "line"]
    best = of_others["models"]["other days"]["psnr_db"]
    assert best > max(one["psnr_db"] for one in list(of_others["models"].values())[1:])
    assert 24 <= of_others["mean_days"] <= 48


@pytest.mark.parametrize("workers", [1, 2])
def test_any_cutting_gives_the_same_bits(
    product: Path, year: SyntheticYear, tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "out"
    make(
        out, aoi=year.aoi, date=DAY, stac=year.items, references=OTHERS,
        chunk_px=256, workers=workers,
    )  # fmt: skip
    assert_same_pixels(open_raw(product), open_raw(out))


def test_another_area_that_shares_the_scenes_agrees(
    product: Path, year: SyntheticYear, tmp_path: Path
) -> None:
    whole = shapely.from_geojson(year.aoi.read_text())
    west, south, east, north = whole.bounds
    part = shapely.box(west, south + (north - south) / 3, (west + 2 * east) / 3, north)
    area = tmp_path / "area.geojson"
    area.write_text(shapely.to_geojson(whole.intersection(part)))
    make(tmp_path / "out", aoi=area, date=DAY, stac=year.items, references=OTHERS)
    one, other = open_raw(product), open_raw(tmp_path / "out")
    y, x = (np.isin(one[axis], other[axis]) for axis in ("y", "x"))
    one = one.isel(y=y, x=x)
    inside = (other.source > 0) & (one.source > 0)
    assert int(inside.sum()) > 10_000
    for layer in ("reflectance", "source", "reference_days", "reference_count"):
        np.testing.assert_array_equal(one[layer].where(inside, 0), other[layer].where(inside, 0))


def test_a_run_resumes_with_the_fits_that_it_began_with(
    product: Path, year: SyntheticYear, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    wanted: dict[str, Any] = {"aoi": year.aoi, "date": DAY, "stac": year.items, "chunk_px": 256}
    make(out, **wanted, references=OTHERS)
    marks = sorted((out / "ledger" / "marks").iterdir())
    for mark in marks[1:]:
        mark.unlink()
    outcome = make(out, **wanted, references=OTHERS)
    assert outcome.chunks_resumed == 1
    assert_same_pixels(open_raw(product), open_raw(out))
    fit = next((out / "ledger" / "fits").iterdir())
    fit.write_bytes(fit.read_bytes()[:-1])
    with pytest.raises(OutputError, match="not what the run began with"):
        make(out, **wanted, references=OTHERS)


def test_a_run_of_before_other_days_goes_on(year: SyntheticYear, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wanted: dict[str, Any] = {"aoi": year.aoi, "date": DAY, "stac": year.items, "chunk_px": 256}
    make(out, **wanted)
    whole = open_raw(out)
    ledger = Ledger(storage=open_storage(out))
    state = ledger.read_state()
    assert state is not None
    ledger.write_state({
        **{name: value for name, value in state.items() if name not in ("fits", "calibrations")},
        "calibration": None,
    })  # fmt: skip
    sorted((out / "ledger" / "marks").iterdir())[0].unlink()
    assert make(out, **wanted).chunks_resumed > 0
    assert_same_pixels(whole, open_raw(out))


def test_a_run_without_radar_is_made_of_other_days(year: SyntheticYear, tmp_path: Path) -> None:
    items = json.loads(year.items.read_text())
    items["features"] = [i for i in items["features"] if i["collection"] == "sentinel-2-l2a"]
    bare = year.items.parent / "optical.json"
    bare.write_text(json.dumps(items))
    make(tmp_path / "out", aoi=year.aoi, date=DAY, stac=bare, references=OTHERS)
    pixels = summary(tmp_path / "out")["pixels"]
    assert pixels["other_days"] > 10 * pixels["not_restored"]
    assert pixels["reconstructed"] == 0


def test_a_reference_that_cannot_be_read_is_left_out_and_named(
    year: SyntheticYear, tmp_path: Path
) -> None:
    items = json.loads(year.items.read_text())
    for item in items["features"]:
        if item["id"].endswith("l2a-2024-06-03"):
            item["assets"]["B03"]["href"] = "gone.tif"
    broken = year.items.parent / "broken.json"
    broken.write_text(json.dumps(items))
    make(tmp_path / "out", aoi=year.aoi, date=DAY, stac=broken, references=OTHERS)
    days = open_raw(tmp_path / "out").reference_days.to_numpy()
    assert set(np.unique(days)) == {NO_DAYS, -48, 24, 48}
    assert any("2024-06-03" in one for one in summary(tmp_path / "out")["warnings"])


def test_radar_of_another_day_that_cannot_be_read_is_left_out_and_named(
    product: Path, year: SyntheticYear, tmp_path: Path
) -> None:
    items = json.loads(year.items.read_text())
    for item in items["features"]:
        if item["id"].endswith("rtc-2024-06-02"):  # the evening before
            item["assets"]["vv"]["href"] = "gone.tif"
    broken = year.items.parent / "no_radar_then.json"
    broken.write_text(json.dumps(items))
    make(tmp_path / "out", aoi=year.aoi, date=DAY, stac=broken, references=OTHERS)
    (said,) = (one for one in summary(tmp_path / "out")["warnings"] if "gone.tif" in one)
    assert said.startswith("radar that tells where the ground changed is left out: ")
    days = open_raw(tmp_path / "out").reference_days.to_numpy()
    assert set(np.unique(days)) == set(np.unique(open_raw(product).reference_days.to_numpy()))


def test_the_plan_says_which_radar_watches(year: SyntheticYear) -> None:
    def ask(**settings: float) -> Plan:
        chosen = RunSettings(references=ReferenceSettings(**settings))
        return make_plan(Request(aoi=year.aoi, date=DAY, stac=str(year.items), settings=chosen))

    watched, alone = ask(), ask(radar_days=0)
    assert "radar of orbit 117 tells of 4 where the ground changed" in str(watched)
    assert "orbit 117" not in str(alone)
    assert [s.id[-10:] for s in watched.watching_scenes] == [
        "2024-05-09", "2024-06-02", "2024-06-26", "2024-07-20", "2024-08-13"
    ]  # fmt: skip
    assert alone.watching_scenes == ()
    more = watched.describe()["other_days_bytes"] / alone.describe()["other_days_bytes"]
    assert more == pytest.approx(1 + 4 * 5 / (7 * 4), rel=0.1)  # bytes: a channel, three bands
    assert len(watched.kept_items) == 10
    assert len(alone.kept_items) == 6


def test_uncertainty_is_calibrated_by_kind(year: SyntheticYear, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(
        out, aoi=year.aoi, date=DAY, stac=year.items, references=OTHERS, places=4,
        uncertainty={"write": True},
    )  # fmt: skip
    cube = xr.open_zarr(out / "cube.zarr").isel(time=0)
    truth = read_reflectance(year.items.parent / DAY, cube)
    error = abs(cube.reflectance - truth).mean("band")
    for code in (RECONSTRUCTED, OTHER_DAYS):
        where = cube.source == code
        told, true = (float(one.where(where).mean()) for one in (cube.uncertainty, error))
        assert 0.3 * true < told < 3 * true, code
