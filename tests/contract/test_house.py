"""What the project promises about itself: defaults, floors, light imports, the golden file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

from cloudfree.bundle import open_bundle
from cloudfree.config import RunSettings, build
from cloudfree.types import Masks, SceneFitted

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


def test_the_baseline_reproduces_its_golden_file() -> None:
    bundle = open_bundle("baseline")
    golden = np.load(bundle.folder / "golden.npz", allow_pickle=False)
    model = bundle.load()
    assert isinstance(model, SceneFitted)
    masks = Masks(seen=golden["seen"], made=golden["made"])
    optical, radar = golden["optical"], golden["radar"]
    numbers = model.fit(optical, radar, masks)
    np.testing.assert_allclose(numbers, golden["learnt"], rtol=1e-6, atol=1e-9)
    made = model.fitted(numbers)(optical, radar, masks)
    np.testing.assert_allclose(made, golden["expected"], atol=1e-5)
