"""Curves as CSV, one row per step with the columns of the first row, and to TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Curve:
    """A CSV file that grows. Rows after ``keep_until`` are dropped; a resumed run redoes them."""

    def __init__(
        self, path: Path, *, keep_until: int = 0, board: SummaryWriter | None = None
    ) -> None:
        self.path = path
        self.board = board
        rows = _read_rows(path)
        kept = [row for row in rows if int(float(row["step"])) <= keep_until]
        self._columns = list(rows[0]) if kept else []
        if path.exists():
            path.unlink()
        for row in kept:
            self._write(row)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Append one row."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        self._columns = self._columns or list(row)
        self._write(row)
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(f"{self.path.stem}/{name}", value, step)

    def _write(self, row: dict[str, str]) -> None:
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="", extrasaction="ignore")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


def open_board(folder: Path, step: int) -> SummaryWriter:
    """Return a TensorBoard writer that drops what was written after ``step``."""
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415  slow to import

    return SummaryWriter(str(folder), purge_step=step + 1)


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A killed run may have left half a line.
    return [row for row in rows if row["step"] and None not in row.values()]
