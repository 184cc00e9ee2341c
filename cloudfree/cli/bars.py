"""Progress: bars on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
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

from cloudfree.core.progress import Advance

_LINES = 10
"""Lines at most for one row of the walk, evenly spread over its work."""


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


class Lines:
    """A plain line on stderr each time that another tenth is done: for logs."""

    @contextmanager
    def track(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Say now and then how far the block is."""
        began, done, said = time.monotonic(), 0, 0

        def advance(amount: int) -> None:
            nonlocal done, said
            done += amount
            tenths = min(_LINES * done // max(total, 1), _LINES)
            if tenths > said:
                said = tenths
                took_s = time.monotonic() - began
                left = f", about {took_s * (total - done) / done:.0f} s to go" * (done < total)
                click.echo(
                    f"{name}: {done / total:.0%} of {total:,} {unit} in {took_s:.0f} s{left}",
                    err=True,
                )

        yield advance


def bars_or_lines() -> Bars | Lines:
    """Return what suits stderr: bars where it is a terminal that can draw them."""
    return Bars() if Console(stderr=True).is_interactive else Lines()
