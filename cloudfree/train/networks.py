"""The networks of a training, and what each is given of a batch."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cloudfree.gan import Network, build_generator, init_weights
from cloudfree.gan.fill import RemovalFill
from cloudfree.gan.removal import CloudRemoval, count_inputs
from cloudfree.train.batches import Batch
from cloudfree.train.settings import TrainSettings


def network_inputs(settings: TrainSettings) -> tuple[str, ...]:
    """Return the kinds of input the task's generator sees."""
    return ("radar",) if settings.task == "sar2opt" else settings.generator.inputs


def build_network(settings: TrainSettings) -> nn.Module:
    """Return GAN1's generator, or GAN2's with what it is given, at its first weights."""
    chosen = settings.generator
    generator = build_generator(
        cast(Network, chosen.network),
        bands_in=count_inputs(network_inputs(settings), settings.channels),
        bands_out=len(settings.channels.bands),
        width=chosen.width,
        dropout=chosen.dropout,
    )
    init_weights(generator)
    if settings.task == "sar2opt":
        return generator
    if chosen.residual:
        assert isinstance(generator.last, nn.ConvTranspose2d)
        nn.init.zeros_(generator.last.weight)  # the answer starts as the filled picture
    fill = cast(RemovalFill, chosen.fill)
    return CloudRemoval(generator, chosen.inputs, fill, residual=chosen.residual)


def apply(network: nn.Module, batch: Batch) -> Tensor:
    """Return the network's pictures for a batch."""
    if isinstance(network, CloudRemoval):
        seen = batch.valid & ~batch.made
        picture: Tensor = network(batch.cloudy, seen, batch.radar, batch.translated)
    else:
        picture = network(batch.radar.contiguous(memory_format=torch.channels_last))
    return picture


def make_condition(network: nn.Module, batch: Batch) -> Tensor:
    """Return what the discriminator judges a picture by: the generator's own input."""
    if not isinstance(network, CloudRemoval):
        return batch.radar
    seen = batch.valid & ~batch.made
    filled = network.fill_in(batch.cloudy, seen, batch.radar, batch.translated)
    return network.join(filled, batch.cloudy, seen, batch.radar, batch.translated)
