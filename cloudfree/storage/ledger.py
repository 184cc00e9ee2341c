"""What is done: the run's state, and one mark a finished chunk. Resume reads nothing else.

Nothing here grows with the number of chunks but a bit a chunk: marks are read in a stream.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cloudfree.core.errors import OutputError
from cloudfree.storage.lease import LEASE, LOCK
from cloudfree.storage.outputs import Entry, Storage

_STATE = "ledger/state.json"
_MARKS = "ledger/marks"
_FAILED = "ledger/failed"
_COUNTS = ("seen", "reconstructed", "other_days", "not_restored", "limited")
_SEAL = "sha256"
"""Key of the hash of all others: a disk that rots must not change what is resumed."""
_READERS = 16
"""Marks asked for at once on an object store."""

Job = tuple[int, int, int]
"""Step, row and column of a chunk."""


def mark_name(step: int, row: int, col: int) -> str:
    """Return the name of a chunk's mark."""
    return f"t{step:04d}-r{row:04d}-c{col:04d}"


def parse_mark(name: str) -> Job | None:
    """Return step, row and column of what ``mark_name`` made, with or without folder and suffix."""
    found = re.search(r"t(\d{4,})-r(\d{4,})-c(\d{4,})(?:\.json)?$", name)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


class Done:
    """Which chunks are finished, a bit each."""

    def __init__(self, steps: int, rows: int, cols: int) -> None:
        self._shape = (steps, rows, cols)
        self._bits = bytearray((steps * rows * cols + 7) // 8)

    def __contains__(self, job: Job) -> bool:
        index = self._index(job)
        return bool(self._bits[index >> 3] >> (index & 7) & 1)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    def add(self, job: Job) -> None:
        """Count a chunk as finished; ValueError for one that the grid does not have."""
        index = self._index(job)
        self._bits[index >> 3] |= 1 << (index & 7)

    def _index(self, job: Job) -> int:
        if not all(0 <= at < size for at, size in zip(job, self._shape, strict=True)):
            raise ValueError(f"no chunk {job} in a grid of {self._shape}")
        _, rows, cols = self._shape
        return (job[0] * rows + job[1]) * cols + job[2]


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over the records of finished chunks."""

    chunks: int = 0
    """How many."""
    pixels: Counter[str] = field(default_factory=Counter)
    """By what became of them."""
    windows: int = 0
    """Computed."""
    windows_skipped: int = 0
    """Not computed."""
    retries: Counter[str] = field(default_factory=Counter)
    """How often servers were asked again, by kind of failure."""
    seconds: Counter[str] = field(default_factory=Counter)
    """Per row of the walk."""
    peak_memory_bytes: int = 0
    """The largest of all processes."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the record of one chunk."""
        self.chunks += 1
        self.pixels.update({name: record.get(name, 0) for name in _COUNTS})
        self.windows += record["windows"]
        self.windows_skipped += record["windows_skipped"]
        self.retries.update(record["retries"])
        self.seconds.update(record["seconds"])
        self.peak_memory_bytes = max(self.peak_memory_bytes, record["peak_memory_bytes"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The ``ledger/`` folder of an output."""

    storage: Storage
    """The output."""

    def read_state(self) -> dict[str, Any] | None:
        """Return what write_state wrote, or None where no run began."""
        content = self.storage.read(_STATE)
        if content is None:
            return None
        name = self.storage.join(_STATE)
        state = _unseal(parse_json(content, name))
        if state is None:
            raise OutputError(
                f"{name} is damaged, or of an earlier cloudfree. Use --overwrite to start anew"
            )
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Record what the run is, once its cube is whole: the last thing that a begin does."""
        self.storage.write_json(_STATE, _seal(state))

    def mark(self, name: str, record: dict[str, Any]) -> None:
        """Record that a chunk's shards are written; the last thing that happens to a chunk."""
        self.storage.write_json(f"{_MARKS}/{name}.json", _seal(record))

    def read_mark(self, name: str, key: str) -> dict[str, Any] | None:
        """Return the record of a finished chunk; None where it is not, or by another key."""
        content = self.storage.read(f"{_MARKS}/{name}.json")
        return _parse_record(content, key)

    def marks(self) -> Iterator[tuple[Job, Entry]]:
        """Yield which chunks have a mark, and where and since when; reads none of them."""
        for entry in self.storage.list(_MARKS):
            if (job := parse_mark(entry.name)) is not None:
                yield job, entry

    def read_done(self, key: str, cuts: Job) -> tuple[Done, Totals]:
        """Return which chunks of a run are finished, and their sums.

        ``cuts`` is the number of steps, rows and columns. Marks of another key or chunk, or half
        written ones, do not count.
        """
        done, totals = Done(*cuts), Totals()
        for job, content in self._read_marks():
            record = _parse_record(content, key)
            if record is not None and all(at < size for at, size in zip(job, cuts, strict=True)):
                done.add(job)
                totals.add(record)
        return done, totals

    def _read_marks(self) -> Iterator[tuple[Job, bytes | None]]:
        """Yield what marks hold; from object stores a bounded number at once."""
        if self.storage.folder is not None:
            for job, entry in self.marks():
                yield job, self.storage.read(entry.name)
            return
        waiting: deque[tuple[Job, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(_READERS) as pool:
            for job, entry in self.marks():
                waiting.append((job, pool.submit(self.storage.read, entry.name)))
                if len(waiting) > 2 * _READERS:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()

    def fail(self, name: str, reason: str) -> None:
        """Record that a chunk failed, for other clients to see; a mark overrules it."""
        self.storage.write_json(f"{_FAILED}/{name}.json", {"reason": reason})

    def failures(self) -> Iterator[tuple[Job, str]]:
        """Yield the chunks that failed and why."""
        for entry in self.storage.list(_FAILED):
            job, content = parse_mark(entry.name), self.storage.read(entry.name)
            if job is not None and content is not None:
                yield job, str(parse_json(content, self.storage.join(entry.name))["reason"])

    def forget_failures(self) -> None:
        """Remove the records of failures: their chunks are done again."""
        for entry in list(self.storage.list(_FAILED)):
            self.storage.remove(entry.name)


def _parse_record(content: bytes | None, key: str) -> dict[str, Any] | None:
    """Return a mark's record; None where it is damaged, half written or of another key."""
    try:
        record = _unseal(json.loads(content or b""))
    except (ValueError, RecursionError):
        return None
    return record if record is not None and record.get("key") == key else None


def fingerprint(value: Any) -> str:
    """Return a hash of what JSON keeps of a value."""
    kept = json.loads(json.dumps(value))
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _seal(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, _SEAL: fingerprint(value)}


def _unseal(value: Any) -> dict[str, Any] | None:
    """Return what ``_seal`` was given; None where it is not what was written."""
    if not isinstance(value, dict):
        return None
    kept = {key: item for key, item in value.items() if key != _SEAL}
    return kept if value.get(_SEAL) == fingerprint(kept) else None


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Return a JSON object that the product holds; OutputError where it is damaged."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise OutputError(
            f"{name} cannot be read: {error}. Use --overwrite to start anew"
        ) from None
    if not isinstance(value, dict):
        raise OutputError(f"{name} holds no JSON object. Use --overwrite to start anew")
    return value


def refuse_strangers(storage: Storage) -> None:
    """Raise OutputError where the output is a file or holds something else."""
    folder = storage.folder
    if folder is not None and folder.exists() and not folder.is_dir():
        raise OutputError(f"--out {folder} is a file; give a folder")
    ours = any(storage.read(name) is not None for name in (LOCK, LEASE, _STATE))
    holds = any(folder.iterdir()) if folder and folder.is_dir() else _holds(storage, "")
    if holds and not ours:
        raise OutputError(
            f"--out {storage.address} holds other files and no run of cloudfree; give another"
        )


def _holds(storage: Storage, prefix: str) -> bool:
    return next(storage.list(prefix), None) is not None


def remove_run(storage: Storage) -> None:
    """Remove what an earlier run or begin left, state first; the lease stays.

    Wherever it is stopped, the output is known for ours and the run in it for unfinished.
    """
    storage.remove(_STATE)
    storage.clear(keep=(LEASE, LOCK))


def refuse_other(address: str, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise OutputError where the output holds a run of another request, naming what differs."""
    held, wanted = _flat(there), _flat(asked)
    for name in wanted:
        if held.get(name) != wanted[name]:
            raise OutputError(
                f"--out {address} holds another run: its {name} is {_short(held.get(name))}, asked "
                f"is {_short(wanted[name])}. Give another folder or --overwrite"
            )


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
