"""What is done: the run's key, and one mark a finished chunk. Resume reads nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudfree.errors import OutputError

_STATE = "state.json"
_MARKS = "marks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The ``ledger/`` folder of an output."""

    folder: Path
    """``OUT/ledger``."""

    def read_state(self) -> dict[str, Any] | None:
        """Return what write_state wrote, or None where no run began."""
        try:
            state: dict[str, Any] = json.loads((self.folder / _STATE).read_text("utf-8"))
            return state
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(
                f"the ledger {self.folder / _STATE} cannot be read: {error}. "
                "Use --overwrite to start anew"
            ) from None

    def write_state(self, state: dict[str, Any]) -> None:
        """Record what the run is: its request, key, statistics and chunk side."""
        (self.folder / _MARKS).mkdir(parents=True, exist_ok=True)
        write_json(self.folder / _STATE, state)

    def mark(self, name: str, record: dict[str, Any]) -> None:
        """Record that a chunk's shards are written; the last thing that happens to a chunk."""
        write_json(self.folder / _MARKS / f"{name}.json", record)

    def marks(self, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and record of each finished chunk; marks of another key do not count."""
        for file in sorted((self.folder / _MARKS).glob("*.json")):
            try:
                record = json.loads(file.read_text("utf-8"))
            except (OSError, ValueError):
                continue
            if record.get("key") == key:
                yield file.stem, record


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is whole or not there, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1, allow_nan=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def refuse_strangers(out: Path) -> None:
    """Raise OutputError where ``out`` is a file or a folder that holds something else."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out} is a file; give a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "ledger").is_dir():
        raise OutputError(f"--out {out} holds other files and no run of cloudfree; give another")


def remove_run(out: Path) -> None:
    """Remove an earlier run's files; the ledger last, so that a crash leaves a known folder."""
    if not (out / "ledger").is_dir():
        return
    for path in out.iterdir():
        if path.name != "ledger":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.rmtree(out / "ledger")


def refuse_other(out: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise OutputError where the output holds a run of another request, naming what differs."""
    held, wanted = _flat(there), _flat(asked)
    for name in wanted:
        if held.get(name) != wanted[name]:
            raise OutputError(
                f"--out {out} holds another run: its {name} is {_short(held.get(name))}, asked is "
                f"{_short(wanted[name])}. Give another folder or --overwrite"
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
