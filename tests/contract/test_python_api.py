"""The public face: its names, how lightly they come, and that every example in it runs."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import cloudfree

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str) -> str:
    """Return what a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = """
import sys
import cloudfree
dir(cloudfree), cloudfree.RunSettings(), cloudfree.RequestError
heavy = {"torch", "dask", "distributed", "xarray", "zarr", "rasterio", "shapely", "pyogrio",
         "pyproj", "odc", "stackstac", "pystac", "obstore", "numpy", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(code) == "[]"


def test_the_model_without_weights_does_not_wait_for_torch() -> None:
    code = """
import sys
import cloudfree
cloudfree.load_model("baseline")
print("torch" in sys.modules)
"""
    assert run_python(code) == "False"


@pytest.mark.parametrize("name", sorted(cloudfree.__all__))
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(cloudfree, name) is not None
    assert name in dir(cloudfree)


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'restore'"):
        _ = cloudfree.restore


def test_plan_stays_the_function_when_the_walk_was_imported_first() -> None:
    code = "import cloudfree.engine.pipeline, cloudfree; print(callable(cloudfree.plan))"
    assert run_python(code) == "True"


@pytest.mark.slow
def test_type_checkers_see_the_names(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    file.write_text("import cloudfree\nreveal_type(cloudfree.open_cube)\n")
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert 'Dataset"' in result.stdout, result.stdout
    assert "Any" not in result.stdout


@pytest.mark.parametrize("name", ["cloudfree", "cloudfree.api", "cloudfree.own_cube"])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
