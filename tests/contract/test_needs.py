"""Only tests/needs.py reaches for what the two commands of the README do not install."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePath

import pytest

TESTS = Path(__file__).resolve().parents[1]
EXEMPT = {TESTS / "needs.py", Path(__file__), *TESTS.glob("bench/*")}
FILES = sorted({*TESTS.rglob("*.py")} - EXEMPT)
OUTSIDE = (".venv-*", ".azurite", "shared", "postgresql")  # parts of paths


def find_strangers(source: str) -> Iterator[ast.expr | ast.stmt]:
    """Yield what reaches outside: a path there, a search for a program, its start by name."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                parts = PurePath(text).parts
                if any(fnmatch(part, outside) for part in parts for outside in OUTSIDE):
                    yield node
            case (
                ast.ImportFrom(module="shutil" | "subprocess")
                | ast.Attribute(value=ast.Name(id="shutil"), attr="which")
            ):
                yield node
            case ast.Call(func=ast.Attribute(value=ast.Name(id="subprocess")), args=[first, *_]):
                words = first.elts if isinstance(first, ast.List | ast.Tuple) else [first]
                if words and isinstance(words[0], ast.Constant | ast.JoinedStr):
                    yield node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TESTS)))
def test_nothing_is_reached_for_but_through_needs(file: Path) -> None:
    found = [
        f"line {node.lineno}: {ast.unparse(node)}" for node in find_strangers(file.read_text())
    ]
    assert found == [], "ask tests/needs.py for it: it skips, with the reason, where it is missing"


@pytest.mark.parametrize(
    "planted",
    [
        'subprocess.run([ROOT / ".venv-s3" / "bin" / "python", "-m", "tests.servers.objects"])',
        'PYTHON = "../.venv-s3/bin/python"',
        'Path(f"{ROOT}/.azurite/azurite-blob")',
        'SHARED = Path(__file__).parents[3] / "shared"',
        'Path("/usr/lib/postgresql").glob("*/bin")',
        'CHROMIUM = shutil.which("chromium")',
        'subprocess.Popen(["buildah", *words], cwd=ROOT)',
        'subprocess.run("ip netns add a", shell=True)',
        "from shutil import which",
    ],
)
def test_what_is_planted_is_found(planted: str) -> None:
    assert len([*find_strangers(planted)]) == 1


def test_what_needs_gives_and_what_is_installed_may_be_started() -> None:
    for allowed in ('[sys.executable, "-m", "pip"]', '[needs.program("ip"), "netns"]'):
        assert [*find_strangers(f"subprocess.run({allowed})")] == []
