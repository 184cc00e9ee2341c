"""Batches fit into memory: a fake allocator stands for an accelerator's, since CI has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cloudfree.core.errors import DeviceError
from cloudfree.gan.batches import Batches


class FakeMemory:
    """So much memory; a window takes ``window_bytes`` and says it takes ``told_bytes``."""

    def __init__(self, total: int, window_bytes: int, told_bytes: int | None = None) -> None:
        self.total, self.window, self.told = total, window_bytes, told_bytes or window_bytes
        self.sizes: list[int] = []
        self.released = 0

    def free_bytes(self) -> int:
        return self.total

    def peak_bytes(self, run: Callable[[], Tensor]) -> tuple[Tensor, int]:
        return run(), self.told

    def release(self) -> None:
        self.released += 1

    def restore(self, part: slice) -> Tensor:
        size = part.stop - part.start
        if size * self.window > self.total:
            raise torch.OutOfMemoryError("fake")
        self.sizes.append(size)
        return torch.arange(part.start, part.stop)[:, None] * 2


def restored(memory: FakeMemory, batches: Batches, n: int) -> list[int]:
    return batches.run(memory.restore, n)[:, 0].tolist()


def test_the_first_window_says_how_many_fit() -> None:
    memory = FakeMemory(total=1000, window_bytes=100)
    batches = Batches(memory)
    assert restored(memory, batches, 20) == [2 * i for i in range(20)]
    assert memory.sizes == [1, 8, 8, 3]
    assert restored(memory, batches, 8) == [2 * i for i in range(8)]
    assert memory.sizes[4:] == [8]


def test_out_of_memory_halves_and_loses_no_window() -> None:
    memory = FakeMemory(total=1000, window_bytes=300, told_bytes=100)
    batches = Batches(memory)
    assert restored(memory, batches, 9) == [2 * i for i in range(9)]
    assert memory.sizes == [1, 2, 2, 2, 2]
    assert memory.released == 2  # 8 and 4 were too many
    assert batches.most == 2


def test_memory_that_shrinks_later_halves_again() -> None:
    memory = FakeMemory(total=1000, window_bytes=100)
    batches = Batches(memory)
    restored(memory, batches, 9)
    memory.total = 500
    assert restored(memory, batches, 10) == [2 * i for i in range(10)]
    assert memory.sizes[2:] == [4, 4, 2]


def test_a_window_that_never_fits_is_told_in_words() -> None:
    memory = FakeMemory(total=1000, window_bytes=2000)
    with pytest.raises(DeviceError, match="does not hold one window"):
        restored(memory, Batches(memory), 3)
    assert memory.released == 1
