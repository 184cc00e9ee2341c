"""What can be had without a network: the bars that every score stands beside.

Pictures are tensors (picture, band, y, x) in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cloudfree.gan.fill import Fill, fill_hidden, radar_guides
from cloudfree.train.batches import Batch


@dataclass(frozen=True, slots=True)
class ColourRegression:
    """Least squares of colour on smoothed radar over a training set."""

    weights: Tensor
    """(1 + guides, bands)."""

    @classmethod
    def fit(cls, batches: list[Batch]) -> ColourRegression:
        """Fit on the pixels of batches that are valid and have colour."""
        normal: Tensor | float = 0.0
        right: Tensor | float = 0.0
        for batch in batches:
            used = (batch.valid & batch.has_colour).flatten(1).flatten()
            design = _design(batch.radar)[used]
            colour = batch.truth.permute(0, 2, 3, 1).flatten(0, 2)[used].double()
            normal = normal + design.T @ design
            right = right + design.T @ colour
        assert isinstance(normal, Tensor)
        ridge = 1e-6 * float(normal.diagonal().max()) * torch.eye(len(normal)).double()
        return cls(torch.linalg.solve(normal + ridge, right))

    def __call__(self, radar: Tensor) -> Tensor:
        """Return the colour that the radar suggests."""
        batch, _, height, width = radar.shape
        colour = (_design(radar) @ self.weights).view(batch, height, width, -1)
        return colour.permute(0, 3, 1, 2).float().clamp(-1, 1)


def mean_colour(batches: list[Batch]) -> Tensor:
    """Return (1, bands, 1, 1): the mean colour of a training set."""
    shown = [(b.truth * (b.valid & b.has_colour)).sum((0, 2, 3)) for b in batches]
    count = [(b.valid & b.has_colour).sum() for b in batches]
    return (torch.stack(shown).sum(0) / torch.stack(count).sum()).view(1, -1, 1, 1)


def fill_without_network(batch: Batch, fill: Fill) -> Tensor:
    """Return cloudy pictures under a fill that needs no network."""
    return fill_hidden(batch.cloudy, ~batch.made, radar_guides(batch.radar), fill)


def _design(radar: Tensor) -> Tensor:
    guides = radar_guides(radar).permute(0, 2, 3, 1).flatten(0, 2).double()
    return torch.cat([torch.ones_like(guides[:, :1]), guides], dim=1)
