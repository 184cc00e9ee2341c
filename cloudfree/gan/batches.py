"""Batches as large as an accelerator's free memory takes, halved where that was too much."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from cloudfree.core.errors import DeviceError

logger = logging.getLogger(__name__)

_SHARE_OF_FREE = 0.8
"""Allocators cut memory into pieces; not all that is free can be had at once."""


class Memory(Protocol):
    """The memory of an accelerator."""

    def free_bytes(self) -> int:
        """Return how much can be allocated."""
        ...

    def peak_bytes(self, run: Callable[[], Tensor]) -> tuple[Tensor, int]:
        """Return what ``run`` returns, and how much it took at its peak."""
        ...

    def release(self) -> None:
        """Give back what is held but not used."""
        ...


class CudaMemory:
    """The memory of this process's CUDA device."""

    def free_bytes(self) -> int:
        """Return how much can be allocated, by this process, its cache included."""
        held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return int(torch.cuda.mem_get_info()[0]) + int(held)

    def peak_bytes(self, run: Callable[[], Tensor]) -> tuple[Tensor, int]:
        """Return what ``run`` returns, and how much it took at its peak."""
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        answer = run()
        return answer, int(torch.cuda.max_memory_allocated()) - int(before)

    def release(self) -> None:
        """Give back what is held but not used."""
        torch.cuda.empty_cache()


class Batches:
    """Runs windows in batches; learns from the first window how large they may be."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.most = 0
        """Windows of the largest batch; 0 until one has been run."""

    def run(self, restore: Callable[[slice], Tensor], n: int) -> Tensor:
        """Return ``restore`` of ``n`` windows, joined along the first axis.

        Raises DeviceError where the memory does not hold a single window.
        """
        parts: list[Tensor] = []
        start = 0
        while start < n:
            size = min(max(self.most, 1), n - start)
            try:
                parts.append(self._run(restore, slice(start, start + size)))
            except torch.OutOfMemoryError:
                self._memory.release()
                if size == 1:
                    raise DeviceError(
                        "the accelerator's memory does not hold one window; free some of it, or "
                        "set gpu = off"
                    ) from None
                self.most = size // 2
                logger.warning("out of memory at %d windows; going on with %d", size, self.most)
                continue
            start += size
        return torch.cat(parts)

    def _run(self, restore: Callable[[slice], Tensor], part: slice) -> Tensor:
        if self.most:
            return restore(part)
        answer, taken = self._memory.peak_bytes(lambda: restore(part))
        self.most = max(1, int(_SHARE_OF_FREE * self._memory.free_bytes() / max(taken, 1)))
        logger.info("batches of up to %d windows", self.most)
        return answer


def count_accelerators() -> int:
    """Return how many CUDA devices this process may use."""
    return torch.cuda.device_count()
