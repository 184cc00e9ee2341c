"""How long-running steps tell the outside how far they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, amount: int) -> None:
        """Add ``amount`` units."""
        ...


class Progress(Protocol):
    """Shows progress."""

    def track(self, name: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Show a bar of ``total`` units while the block runs."""
        ...


class Silent:
    """A Progress that shows nothing."""

    @contextmanager
    def track(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Yield a function that does nothing."""
        yield lambda amount: None
