"""What the project promises about itself: defaults, floors, light imports, the golden file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cloudfree.bundle import GOLDEN_TOLERANCE, built_in, check_golden, open_bundle
from cloudfree.config import RunSettings
from cloudfree.tables import build

ROOT = Path(__file__).resolve().parents[2]


def test_run_toml_spells_out_every_default() -> None:
    table = tomllib.loads((ROOT / "pipelines" / "run.toml").read_text())
    assert build(RunSettings, table, "run.toml") == RunSettings()
    given = [(section, key) for section, values in table.items() for key in values]
    known = [
        (section, key)
        for section in RunSettings.__slots__
        for key in getattr(RunSettings(), section).__slots__
    ]
    assert given == known


def test_every_pipeline_is_valid() -> None:
    for name in ("run.toml", "demo.toml"):
        build(RunSettings, tomllib.loads((ROOT / "pipelines" / name).read_text()), name)


def test_floors_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_gpu_machines_need_no_geospatial_library() -> None:
    code = """
import sys
for name in ("affine", "odc", "pyproj", "pystac", "rasterio", "shapely", "stackstac", "dask",
             "zarr", "scipy", "distributed"):
    sys.modules[name] = None
import cloudfree, cloudfree.restoration, cloudfree.gan, cloudfree.train
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", sorted(built_in()))
def test_built_in_models_reproduce_their_golden_files(name: str) -> None:
    assert check_golden(open_bundle(name)) < GOLDEN_TOLERANCE
