"""GAN2 around its generator: what it is given, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cloudfree.gan.fill import Fill, fill_hidden, radar_guides

if TYPE_CHECKING:
    from cloudfree.core.contract import Channels

INPUTS = ("cloudy", "observed", "translated", "radar", "made")
"""Kinds of input that a generator may see."""


def count_inputs(inputs: tuple[str, ...], channels: Channels) -> int:
    """Return how many channels some kinds of input have together; the mask ``made`` is one."""
    bands = len(channels.bands)
    counts = {
        "cloudy": bands,
        "observed": bands,
        "translated": bands,
        "radar": channels.radar_channels,
        "made": 1,
    }
    return sum(counts[name] for name in inputs)


class CloudRemoval(nn.Module):
    """Restore cloudy pictures: cloudy and translated picture in, candidate out, of equal bands.

    ``inputs`` names what the generator sees, in order; ``fill`` what stands in the cloudy picture
    where the ground is not seen; with ``residual`` the generator's answer is added to that filled
    picture. ``observed`` among the inputs is the cloudy picture before it was filled: what shows
    through thin cloud and in shadow. The paper: inputs ``cloudy translated``, fill ``cloud``, no
    residual.
    """

    def __init__(
        self, generator: nn.Module, inputs: tuple[str, ...], fill: Fill, *, residual: bool
    ) -> None:
        super().__init__()
        self.generator = generator
        self.inputs = inputs
        self.fill: Fill = fill
        self.residual = residual

    def forward(self, cloudy: Tensor, seen: Tensor, radar: Tensor, translated: Tensor) -> Tensor:
        """Return candidates (batch, band, y, x) in [-1, 1] for every pixel.

        ``seen`` is bool, (batch, 1, y, x); ``translated`` counts only if ``inputs`` names it.
        """
        filled = self.fill_in(cloudy, seen, radar, translated)
        answer: Tensor = self.generator(self.join(filled, cloudy, seen, radar, translated))
        return (filled + answer).clamp(-1, 1) if self.residual else answer

    @torch.no_grad()
    def fill_in(self, cloudy: Tensor, seen: Tensor, radar: Tensor, translated: Tensor) -> Tensor:
        """Return the cloudy picture as the generator sees it."""
        if self.fill != "regression":
            return fill_hidden(cloudy, seen, radar, self.fill)
        guides = radar_guides(radar)
        if "translated" not in self.inputs:
            return fill_hidden(cloudy, seen, guides, self.fill)
        return fill_hidden(
            cloudy, seen, torch.cat([guides, translated], dim=1), self.fill, translated
        )

    def join(
        self, filled: Tensor, cloudy: Tensor, seen: Tensor, radar: Tensor, translated: Tensor
    ) -> Tensor:
        """Return the generator's input, also the discriminator's condition."""
        parts = {
            "cloudy": filled,
            "observed": cloudy,
            "translated": translated,
            "radar": radar,
            "made": 1 - 2 * seen.to(filled.dtype),
        }
        return torch.cat([parts[name] for name in self.inputs], dim=1)
