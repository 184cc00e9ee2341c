"""What the project promises about itself: defaults, rooms, light imports, the golden file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.engine.prepare import _describe_model
from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, built_in, check_golden, open_bundle

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


def test_rooms_hold() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_gpu_machines_need_no_geospatial_library() -> None:
    code = """
import importlib, pkgutil, sys
for name in ("affine", "odc", "pyogrio", "pyproj", "pystac", "rasterio", "shapely", "stackstac",
             "dask", "zarr", "distributed"):
    sys.modules[name] = None
import cloudfree, cloudfree.gan, cloudfree.restoration, cloudfree.train
for module in pkgutil.iter_modules(cloudfree.restoration.__path__, "cloudfree.restoration."):
    importlib.import_module(module.name)
"""
    run_alone(code)


def test_windows_go_through_a_model_without_scipy() -> None:
    code = "import sys; sys.modules['scipy'] = None; import cloudfree.restoration.restore"
    run_alone(code + ", cloudfree.gan, cloudfree.train")


def run_alone(code: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_run_that_was_begun_before_the_bars_were_called_so_goes_on() -> None:
    facts = _describe_model("small")
    assert len(facts["reference"]["mean_colour"]) == 3
    assert "bars" not in facts


@pytest.mark.parametrize("name", sorted(built_in()))
def test_built_in_models_reproduce_their_golden_files(name: str) -> None:
    assert check_golden(open_bundle(name)) < GOLDEN_TOLERANCE
