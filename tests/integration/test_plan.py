"""`cloudfree plan`: says what a run would do and reads no pixel."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from pyproj import Transformer
from shapely.geometry import mapping

from cloudfree.geometry.aoi import cut_at_antimeridian
from cloudfree.synthetic.scenes import SyntheticScenes
from tests import needs
from tests.integration.products import make, summary

Command = Callable[..., tuple[int, str, str]]


def test_plan_needs_no_pixel(cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    shutil.copy(scenes.items, items)  # the links now lead nowhere
    command = ("plan", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", items)
    code, printed, complaint = cloudfree(*command)
    assert (code, complaint) == (0, "")
    assert "EPSG:32632" in printed
    assert "VV, 17.2 h before" in printed
    code, printed, _ = cloudfree(*command, "--json")
    assert code == 0
    plan = json.loads(printed)
    assert plan["steps"][0]["gaps_km2"]["radar"] == 0
    assert plan["halo_px"] == 128 + 255 + 10 + 15  # blend, window, dilation, largest speck
    assert [path.name for path in tmp_path.iterdir()] == ["items.json"]


def test_the_run_keeps_to_the_plan(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    code, printed, _ = cloudfree(
        "plan", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--chunk-px", "256", "--json",
    )  # fmt: skip
    assert code == 0
    plan = json.loads(printed)
    outcome = make(
        tmp_path / "out", aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=256
    )
    facts = summary(tmp_path / "out")
    assert outcome.chunks_done == plan["chunks"]
    assert facts["windows"]["computed"] <= plan["windows_at_most"]
    assert facts["shape"] == plan["shape"]
    stored = sum(p.stat().st_size for p in (tmp_path / "out" / "cube.zarr").rglob("*"))
    assert stored < plan["stored_bytes"]
    outside = plan["steps"][0]["gaps_km2"]["optical"]
    nodata = (
        1 - (facts["pixels"]["seen"] + facts["pixels"]["reconstructed"]) * 1e-4 / plan["area_km2"]
    )
    assert abs(nodata * plan["area_km2"] - outside) < 0.05 * plan["area_km2"]


TILE_M = 109_800


def recorded(name: str) -> dict[str, Any]:
    path = needs.shared("stac", "recorded", f"{name}.json")
    first: dict[str, Any] = json.loads(path.read_text())["features"][0]
    return first


def tile(epsg: int, left: float, top: float) -> shapely.Geometry:
    """Return the footprint of a tile of 109.8 km, in longitude and latitude."""
    square = shapely.segmentize(shapely.box(left, top - TILE_M, left + TILE_M, top), 5000)
    to_lonlat = Transformer.from_crs(epsg, 4326, always_xy=True).transform
    return cut_at_antimeridian(shapely.transform(square, to_lonlat, interleaved=False))


def remake(item: dict[str, Any], name: str, footprint: shapely.Geometry, **changes: Any) -> Any:
    """Return a recorded item at another place; changes are of its properties."""
    made = json.loads(json.dumps(item))
    made["id"], made["geometry"] = name, mapping(footprint)
    made["bbox"] = list(footprint.bounds)
    made["properties"] |= {key.replace("_", ":", 1): value for key, value in changes.items()}
    return made


def plan_of(cloudfree: Command, folder: Path, area: shapely.Geometry, items: list[Any]) -> Any:
    (folder / "aoi.geojson").write_text(json.dumps(mapping(area)))
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    code, printed, complaint = cloudfree(
        "plan", "--aoi", folder / "aoi.geojson", "--date", "2024-04-19",
        "--stac", folder / "items.json", "--json",
    )  # fmt: skip
    assert (code, complaint) == (0, "")
    return json.loads(printed)


def radar_slices(*footprints: shapely.Geometry) -> list[Any]:
    radar = recorded("planetary-computer_sentinel-1-rtc")
    return [
        remake(radar, f"slice{i}", footprint, datetime=f"2024-04-19T16:5{i}:10Z")
        for i, footprint in enumerate(footprints)
    ]


def test_four_tiles_in_two_zones_are_one_step_on_the_larger_zones_grid(
    cloudfree: Command, tmp_path: Path
) -> None:
    optical = recorded("planetary-computer_sentinel-2-l2a")
    tiles = {
        "32UQU": tile(32632, 699_960, 5_400_000),
        "32UQV": tile(32632, 699_960, 5_500_020),
        "33UUP": tile(32633, 300_000, 5_400_000),
        "33UUQ": tile(32633, 300_000, 5_500_020),
    }
    items = [
        remake(optical, f"S2_T{name}", footprint, s2_mgrs_tile=name)
        for name, footprint in tiles.items()
    ]
    old = remake(optical, "S2_T32UQU_old", tiles["32UQU"], s2_mgrs_tile="32UQU")
    old["properties"]["s2:processing_baseline"] = "02.12"
    lower, upper = shapely.box(9, 47, 15, 48.9), shapely.box(9, 48.8, 15, 51)
    area = shapely.box(11.8, 48.5, 12.6, 49.2)  # two thirds of it lie in zone 33
    plan = plan_of(cloudfree, tmp_path, area, [old, *items, *radar_slices(lower, upper)])
    assert plan["crs"] == "EPSG:32633"
    (step,) = plan["steps"]
    assert step["optical"] == sorted(f"S2_T{name}" for name in tiles)
    assert step["radar"] == ["slice0", "slice1"]
    assert step["gaps_km2"] == {"optical": 0, "radar": 0}
    assert {one["dn"] for one in step["offsets"].values()} == {-1000}
    across_km = 0.8 * 111.32 * math.cos(math.radians(48.85))
    assert plan["area_km2"] == pytest.approx(across_km * 0.7 * 111.2, rel=0.005)
    height, width = plan["shape"]
    assert width * 0.01 == pytest.approx(across_km, rel=0.06)  # meridians lean
    assert height * 0.01 == pytest.approx(0.7 * 111.2, rel=0.06)
    alone = plan_of(cloudfree, tmp_path, area, [items[0], items[2], *radar_slices(lower, upper)])
    union = shapely.union_all([tiles["32UQU"], tiles["33UUP"]])
    missing = area.difference(union).area / area.area
    assert missing > 0.1
    gap = alone["steps"][0]["gaps_km2"]["optical"]
    assert gap == pytest.approx(missing * alone["area_km2"], rel=0.02)


def test_an_area_across_the_antimeridian_is_planned_as_one(
    cloudfree: Command, tmp_path: Path
) -> None:
    optical = recorded("planetary-computer_sentinel-2-l2a")
    items = [
        remake(optical, "S2_T60KYF", tile(32760, 715_000, 8_200_000), s2_mgrs_tile="60KYF"),
        remake(optical, "S2_T01KAB", tile(32701, 170_000, 8_200_000), s2_mgrs_tile="01KAB"),
    ]
    swath = cut_at_antimeridian(shapely.box(178, -18, 182, -15))
    area = cut_at_antimeridian(shapely.box(179.6, -17.1, 180.2, -16.6))
    assert area.geom_type == "MultiPolygon"
    plan = plan_of(cloudfree, tmp_path, area, [*items, *radar_slices(swath)])
    assert plan["crs"] == "EPSG:32760"
    (step,) = plan["steps"]
    assert step["optical"] == ["S2_T01KAB", "S2_T60KYF"]
    assert step["gaps_km2"] == {"optical": 0, "radar": 0}
    across_km = 0.6 * 111.32 * math.cos(math.radians(16.85))
    assert plan["shape"][1] * 0.01 == pytest.approx(across_km, rel=0.02)
    assert plan["area_km2"] == pytest.approx(across_km * 0.5 * 110.65, rel=0.005)


def test_the_plan_says_why(cloudfree: Command, tmp_path: Path) -> None:
    optical = recorded("planetary-computer_sentinel-2-l2a")
    place = shapely.box(92, 80, 98, 82)
    items = [
        remake(optical, "cloudy", place, datetime="2024-04-19T09:55:49Z", eo_cloud_cover=95.0),
        remake(optical, "clear", place, datetime="2024-04-21T09:55:49Z", eo_cloud_cover=3.0),
    ]
    arguments = (tmp_path, shapely.box(94, 81, 95, 81.2), [*items, *radar_slices(place)])
    (step,) = plan_of(cloudfree, *arguments)["steps"]
    assert step["optical"] == ["clear"]
    assert [one["scenes"] for one in step["considered"]] == [["clear"], ["cloudy"]]
    code, printed, _ = cloudfree(
        "plan", "--aoi", tmp_path / "aoi.geojson", "--date", "2024-04-19",
        "--stac", tmp_path / "items.json",
    )  # fmt: skip
    assert code == 0
    assert "chosen   2024-04-21T09:55 covers 100%, cloud 3 %, 1.4 days away" in printed
    assert "or       2024-04-19T09:55 covers 100%, cloud 95 %, 0.0 days away" in printed
    assert "offset   -1000 DN: processing baseline 05.10" in printed


def test_scenes_unlike_those_the_model_learnt_on_are_warned_about(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for levels, kinds, count in (('"L1C"', '"grd"', 2), ('"L2A", "L1C"', '"gamma0-rtc"', 0)):
        (bundle / "model.toml").write_text(
            f'name = "m"\nversion = "1"\nnetwork = "baseline"\nlevels = [{levels}]\n'
            f"radar_kinds = [{kinds}]\n"
        )
        code, printed, _ = cloudfree(
            "plan", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
            "--model", bundle,
        )  # fmt: skip
        assert code == 0
        assert printed.count("warning  model m learnt on") == count
    assert "these scenes are L2A" not in printed
