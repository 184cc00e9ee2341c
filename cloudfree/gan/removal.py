"""GAN2 around its generator: what it is given, and what its answer means."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from cloudfree.core.contract import OF_OTHER_DAYS
from cloudfree.gan.fill import RemovalFill, fill_hidden, radar_guides

if TYPE_CHECKING:
    from cloudfree.core.contract import Channels

INPUTS = ("cloudy", "observed", "translated", "radar", "made", *OF_OTHER_DAYS)
"""Kinds of input that a generator may see."""


def count_inputs(inputs: tuple[str, ...], channels: Channels) -> int:
    """Return how many channels some kinds of input have together; a mask or an error is one."""
    bands = len(channels.bands)
    counts = {
        "cloudy": bands,
        "observed": bands,
        "translated": bands,
        "radar": channels.radar_channels,
        "made": 1,
        "reference": bands,
        "reference_seen": 1,
        "reference_error": 1,
    }
    return sum(counts[name] for name in inputs)


class OtherDaysTensors(NamedTuple):
    """What other days say of a batch; see types.OtherDaysPicture."""

    picture: Tensor
    """(batch, band, y, x) in [-1, 1]."""
    known: Tensor
    """Bool, (batch, 1, y, x)."""
    error: Tensor
    """(batch, 1, y, x)."""


class CloudRemoval(nn.Module):
    """Restore cloudy pictures: cloudy and translated picture in, candidate out, of equal bands.

    ``inputs`` names what the generator sees, in order; ``fill`` what stands in the cloudy picture
    where the ground is not seen; with ``residual`` the generator's answer is added to that filled
    picture. ``observed`` among the inputs is the cloudy picture before it was filled: what shows
    through thin cloud and in shadow. ``reference`` is what other days say of each pixel,
    ``reference_seen`` where they say something, ``reference_error`` how far that is expected to be
    off. Masks are 1 and -1. The paper: inputs ``cloudy translated``, fill ``cloud``, no residual.
    """

    def __init__(
        self, generator: nn.Module, inputs: tuple[str, ...], fill: RemovalFill, *, residual: bool
    ) -> None:
        super().__init__()
        self.generator = generator
        self.inputs = inputs
        self.fill: RemovalFill = fill
        self.residual = residual

    def forward(
        self,
        cloudy: Tensor,
        seen: Tensor,
        radar: Tensor,
        translated: Tensor,
        other_days: OtherDaysTensors | None = None,
    ) -> Tensor:
        """Return candidates (batch, band, y, x) in [-1, 1] for every pixel.

        ``seen`` is bool, (batch, 1, y, x); ``translated`` counts only if ``inputs`` names it,
        ``other_days`` only if ``inputs`` or ``fill`` does.
        """
        filled = self.fill_in(cloudy, seen, radar, translated, other_days)
        joined = self.join(filled, cloudy, seen, radar, translated, other_days)
        answer: Tensor = self.generator(joined)
        return (filled + answer).clamp(-1, 1) if self.residual else answer

    @torch.no_grad()
    def fill_in(
        self,
        cloudy: Tensor,
        seen: Tensor,
        radar: Tensor,
        translated: Tensor,
        other_days: OtherDaysTensors | None = None,
    ) -> Tensor:
        """Return the cloudy picture as the generator sees it."""
        fill = self.fill
        if fill == "reference":
            assert other_days is not None
            cloudy = torch.where(other_days.known & ~seen, other_days.picture, cloudy)
            seen, fill = seen | other_days.known, "regression"
        if fill != "regression":
            return fill_hidden(cloudy, seen, radar, fill)
        guides = radar_guides(radar)
        if "translated" not in self.inputs:
            return fill_hidden(cloudy, seen, guides, fill)
        return fill_hidden(cloudy, seen, torch.cat([guides, translated], dim=1), fill, translated)

    def join(
        self,
        filled: Tensor,
        cloudy: Tensor,
        seen: Tensor,
        radar: Tensor,
        translated: Tensor,
        other_days: OtherDaysTensors | None = None,
    ) -> Tensor:
        """Return the generator's input, also the discriminator's condition."""
        parts = {
            "cloudy": filled,
            "observed": cloudy,
            "translated": translated,
            "radar": radar,
            "made": 1 - 2 * seen.to(filled.dtype),
        }
        if other_days is not None:
            parts |= {
                "reference": other_days.picture,
                "reference_seen": 2 * other_days.known.to(filled.dtype) - 1,
                "reference_error": other_days.error,
            }
        return torch.cat([parts[name] for name in self.inputs], dim=1)
