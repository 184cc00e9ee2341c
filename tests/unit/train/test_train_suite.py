"""The ablations are settings: rows train what they say, and finished ones are loaded."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

from cloudfree.train.suite import PAPER, SuiteSettings, run_suite
from tests.pairs import write_pairs

SMALL = SuiteSettings(width=2, steps=1, batch=1)


def test_rows_are_those_of_the_paper() -> None:
    rows = [
        (row.table, row.paper_psnr, row.sar2opt and row.sar2opt.network, row.cloud_removal.network)
        for row in PAPER
        if row.table == 5
    ]
    assert rows == [
        (5, 16.54, None, "drib"),
        (5, 21.37, "unet", "unet"),
        (5, 21.89, "unet", "drib"),
        (5, 22.66, "drib", "unet"),
        (5, 23.09, "drib", "drib"),
    ]
    losses = [
        (row.cloud_removal.objective, row.sar2opt.objective if row.sar2opt else "", row.paper_psnr)
        for row in PAPER
        if row.table == 6
    ]
    assert losses == [
        ("l1", "l1", 20.42),
        ("l1+ssim", "l1", 21.34),
        ("ssim", "ssim", 21.85),
        ("l1", "l1+ssim", 22.09),
        ("l1+ssim", "l1+ssim", 23.09),
    ]


def test_rows_are_trained_once_and_written(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs/train", range(1, 5), patches=1)
    write_pairs(tmp_path / "pairs/val", range(7, 8), patches=1)
    rows = [PAPER[0], PAPER[2]]
    results = run_suite([tmp_path / "pairs"], tmp_path / "suite", SMALL, rows=rows)
    folders = sorted(path.parent.name for path in tmp_path.glob("suite/*/best.safetensors"))
    assert folders == ["radar-drib_l1_ssim", "sar2opt-unet_l1_ssim", "unet_l1_ssim-drib_l1_ssim"]
    taught = {}
    for name in folders:
        with safe_open(tmp_path / "suite" / name / "best.safetensors", framework="pt") as file:
            facts = file.metadata()
            taught[name] = set(json.loads(facts["scenes"])), json.loads(facts["settings"])
    gan1, gan2 = taught["sar2opt-unet_l1_ssim"], taught["unet_l1_ssim-drib_l1_ssim"]
    assert gan1[0] and gan2[0]
    assert not gan1[0] & gan2[0]
    assert (gan1[1]["generator"]["network"], gan2[1]["generator"]["network"]) == ("unet", "drib")
    assert taught["radar-drib_l1_ssim"][1]["generator"]["inputs"] == ["cloudy", "radar"]
    table = (tmp_path / "suite/suite.md").read_text()
    assert "| 16.54 |" in table and "| 21.89 |" in table
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("suite/*/*.safetensors"))]
    assert run_suite([tmp_path / "pairs"], tmp_path / "suite", SMALL, rows=rows) == results
    again = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("suite/*/*.safetensors"))]
    assert again == times
