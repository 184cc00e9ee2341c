"""How far a run is, from any client: what the output itself says, while it is written and after."""

from __future__ import annotations

import datetime as dt
import heapq
import time
from dataclasses import asdict, dataclass
from typing import Any

from cloudfree.core.errors import OutputError
from cloudfree.product import provenance
from cloudfree.storage.lease import find_holder
from cloudfree.storage.ledger import Done, Ledger, mark_name, parse_json
from cloudfree.storage.outputs import Storage

_RECENT = 200
"""Marks that the rate is taken from."""
_NOT_BEGUN: dict[str, Any] = {
    "began": "", "chunks": 0, "pixels": 0, "chunk_px": 1, "shape": (0, 0), "cuts": (0, 0, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run is."""

    address: str
    """The output."""
    began: str
    """When, ISO 8601 in UTC; empty where it is still being begun."""
    finished: str
    """When, likewise; empty where it is not."""
    chunks: int
    """Of the product."""
    chunks_done: int
    """With a mark."""
    pixels: int
    """Of the product: those of its chunks."""
    pixels_done: int
    """Of the chunks that are done."""
    failed: dict[str, str]
    """Chunk -> why it failed, of those that are not done."""
    pixels_per_s: float | None
    """Of the latest marks; None where nobody is at work or too little is done."""
    eta_s: float | None
    """Seconds until the last chunk is done at that rate."""
    holder: dict[str, Any] | None
    """Who is at work: host, pid, since, and seconds since the last sign of life."""

    def describe(self) -> dict[str, Any]:
        """Return plain values: what ``cloudfree status --json`` prints."""
        return asdict(self)


def read_status(storage: Storage) -> Status:
    """Return how far the run in an output is; lists the marks and reads none of them.

    Raises OutputError where there is no run.
    """
    ledger, held = Ledger(storage=storage), find_holder(storage)
    holder, since = None, 0.0
    if held is not None:
        who, age_s = held
        since = dt.datetime.fromisoformat(who.since).timestamp()
        holder = {"host": who.host, "pid": who.pid, "since": who.since, "age_s": round(age_s, 1)}
    state = ledger.read_state()
    if state is None and held is None:
        raise OutputError(f"{storage.address} holds no run of cloudfree; check the address")
    state = state or _NOT_BEGUN
    if "cuts" not in state:
        raise OutputError(
            f"{storage.address} was begun by an earlier cloudfree, which did not write down how "
            "much there is to do; its run can be resumed, or begun anew with --overwrite"
        )
    done, pixels_done, latest = _count(ledger, state)
    rate = _rate(latest, since) if holder and len(done) < state["chunks"] else None
    return Status(
        address=storage.address,
        began=state["began"],
        finished=_finished(storage),
        chunks=state["chunks"],
        chunks_done=len(done),
        pixels=state["pixels"],
        pixels_done=pixels_done,
        failed={mark_name(*job): why for job, why in ledger.failures() if job not in done},
        pixels_per_s=rate,
        eta_s=(state["pixels"] - pixels_done) / rate if rate else None,
        holder=holder,
    )


def _finished(storage: Storage) -> str:
    content = storage.read(provenance.RUN)
    if content is None:
        return ""
    return str(parse_json(content, storage.join(provenance.RUN))["finished"])


def _count(ledger: Ledger, state: dict[str, Any]) -> tuple[Done, int, list[tuple[float, int]]]:
    """Return which chunks are done, their pixels, and time and pixels of the latest."""
    done, pixels_done, latest = Done(*state["cuts"]), 0, []
    (height, width), side = state["shape"], state["chunk_px"]
    for (step, row, col), entry in ledger.marks():
        pixels = min(side, height - row * side) * min(side, width - col * side)
        done.add((step, row, col))
        pixels_done += pixels
        latest.append((entry.modified, pixels))
        if len(latest) > 2 * _RECENT:
            latest = heapq.nlargest(_RECENT, latest)
    return done, pixels_done, heapq.nlargest(_RECENT, latest)


def _rate(latest: list[tuple[float, int]], since: float) -> float | None:
    """Return pixels a second of the latest marks (latest first) of a run that began at ``since``.

    None where it has not marked any yet.
    """
    own = [one for one in latest if one[0] >= since]
    if len(own) == _RECENT:
        since = own.pop()[0]  # what it holds was made before
    return sum(pixels for _, pixels in own) / max(time.time() - since, 1.0) if own else None
