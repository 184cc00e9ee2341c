"""One run an output: in a folder the lock of a process, which dies with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudfree.core.errors import OutputError
from cloudfree.storage import lease
from cloudfree.storage.outputs import Storage, open_storage

HOLD = """
import sys
from cloudfree.storage.lease import hold
from cloudfree.storage.outputs import open_storage
with hold(open_storage(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "out")


@contextmanager
def another_process(storage: Storage) -> Iterator[subprocess.Popen[str]]:
    """Hold an output from a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, storage.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_second_run_is_refused_and_told_whose_it_is(storage: Storage) -> None:
    with another_process(storage) as process:
        for attempt in (lease.hold(storage).__enter__, lambda: lease.refuse_busy(storage)):
            with pytest.raises(OutputError, match=f"process {process.pid}, since") as caught:
                attempt()
            assert "last sign of life" in str(caught.value)
            assert "\n" not in str(caught.value)
        process.communicate(timeout=30)  # ends its input, and so the block
        with lease.hold(storage) as held:
            held.check()


def test_a_killed_run_is_followed_at_once(storage: Storage) -> None:
    with another_process(storage) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        assert storage.read(lease.LEASE) is not None
        assert lease.find_holder(storage) is None
        with lease.hold(storage):
            assert json.loads(storage.read(lease.LEASE) or b"")["pid"] == os.getpid()


def test_an_output_is_free_again_after_an_error(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), lease.hold(storage):
        assert lease.find_holder(storage) is not None
        _ = 1 / 0
    assert lease.find_holder(storage) is None
    assert storage.read(lease.LEASE) is None
    lease.refuse_busy(storage)


def test_looking_at_it_takes_nothing(storage: Storage, tmp_path: Path) -> None:
    assert lease.find_holder(storage) is None
    lease.refuse_busy(storage)
    assert not (tmp_path / "out").exists()


def test_signs_of_life_go_on(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    with lease.hold(storage):
        first = storage.read(lease.LEASE)
        for _ in range(200):
            if storage.read(lease.LEASE) != first:
                break
            signal.sigtimedwait([], 0.05)
        assert storage.read(lease.LEASE) != first
