"""The PatchGAN discriminator of Table 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cloudfree.gan.layers import conv_block


class Discriminator(nn.Module):
    """Judge a picture under its condition: logits (batch, 1, H/16, W/16), positive is "real".

    ``forward`` takes the condition (batch, bands_condition, H, W) and the picture (batch,
    bands_picture, H, W) and joins them; in the paper 1 + 3 bands for GAN1, 6 + 3 for GAN2.
    """

    def __init__(self, bands_condition: int, bands_picture: int, width: int = 64) -> None:
        super().__init__()
        w = width
        self.layers = nn.Sequential(
            conv_block(bands_condition + bands_picture, w, 4, 2),
            conv_block(w, 2 * w, 4, 2),
            conv_block(2 * w, 4 * w, 4, 2),
            conv_block(4 * w, 8 * w, 4, 2),
            nn.Conv2d(8 * w, 1, 3, 1, padding=1),
        )

    def forward(self, condition: Tensor, picture: Tensor) -> Tensor:
        """Return fp32 logits, one per patch of the picture."""
        logits: Tensor = self.layers(torch.cat([condition, picture], dim=1))
        return logits.float()
