"""Whose an output is: one run writes to it at a time.

In a folder an operating system's lock says so, which dies with its process. On an object store
an object does, rewritten every ``BEAT_S``: a run that gave no sign of life for ``STALE_S`` seconds,
or was a process of this very machine that is gone, has lost it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloudfree.core.errors import CloudfreeError, OutputError, StoreError
from cloudfree.storage.outputs import Storage, Version

logger = logging.getLogger(__name__)

BEAT_S = 15.0
STALE_S = 120.0
"""By this machine's clock against the store's: they must agree within a minute."""
LEASE = "ledger/lease.json"
LOCK = "ledger/lock"
"""They outlive what a run removes of an earlier one. The lock stays for good: by it an output is
known for one."""
_LOCK_ATTEMPTS = 10
_LOCK_WAIT_S = 0.05
"""Who only looks holds the lock for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The run that holds an output."""

    host: str
    """Name of its machine."""
    machine: str
    """Tells machines, their boots and their containers apart."""
    pid: int
    """Its client's process."""
    since: str
    """When it began, ISO 8601 in UTC."""
    token: str
    """Tells runs apart."""


def _this_run() -> Holder:
    return Holder(
        host=platform.node(),
        machine=_machine(),
        pid=os.getpid(),
        since=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        token=uuid.uuid4().hex,
    )


def _machine() -> str:
    """Return what only processes share that can see each other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{platform.node()}-{uuid.getnode()}"


class Lease:
    """An output that is held by this run."""

    def __init__(self, storage: Storage, me: Holder) -> None:
        self._storage, self._me = storage, me
        self._version: Version | None = None
        self._beats, self._beaten = 0, time.monotonic()
        self._lost: str = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)

    def check(self) -> None:
        """Raise StoreError where another run took the output over, or may have."""
        if self._lost:
            raise StoreError(self._lost)

    def start(self, version: Version | None) -> None:
        """Write, and go on writing from a thread, that the run is alive."""
        self._version = version
        self._thread.start()

    def stop(self) -> None:
        """Give the output free."""
        self._stop.set()
        self._thread.join()
        try:
            if not self._lost:
                self._storage.remove(LEASE)
        except StoreError as error:
            logger.warning("%s", error)

    def content(self) -> bytes:
        """Return what the lease says; other bytes each time."""
        self._beats += 1
        return json.dumps({**asdict(self._me), "beats": self._beats}).encode()

    def _beat_on(self) -> None:
        while not self._stop.wait(BEAT_S) and not self._lost:
            try:
                self._beat()
                self._beaten = time.monotonic()
            except CloudfreeError as error:
                logger.warning("%s", error)
                if self._storage.folder is None and time.monotonic() - self._beaten > STALE_S:
                    self._lost = (
                        f"no sign of life could be written to {self._storage.address} for "
                        f"{STALE_S:.0f} s, so another run may have taken it over. Resume with the "
                        "same command"
                    )

    def _beat(self) -> None:
        if self._storage.folder is not None:
            self._storage.write(LEASE, self.content())
            return
        self._version = self._storage.replace(LEASE, self.content(), self._version)
        if self._version is None:
            self._lost = (
                f"another run took {self._storage.address} over, since this one gave no sign of "
                f"life for {STALE_S:.0f} s. What was marked done is safe"
            )


@contextmanager
def hold(storage: Storage) -> Iterator[Lease]:
    """Hold an output while the block runs; OutputError, in one line, where another run does."""
    lease = Lease(storage, _this_run())
    if (folder := storage.folder) is None:
        lease.start(_take(storage, lease))
        try:
            storage.write(LOCK, b"")  # the lease goes at the end; this says that the output is ours
            yield lease
        finally:
            lease.stop()
        return
    with _locked(folder) as locked:
        if not locked:
            raise OutputError(_held_by_another(storage))
        storage.write(LEASE, lease.content())
        lease.start(None)
        try:
            yield lease
        finally:
            lease.stop()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Yield whether the folder's lock could be had; it is let go at the end."""
    try:
        (folder / LOCK).parent.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a")
    except OSError as error:
        raise OutputError(f"cannot write to --out {folder}: {error.strerror}") from None
    with stream:
        for _ in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_WAIT_S)
            except OSError as error:
                raise OutputError(
                    f"--out {folder} cannot be locked: {error.strerror}. Give a folder on a disk "
                    "that has locks"
                ) from None
            else:
                yield True
                return
        yield False


def _is_locked(folder: Path) -> bool:
    """Tell whether a process holds the folder's lock; needs no right to write."""
    try:
        with (folder / LOCK).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _take(storage: Storage, lease: Lease) -> Version:
    """Return the version of the lease that was written over none, or over a dead one."""
    found = storage.read_versioned(LEASE)
    if found is not None and _is_alive(found[0], found[1]):
        raise OutputError(_held_by_another(storage))
    version = storage.replace(LEASE, lease.content(), None if found is None else found[2])
    if version is None:
        raise OutputError(_held_by_another(storage))
    return version


def _is_alive(content: bytes, beaten: float) -> bool:
    holder = _parse(content)
    gone = holder is not None and holder.machine == _machine() and not _runs(holder.pid)
    return not gone and time.time() - beaten < STALE_S


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _parse(content: bytes) -> Holder | None:
    try:
        facts: dict[str, Any] = json.loads(content)
        return Holder(**{name: facts[name] for name in Holder.__slots__})
    except (ValueError, KeyError):
        return None


def find_holder(storage: Storage) -> tuple[Holder, float] | None:
    """Return the run that is alive and holds an output, and its age of the last sign in seconds."""
    found = storage.read_versioned(LEASE)
    holder = None if found is None else _parse(found[0])
    if found is None or holder is None:
        return None
    if (folder := storage.folder) is None:
        alive = _is_alive(found[0], found[1])
    else:
        alive = _is_locked(folder)
    return (holder, max(0.0, time.time() - found[1])) if alive else None


def refuse_busy(storage: Storage) -> None:
    """Raise OutputError where another run holds the output; takes nothing."""
    if find_holder(storage) is not None:
        raise OutputError(_held_by_another(storage))


def _held_by_another(storage: Storage) -> str:
    found = find_holder(storage)
    who = ""
    if found is not None:
        holder, age_s = found
        who = (
            f" (host {holder.host}, process {holder.pid}, since {holder.since}, "
            f"last sign of life {age_s:.0f} s ago)"
        )
    return (
        f"--out {storage.address} is being written by another run{who}. Wait for it "
        f"(cloudfree status {storage.address} shows how far it is), stop it, or give another --out"
        + (
            ""
            if storage.folder
            else f"; a dead run is taken over {STALE_S:.0f} s after its last sign"
        )
    )
