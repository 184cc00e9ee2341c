"""Patches are what a run sees: exact pixels under the run's statistics, clear throughout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine

from cloudfree import patches
from cloudfree.core.config import RestorationSettings, RunSettings
from cloudfree.core.contract import Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import Unsigned
from cloudfree.geometry.grid import GridPlan, origin_px
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Request, make_plan
from cloudfree.restoration.restore import PairModel, cut_windows
from cloudfree.synthetic.scenes import SyntheticScenes
from cloudfree.train.pairs import LeakageError, check_leakage
from cloudfree.train.readers import read_pairs
from cloudfree.walk.measure import PairStatistics
from tests.gans import COLOUR
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


def contents(folder: Path) -> dict[str, bytes]:
    """Return every patch below a folder, by its path there."""
    files = sorted(folder.glob("*/*.npz"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def crop(cube: xr.Dataset, patch: dict[str, np.ndarray]) -> xr.Dataset:
    """Return the part of a cube that a patch says it covers."""
    affine = Affine(*patch["transform"])
    left, top = affine @ (0.5, 0.5)
    here = cube.sel(
        x=slice(left, left + (SIDE - 0.5) * affine.a),
        y=slice(top, top + (SIDE - 0.5) * affine.e),
    )
    assert here.sizes["y"] == here.sizes["x"] == SIDE
    return here.isel(time=0)


def stretched(numbers: np.ndarray, patch: dict[str, np.ndarray]) -> np.ndarray:
    low, high = (patch[name][:, None, None] for name in ("low_dn", "high_dn"))
    return np.clip(2 * (numbers - low) / (high - low) - 1, -1, 1)


class Walk(NamedTuple):
    observation: Observation
    pair: PairModel
    grid: GridPlan


@pytest.fixture(scope="module")
def walk(scenes: SyntheticScenes, product: Path) -> Walk:
    """Return what rows 5 to 8 of a run give for the whole area at once."""
    settings = RunSettings(restoration=RestorationSettings(model="baseline"))
    plan = make_plan(
        Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items), settings=settings)
    )
    observation, _ = observe(
        plan.steps[0],
        plan.grid.geobox,
        settings,
        Fetcher(settings.cube, Unsigned()),
        Stopwatch(),
    )
    (measured,) = json.loads((product / "ledger/state.json").read_text())["statistics"]
    pair = PairStatistics.from_json(measured["statistics"]).pair(
        plan.bundle.load(), settings.grid.bands
    )
    return Walk(observation, pair, plan.grid)


def place_of(row: int, col: int, grid: GridPlan) -> tuple[slice, slice]:
    """Return where a patch of the lattice lies in arrays of the grid."""
    first_row, first_col = origin_px(grid.geobox)
    top, left = row * SIDE - first_row, col * SIDE - first_col
    assert top >= 0
    assert left >= 0
    return slice(top, top + SIDE), slice(left, left + SIDE)


def lattice_at(path: Path | str) -> tuple[int, int]:
    row, col = Path(path).stem.split("_")[1:]
    return int(row), int(col)


def places_inside(grid: GridPlan) -> set[tuple[int, int]]:
    """Return row and column of every place wholly in the area."""
    side_m, (first_row, first_col) = SIDE * grid.resolution_m, origin_px(grid.geobox)
    rows = range(first_row // SIDE, (first_row + grid.geobox.height) // SIDE + 1)
    cols = range(first_col // SIDE, (first_col + grid.geobox.width) // SIDE + 1)
    return {
        (row, col)
        for row in rows
        for col in cols
        if grid.area.covers(
            shapely.box(col * side_m, -(row + 1) * side_m, (col + 1) * side_m, -row * side_m)
        )
    }


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
    for path in files:
        patch = dict(np.load(path, allow_pickle=False))
        assert list(patch["bands"]) == ["B04", "B03", "B02"]
        assert list(patch["polarizations"]) == ["vv"]
        assert path.parent.name == patch["scene"]
        assert patch["optical"].dtype == patch["radar"].dtype == np.float16
        here = crop(cube, patch)
        assert (here.source.to_numpy() == 1).all()
        wanted = stretched(here.reflectance.to_numpy(), patch)
        np.testing.assert_allclose(patch["optical"], wanted, atol=1e-3)


def test_a_model_would_see_the_same(
    cloudfree: Cli,
    scenes: SyntheticScenes,
    walk: Walk,
    tmp_path: Path,
) -> None:
    """Pictures, radar and stretch equal those of a run, bit for bit; no clear patch is missed."""
    cut(cloudfree, scenes, tmp_path)
    observation, pair, grid = walk
    files = sorted(tmp_path.glob("*/*.npz"))
    clear = {
        at
        for at in places_inside(grid)
        if observation.masks.seen[place_of(*at, grid)].all()
        and observation.has_radar[place_of(*at, grid)].all()
    }
    assert {lattice_at(path) for path in files} == clear
    for path in files:
        patch = dict(np.load(path, allow_pickle=False))
        optical, radar, masks = cut_windows(observation, [place_of(*lattice_at(path), grid)], pair)
        assert masks.seen.all()
        np.testing.assert_array_equal(patch["optical"], optical[0].astype(np.float16))
        np.testing.assert_array_equal(patch["radar"], radar[0].astype(np.float16))
        np.testing.assert_array_equal(patch["low_dn"], np.float32(pair.optical.low))
        np.testing.assert_array_equal(patch["high_dn"], np.float32(pair.optical.high))
    assert np.unique([np.load(path)["radar"].std() for path in files]).size == len(files) > 3


def test_patches_do_not_depend_on_blocks_and_are_rewritten_alike(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, once, _ = cut(cloudfree, scenes, tmp_path, "--json")
    before = contents(tmp_path)
    monkeypatch.setattr(patches, "BLOCK_PX", 3 * SIDE)
    _, again, _ = cut(cloudfree, scenes, tmp_path, "--json")
    assert json.loads(once) == json.loads(again)
    assert contents(tmp_path) == before


def test_max_cloud_keeps_patches_with_some_and_leaves_it_in_the_picture(
    cloudfree: Cli,
    scenes: SyntheticScenes,
    walk: Walk,
    tmp_path: Path,
) -> None:
    observation, _, grid = walk
    cut(cloudfree, scenes, tmp_path / "clear")
    _, printed, _ = cut(cloudfree, scenes, tmp_path / "some", "--max-cloud", "0.4", "--json")
    clear, some = contents(tmp_path / "clear"), contents(tmp_path / "some")
    assert json.loads(printed)["kept"] == len(some) > len(clear)
    assert {name: some[name] for name in clear} == clear
    for name in set(some) - set(clear):
        patch = dict(np.load(tmp_path / "some" / name))
        place = place_of(*lattice_at(name), grid)
        assert 0 < observation.masks.made[place].mean() <= 0.4
        wanted = stretched(observation.reflectance[:, *place], patch)
        np.testing.assert_allclose(patch["optical"], wanted, atol=1e-3)


def test_all_bands_of_the_run_are_kept(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    cut(cloudfree, scenes, tmp_path / "three")
    code, _, _ = cut(cloudfree, scenes, tmp_path / "four", "--bands", "B08,B04,B03,B02")
    assert code == 0
    for name in contents(tmp_path / "three"):
        three, four = (dict(np.load(tmp_path / which / name)) for which in ("three", "four"))
        order = [list(four["bands"]).index(band) for band in three["bands"]]
        assert len(four["bands"]) == len(four["optical"]) == 4
        np.testing.assert_array_equal(four["optical"][order], three["optical"])
        np.testing.assert_array_equal(four["low_dn"][order], three["low_dn"])


def test_both_polarisations_are_kept_where_asked(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    cut(cloudfree, scenes, tmp_path / "one")
    code, _, _ = cut(cloudfree, scenes, tmp_path / "both", "--all-polarizations")
    assert code == 0
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "both").keys()
    for name in contents(tmp_path / "one"):
        one, both = (dict(np.load(tmp_path / which / name)) for which in ("one", "both"))
        assert list(both["polarizations"]) == ["vv", "vh"]
        assert both["radar"].shape == (2, SIDE, SIDE)
        np.testing.assert_array_equal(both["radar"][:1], one["radar"])
        assert np.corrcoef(both["radar"].reshape(2, -1).astype(float))[0, 1] < 0.99
        np.testing.assert_array_equal(both["optical"], one["optical"])
    channels = Channels(bands=("B02", "B04"), polarizations=("vh", "vv"), all_polarizations=True)
    pairs, problems = read_pairs(tmp_path / "both", channels)
    assert not problems
    np.testing.assert_array_equal(pairs[-1].radar, both["radar"][::-1])
    np.testing.assert_array_equal(pairs[-1].optical, both["optical"][[2, 0]])
    with pytest.raises(RequestError, match="lacks VH and VV, has VV"):
        read_pairs(tmp_path / "one", channels)


def test_a_training_reads_them_back(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    cut(cloudfree, scenes, tmp_path / "train")
    files = sorted((tmp_path / "train").glob("*/*.npz"))
    pairs, problems = read_pairs(tmp_path / "train", COLOUR)
    assert not problems
    assert len(pairs) == len(files)
    patch = np.load(files[1], allow_pickle=False)
    np.testing.assert_array_equal(pairs[1].optical, patch["optical"])
    np.testing.assert_array_equal(pairs[1].low_dn, patch["low_dn"])
    np.testing.assert_array_equal(pairs[1].radar, patch["radar"])


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
        check_leakage(*(read_pairs(tmp_path / part, COLOUR)[0] for part in ("train", "val")))


WRONG = {
    "an odd size": (["--size-px", "20"], "size_px is 20; give a multiple of 8"),
    "no size": (["--size-px", "0"], "size_px is 0; give a multiple of 8"),
    "more than all cloud": (["--max-cloud", "1.5"], "max_cloud is 1.5; give a share"),
    "no share": (["--max-cloud", "nan"], "max_cloud is nan; give a share"),
    "a patch beyond the area": (["--size-px", "512"], "no whole patch of 512 px (5120 m)"),
    "no area": (["--aoi", "nowhere.geojson"], "nowhere.geojson"),
    "no radar": (["--sar-days", "0.1"], "--sar-days"),
    "no such day": (["--date", "2023-01-01"], "Check the area, the date"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_line(
    case: str, cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    options, hint = WRONG[case]
    code, printed, complaint = cut(cloudfree, scenes, tmp_path / "p", *options)
    assert code == 2
    assert printed == ""
    (line,) = complaint.strip().splitlines()
    assert line.startswith("cloudfree: ")
    assert hint in line
    assert not (tmp_path / "p").exists()


def test_an_output_that_is_a_file_and_a_broken_scene_are_one_line(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, _, complaint = cut(cloudfree, scenes, tmp_path / "file")
    assert code == 2
    assert "cannot write to --out" in complaint
    items = json.loads(scenes.items.read_text())
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0nothing")
    for item in items["features"]:
        for asset in item["assets"].values():
            asset["href"] = str(scenes.items.parent / asset["href"])
        if "B04" in item["assets"]:
            item["assets"]["B04"]["href"] = str(broken)
    (tmp_path / "items.json").write_text(json.dumps(items))
    spoilt = dataclasses.replace(scenes, items=tmp_path / "items.json")
    code, _, complaint = cut(cloudfree, spoilt, tmp_path / "p")
    assert code == 2
    (line,) = [line for line in complaint.splitlines() if line.startswith("cloudfree: ")]
    assert "broken.tif" in line
    assert "Traceback" not in complaint


def test_a_broken_step_of_an_interval_and_one_that_shows_too_little_are_left_out(
    cloudfree: Cli, scenes: SyntheticScenes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = json.loads(scenes.items.read_text())
    for item in items["features"]:
        for asset in item["assets"].values():
            asset["href"] = str(scenes.items.parent / asset["href"])
    optical = next(item for item in items["features"] if "B04" in item["assets"])
    broken = json.loads(json.dumps(optical))
    broken["id"], broken["properties"]["datetime"] = "broken", "2024-06-16T10:20:31Z"
    del broken["properties"]["s2:processing_baseline"]  # the pixels would have to say it
    broken["assets"]["B03"]["href"] = str(tmp_path / "gone.tif")
    items["features"].append(broken)
    (tmp_path / "items.json").write_text(json.dumps(items))
    both = dataclasses.replace(scenes, items=tmp_path / "items.json", date="2024-06-15/2024-06-16")
    code, printed, _ = cut(cloudfree, both, tmp_path / "p", "--json")
    assert code == 0
    counts = json.loads(printed)
    places = sum(counts.values()) - counts["unreadable"]
    assert counts["kept"] > 0
    assert counts["unreadable"] == places
    assert "left out broken: cannot read B03" in caplog.text
    code, printed, _ = cut(cloudfree, scenes, tmp_path / "q", "--json", "--min-seen", "0.99")
    assert code == 0
    assert json.loads(printed) == {"kept": 0, "too little seen": places}
