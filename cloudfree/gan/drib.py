"""The paper's generator: encoder, eight dilated residual inception blocks, decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloudfree.gan.layers import conv_block, deconv_block

BLOCKS = 8
"""DRIBs in the bottleneck (section 2.1)."""


class Drib(nn.Module):
    """Dilated residual inception block (Table 2): channels and size are kept.

    Three branches of a 1x1 and a 3x3 convolution with dilation 1, 2 and 3 at half the channels
    are concatenated, brought back by a 1x1 convolution with batch norm, and added to the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branches = nn.ModuleList(_branch(channels, half, rate) for rate in (1, 2, 3))
        self.merge = nn.Sequential(
            nn.Conv2d(3 * half, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, y, x), as given."""
        merged: Tensor = self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))
        return x + merged


def _branch(channels: int, half: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, half, 1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, half, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
    )


class DribGenerator(nn.Module):
    """Map pictures (batch, bands_in, H, W) in [-1, 1] to (batch, bands_out, H, W) in [-1, 1].

    H and W are multiples of 8 and at least 16; 256 in the paper. Width 64 is the paper's. The
    stride-1 convolution with its 4x4 kernel makes the bottleneck H/8 - 1 by W/8 - 1; the first
    transposed convolution gives that pixel back. The last layer is fp32 under autocast, too.
    """

    def __init__(
        self, bands_in: int, bands_out: int, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        w = width
        self.encoder = nn.ModuleList(
            [
                conv_block(bands_in, w, 4, 2, norm=False),
                conv_block(w, 2 * w, 4, 2),
                conv_block(2 * w, 4 * w, 4, 2),
                conv_block(4 * w, 8 * w, 4, 1),
            ]
        )
        self.bottleneck = nn.Sequential(*(Drib(8 * w) for _ in range(BLOCKS)))
        self.decoder = nn.ModuleList(
            [
                deconv_block(8 * w, 4 * w, 4, 1, dropout=dropout),
                deconv_block(4 * w + 4 * w, 2 * w, 4, 2, dropout=dropout),
                deconv_block(2 * w + 2 * w, w, 4, 2),
            ]
        )
        self.last = nn.ConvTranspose2d(w + w, bands_out, 4, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return pictures in [-1, 1] of the size given."""
        half = self.encoder[0](x)
        quarter = self.encoder[1](half)
        eighth = self.encoder[2](quarter)
        x = self.bottleneck(self.encoder[3](eighth))
        x = torch.cat([self.decoder[0](x), eighth], dim=1)
        x = torch.cat([self.decoder[1](x), quarter], dim=1)
        x = torch.cat([self.decoder[2](x), half], dim=1)
        with torch.autocast(x.device.type, enabled=False):
            return torch.tanh(self.last(x.float()))
