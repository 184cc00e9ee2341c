"""What a run says at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloudfree.product.printout import run_text
from cloudfree.storage.outputs import open_storage
from tests.reports import make_summary


def text(tmp_path: Path, **changed: Any) -> str:
    summary = make_summary(cogs=["2024-01-03_reflectance.tif"], check=None)
    return run_text({**summary, **changed}, open_storage(tmp_path), resumed=0)


def test_each_kind_of_pixel_is_counted_by_itself(tmp_path: Path) -> None:
    assert (
        "pixels   600 seen (60.0%), 100 made of other days (10.0%), 299 reconstructed (29.9%), "
        "1 not restored\n"
    ) in text(tmp_path)


def test_each_kind_of_made_pixel_has_an_error_of_its_own(tmp_path: Path) -> None:
    model = {"mae": 0.0312, "psnr_db": 17.3}
    check = {"places": 8, "pixels": 12_345, "why_not": "", "models": {"small": model}}
    assert "pixels hidden in 8 places, reconstructed: small is wrong by 0.0312" in text(
        tmp_path, check=check
    )
    others = {**check, "pixels": 678, "models": {"other days": {"mae": 0.01, "psnr_db": 31.0}}}
    said = text(tmp_path, check={**check, "other_days": others}).splitlines()
    lines = [line for line in said if line.startswith("check")]
    assert lines == [
        "check    678 seen pixels hidden in 8 places, made of other days: other days is wrong by "
        "0.0100 on average, PSNR 31.0 dB",
        "check    12,345 seen pixels hidden in 8 places, reconstructed: small is wrong by 0.0312 "
        "on average, PSNR 17.3 dB",
    ]
    nothing = {**check, "models": {}, "why_not": "no clear ground"}
    said = text(tmp_path, check={**nothing, "other_days": others}).splitlines()
    assert "check    nothing reconstructed could be checked: no clear ground" in said
