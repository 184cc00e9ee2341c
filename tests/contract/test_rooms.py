"""Each contract on imports fails where it is broken: imports are planted in copies of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

import cloudfree

ROOT = Path(__file__).resolve().parents[2]
_, *CONTRACTS = (
    (ROOT / "pyproject.toml").read_text("utf-8").partition("[tool.importlinter]")[2]
).split("[[tool.importlinter.contracts]]")
NEW = "newcomer"
"""A module that no contract knows."""


def read(contract: str) -> dict[str, Any]:
    return tomllib.loads(contract)


def layers_of(asked: dict[str, Any]) -> list[list[str]]:
    """Return the modules of each layer, from the top."""
    (container,) = asked["containers"]
    return [
        [f"{container}.{name.strip()}" for name in layer.split("|")] for layer in asked["layers"]
    ]


def plants(contract: str) -> Iterator[tuple[str, str]]:
    """Yield importer and imported of imports that a contract forbids, one of each sort."""
    asked = read(contract)
    if asked["type"] == "layers":
        layers = layers_of(asked)
        yield layers[-1][-1], layers[0][0]
        yield f"{asked['containers'][0]}.{NEW}", "typing"
        siblings = next((layer for layer in layers if len(layer) > 1), None)
        if siblings is not None:
            yield siblings[0], siblings[1]
    elif asked["type"] == "independence":
        yield asked["modules"][0], asked["modules"][1]
        yield asked["modules"][-1], asked["modules"][-2]
    else:
        yield asked["source_modules"][0], asked["forbidden_modules"][0]
        yield asked["source_modules"][-1], asked["forbidden_modules"][-1]


SORTS = list(zip_longest(*map(list, map(plants, CONTRACTS))))
"""Per sort of import: what is planted for each contract, or None."""
CASES = [
    (sort, read(contract)["name"], *plant)
    for sort, planted in enumerate(SORTS)
    for contract, plant in zip(CONTRACTS, planted, strict=True)
    if plant is not None
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What import-linter says of copies in which all imports of one sort are planted.

    Per sort: name of a contract -> its complaint.
    """
    return [plant_and_lint(tmp_path_factory.mktemp("house"), sort) for sort in range(len(SORTS))]


def plant_and_lint(house: Path, sort: int) -> dict[str, str]:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cloudfree", house / "cloudfree", ignore=ignored)
    for importer, imported in filter(None, SORTS[sort]):
        with find_file(house, importer).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {imported}\n")
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache",
         "--config", ROOT / "pyproject.toml"],
        cwd=house, env={**os.environ, "PYTHONPATH": str(house)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    words = re.split(r"^(.+)\n-{4,}\n", result.stdout, flags=re.M)
    return dict(zip(words[1::2], words[2::2], strict=True))


def find_file(house: Path, module: str) -> Path:
    """Return where a line can be added to a module."""
    path = house.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize(
    ("sort", "name", "importer", "imported"),
    CASES,
    ids=[f"{name}: {a} imports {b}" for _, name, a, b in CASES],
)
def test_a_planted_import_breaks_its_contract(
    complaints: list[dict[str, str]], sort: int, name: str, importer: str, imported: str
) -> None:
    said = " ".join(complaints[sort].get(name, "this contract was kept").split())
    new = importer.rpartition(".")[2] == NEW
    assert (NEW if new else f"- {importer} -> {imported} (l.") in said


def test_each_room_is_exhaustive_and_says_what_it_is() -> None:
    rooms = {path.parent.name for path in (ROOT / "cloudfree").glob("*/__init__.py")}
    layered = {
        container.removeprefix("cloudfree.")
        for one in map(read, CONTRACTS)
        if one["type"] == "layers" and one["exhaustive"]
        for container in one["containers"]
    }
    assert rooms - layered == {"cli", "gan"}  # each one thing, and small
    for room in rooms:
        text = (ROOT / "cloudfree" / room / "__init__.py").read_text("utf-8")
        docstring = text.split('"""')[1].strip().splitlines()
        assert 3 <= len(docstring) <= 10, room
        assert "mports" in text, f"{room} does not say what it may import"


def test_no_room_is_called_like_a_public_name() -> None:
    inside = {path.name.removesuffix(".py") for path in (ROOT / "cloudfree").iterdir()}
    assert not inside & set(cloudfree.__all__)


def test_the_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert len(text.splitlines()) <= 180
    for name in re.findall(r"`([\w/]+\.(?:py|toml|html|md))`", text):
        beside = [*(ROOT / "cloudfree").rglob(name), *(ROOT / "models").rglob(name)]
        assert (ROOT / name).exists() or beside, name
