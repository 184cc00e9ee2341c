"""The ablation generator: the U-Net of pix2pix, for 256 px windows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloudfree.gan.layers import LEAK

DEPTH = 8
"""Halvings of the side: 256 px becomes 1 px."""


class UnetGenerator(nn.Module):
    """Map pictures (batch, bands_in, H, W) in [-1, 1] to (batch, bands_out, H, W) in [-1, 1].

    H and W are multiples of 256. At width 64 with three bands in and out it has the 54.4 million
    parameters of pix2pix's U-Net (Isola 2017), which the paper's generator halves.
    """

    def __init__(
        self, bands_in: int, bands_out: int, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        channels = [width * min(2**level, 8) for level in range(DEPTH)]
        self.down = nn.ModuleList()
        for level, (before, after) in enumerate(
            zip([bands_in, *channels[:-1]], channels, strict=True)
        ):
            layers: list[nn.Module] = [nn.LeakyReLU(LEAK)] if level else []
            normed = 0 < level < DEPTH - 1
            layers.append(nn.Conv2d(before, after, 4, 2, padding=1, bias=not normed))
            if normed:
                layers.append(nn.BatchNorm2d(after))
            self.down.append(nn.Sequential(*layers))
        self.up = nn.ModuleList()
        for level in range(DEPTH - 1, 0, -1):
            before = channels[level] * (1 if level == DEPTH - 1 else 2)
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(before, channels[level - 1], 4, 2, padding=1, bias=False),
                nn.BatchNorm2d(channels[level - 1]),
            ]
            if DEPTH - 1 > level > DEPTH - 5:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        self.last = nn.ConvTranspose2d(2 * width, bands_out, 4, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return pictures in [-1, 1] of the size given."""
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], dim=1)
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(self.last(torch.relu(x.float())))
