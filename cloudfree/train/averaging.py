"""The generator that is judged and kept: an average over steps, with statistics of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

WARM_UP = 10.0
"""Memory grows with the steps: decay is at most (1 + step) / (WARM_UP + step)."""


class AveragedGenerator:
    """Exponential moving average of a generator's weights (EMA)."""

    def __init__(self, generator: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(generator).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, generator: nn.Module, step: int) -> None:
        """Move the average towards the generator after ``step`` steps."""
        decay = min(self.decay, (1 + step) / (WARM_UP + step))
        average: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(generator.parameters())
        torch._foreach_lerp_(average, current, 1 - decay)

    @torch.no_grad()
    def measure_norms(self, passes: Iterable[Callable[[nn.Module], Tensor]]) -> None:
        """Recompute the batch-norm statistics as plain means over ``passes``, without dropout.

        Each pass sends one batch through the network that it is given. The running statistics of
        the training lag behind the weights, and are none of the average's.
        """
        norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for send in passes:
            send(self.network)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
