"""Work whose bits must not depend on how many threads a machine has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Answer = TypeVar("Answer")


def run_on_one_thread(work: Callable[[], Answer]) -> Answer:
    """Return what ``work`` gives on a thread of its own, on which torch uses no other.

    What such a thread asks of torch also counts for threads yet to come: it is put back.
    """
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1, "other-days", _use_one_thread) as pool:
            return pool.submit(work).result()
    finally:
        torch.set_num_threads(threads)


def _use_one_thread() -> None:
    torch.get_num_threads()  # sets the thread up, which would else undo what follows
    torch.set_num_threads(1)
