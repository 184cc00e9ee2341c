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

_SKIPPED = "cloudfree/skipped"
"""Where pytest's cache keeps which tests the last whole run skipped."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--last-skipped", action="store_true", help="only what the last run without it skipped"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("last_skipped"):
        return
    skipped = config.cache.get(_SKIPPED, None)
    if skipped is None:  # nobody knows: all of them
        return
    wanted = set(skipped)  # tests, and files that were skipped whole
    kept = [one for one in items if {one.nodeid, one.nodeid.partition("::")[0]} & wanted]
    config.hook.pytest_deselected(items=[one for one in items if one not in kept])
    items[:] = kept


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not config.getoption("last_skipped") and hasattr(config, "cache"):
        skipped = sorted({one.nodeid for one in terminalreporter.stats.get("skipped", [])})
        config.cache.set(_SKIPPED, skipped)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if (
        session.config.getoption("last_skipped")
        and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    ):
        session.exitstatus = pytest.ExitCode.OK


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
