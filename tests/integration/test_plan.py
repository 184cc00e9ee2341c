"""`cloudfree plan`: says what a run would do and reads no pixel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from cloudfree.synthetic import SyntheticScenes
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
