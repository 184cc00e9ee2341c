"""Progress, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cloudfree.progress import Advance


class Bars:
    """Progress bars on stderr, with a real total and the time left."""

    @contextmanager
    def track(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Show one bar while the block runs."""
        columns = (
            TextColumn("{task.description:>15}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(name, total=total)
            yield lambda amount: bars.advance(task, amount)
