"""Seconds per row of the walk, and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds spent in each row of the walk."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Time a block as part of a row; what is inside another row counts twice."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - start

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of another stopwatch."""
        for name, value in seconds.items():
            self._seconds[name] += value

    @property
    def seconds(self) -> dict[str, float]:
        """Row -> seconds so far."""
        return {name: round(value, 4) for name, value in self._seconds.items()}


def peak_memory_bytes() -> int:
    """Return the largest resident size this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
