"""Building blocks in the acronyms of the paper's Tables 1 and 2, and their first weights."""

from __future__ import annotations

from torch import nn

LEAK = 0.2
"""Slope of LeakyReLU below zero; the paper gives none, this is pix2pix's."""


def conv_block(
    channels_in: int, channels_out: int, kernel: int, stride: int, *, norm: bool = True
) -> nn.Sequential:
    """Return CBL (or CL without ``norm``): convolution, batch norm, LeakyReLU. Padding is 1."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1, bias=not norm)
    ]
    if norm:
        layers.append(nn.BatchNorm2d(channels_out))
    layers.append(nn.LeakyReLU(LEAK, inplace=True))
    return nn.Sequential(*layers)


def deconv_block(
    channels_in: int, channels_out: int, kernel: int, stride: int, *, dropout: float = 0.0
) -> nn.Sequential:
    """Return CBR (or CBDR with ``dropout``): transposed convolution, batch norm, dropout, ReLU."""
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(channels_in, channels_out, kernel, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def init_weights(network: nn.Module, std: float = 0.02) -> None:
    """Draw all convolution weights from N(0, std) in place; biases are 0.

    Batch norm starts at N(1, std) and 0, as in pix2pix. Source: paper section 3.1, whose
    "variance 0.02" is read as a standard deviation. Uses torch's global generator.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
