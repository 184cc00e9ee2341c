"""How far a run is, from its marks alone."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cloudfree.core.errors import OutputError
from cloudfree.engine.status import read_status
from cloudfree.storage import lease
from cloudfree.storage.ledger import Ledger, mark_name
from cloudfree.storage.outputs import Storage, open_storage

STATE: dict[str, Any] = {
    "key": "k", "began": "2024-06-15T10:00:00+00:00", "shape": [570, 1210], "chunk_px": 512,
    "cuts": [2, 2, 3], "chunks": 12, "pixels": 2 * 570 * 1210,
}  # fmt: skip


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = open_storage(tmp_path / "out")
    Ledger(storage=made).write_state(STATE)
    return made


def mark(storage: Storage, step: int, row: int, col: int, *, age_s: float) -> None:
    name = mark_name(step, row, col)
    Ledger(storage=storage).mark(name, {"key": "k"})
    stamp = time.time() - age_s
    os.utime(storage.join(f"ledger/marks/{name}.json"), (stamp, stamp))


def test_pixels_are_those_of_the_chunks_and_edges_are_smaller(storage: Storage) -> None:
    mark(storage, 0, 0, 0, age_s=40)
    mark(storage, 1, 1, 2, age_s=30)
    status = read_status(storage)
    assert (status.chunks_done, status.chunks) == (2, 12)
    assert status.pixels_done == 512 * 512 + 58 * 186
    assert (status.holder, status.pixels_per_s, status.eta_s) == (None, None, None)
    assert status.finished == ""


def hold_since(storage: Storage, age_s: float) -> None:
    """Say that the run that holds an output began some time ago."""
    held = json.loads(storage.read(lease.LEASE) or b"")
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
    storage.write_json(lease.LEASE, {**held, "since": began.isoformat()})


def test_the_rate_is_that_of_the_run_at_work_not_of_one_before(storage: Storage) -> None:
    for col, age_s in enumerate((5000, 30, 20)):
        mark(storage, 0, 0, col, age_s=age_s)
    with lease.hold(storage):
        assert read_status(storage).pixels_per_s is None
        hold_since(storage, 40)
        status = read_status(storage)
    rate = (512 * 512 + 512 * 186) / 40
    assert status.pixels_per_s == pytest.approx(rate, rel=0.05)
    assert status.eta_s == pytest.approx((STATE["pixels"] - status.pixels_done) / rate, rel=0.05)


def test_many_marks_are_counted_and_the_latest_of_them_rated(storage: Storage) -> None:
    state = {**STATE, "shape": [512 * 20, 512 * 30], "cuts": [1, 20, 30], "chunks": 600,
             "pixels": 600 * 512 * 512}  # fmt: skip
    Ledger(storage=storage).write_state(state)
    for number in range(599):
        fast = number >= 390
        mark(storage, 0, number // 30, number % 30, age_s=(599 - number) * (1 if fast else 50))
    with lease.hold(storage):
        hold_since(storage, 100_000)
        status = read_status(storage)
    assert status.chunks_done == 599
    assert status.pixels_per_s == pytest.approx(512 * 512, rel=0.05)
    assert status.eta_s == pytest.approx(1, rel=0.05)


def test_a_failed_chunk_that_was_done_later_is_not_told(storage: Storage) -> None:
    for col in (0, 1):
        Ledger(storage=storage).fail(mark_name(0, 0, col), "burnt")
    mark(storage, 0, 0, 1, age_s=1)
    assert read_status(storage).failed == {mark_name(0, 0, 0): "burnt"}


def test_a_run_that_is_being_begun_is_told(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "new")
    with lease.hold(storage):
        status = read_status(storage)
    assert status.began == ""
    assert status.holder is not None


def test_what_is_no_run_is_refused(tmp_path: Path, storage: Storage) -> None:
    with pytest.raises(OutputError, match="holds no run"):
        read_status(open_storage(tmp_path / "nothing"))
    Ledger(storage=storage).write_state({"key": "k", "began": "2024"})
    with pytest.raises(OutputError, match="earlier cloudfree"):
        read_status(storage)
