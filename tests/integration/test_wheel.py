"""The wheel, in an empty environment outside of the checkout: the demo runs there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead Python to the checkout."""
    names = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
    return {name: value for name, value in os.environ.items() if name not in names}


def call(*words: str | Path, cwd: Path) -> str:
    """Return what a program prints; its failure is a failure, with what it said."""
    done = subprocess.run(
        words, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def install(python: Path, *what: str | Path, cwd: Path) -> None:
    call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder; skips where no package index can be reached."""
    folder = tmp_path_factory.mktemp("elsewhere")
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1",
         "--dest", folder / "asked", "affine"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if asked.returncode != 0:
        pytest.skip("no package index can be reached from here")
    return folder


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """The wheel of this checkout, built in isolation."""
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir",
         place / "dist", ROOT, cwd=place)  # fmt: skip
    (made,) = (place / "dist").glob("cloudfree-*.whl")
    return made


@pytest.fixture(scope="module")
def python(place: Path, wheel: Path) -> Path:
    """Python of an environment that holds the wheel and what it asks for, nothing else."""
    call(sys.executable, "-m", "venv", place / "env", cwd=place)
    python = place / "env" / "bin" / "python"
    # torch first and by its pin, as the Makefile does: else its packages of CUDA are fetched
    (torch,) = re.findall(r"^torch==\S+", CONSTRAINTS.read_text(), re.MULTILINE)
    install(python, torch, cwd=place)
    install(python, "--constraint", CONSTRAINTS, wheel, cwd=place)
    return python


def test_the_wheel_holds_models_manifests_and_providers(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("cloudfree/_models/small/model.toml", "cloudfree/scenes/providers/local.toml",
                 "cloudfree/_kubernetes/base/kustomization.yaml"):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "models/"))]


def test_the_demo_runs_from_the_wheel(python: Path, place: Path) -> None:
    empty = place / "empty"
    empty.mkdir()
    program = python.with_name("cloudfree")
    where = call(python, "-c", "import cloudfree; print(cloudfree.__file__)", cwd=empty)
    assert Path(where.strip()).is_relative_to(place / "env")
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] in call(program, "--version", cwd=empty)
    models = call(program, "models", cwd=empty)
    assert {line.split()[0] for line in models.splitlines()} == {"auto", "baseline", "small"}
    assert "wrong" not in models
    call(program, "doctor", "--offline", cwd=empty)
    said = call(program, "demo", cwd=empty)
    assert "dB under cloud" in said
    with Image.open(empty / "demo" / "product" / "preview.png") as preview:
        assert min(preview.size) > 200
        colours = preview.convert("RGB").resize((40, 40)).getcolors(40 * 40)
        assert colours is not None
        assert len(colours) > 50
