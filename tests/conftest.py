"""Shared fixtures: synthetic scenes, the shared real scenes, and the command line in-process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudfree.cli import entry
from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests import needs


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """A synthetic pair of scenes, 768 x 576 px, with clouds, shadows and a nodata wedge."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), seed=3, size_px=768)


@pytest.fixture(scope="session")
def small_scenes(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """The same, 512 x 384 px: half the work, for tests that make many products."""
    return write_scenes(tmp_path_factory.mktemp("small"), seed=3, size_px=512)


@pytest.fixture(scope="session")
def real_scenes() -> Path:
    """The folder of real scenes beside the checkout; skips where it is missing."""
    return needs.shared("stac", "scenes")


@pytest.fixture
def cloudfree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; return its exit code, stdout and stderr."""

    def call(*arguments: str | os.PathLike[str]) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cloudfree", *map(os.fspath, arguments)])
        capsys.readouterr()
        code = 0
        try:
            entry()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
