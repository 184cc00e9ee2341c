"""Generators by the name that contracts and settings use."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from cloudfree.gan.drib import DribGenerator
from cloudfree.gan.unet import UnetGenerator

Network = Literal["drib", "unet"]
"""Generators by the name a bundle's contract and a training's settings use."""


def build_generator(
    network: Network, *, bands_in: int, bands_out: int, width: int, dropout: float = 0.5
) -> nn.Module:
    """Return the named generator with torch's own first weights (see ``init_weights``)."""
    if network == "drib":
        return DribGenerator(bands_in, bands_out, width, dropout)
    if network == "unet":
        return UnetGenerator(bands_in, bands_out, width, dropout)
    raise ValueError(f"no generator is called {network!r}. Choose one of {get_args(Network)}.")
