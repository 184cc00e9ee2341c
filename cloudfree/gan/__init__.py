"""The networks of the paper: generator, discriminator, and the U-Net generator of its ablation.

``pair`` is GAN1 and GAN2 behind the face of a model, ``removal`` what GAN2 is given. Imports
``core`` and torch, no geospatial library. ``restoration.bundle`` loads it, ``train`` trains it.
"""

from __future__ import annotations

from cloudfree.gan.batches import count_accelerators
from cloudfree.gan.build import Network, build_generator
from cloudfree.gan.discriminator import Discriminator
from cloudfree.gan.drib import Drib, DribGenerator
from cloudfree.gan.layers import init_weights
from cloudfree.gan.pair import TwoGans, build_gans
from cloudfree.gan.unet import UnetGenerator

__all__ = [
    "Discriminator",
    "Drib",
    "DribGenerator",
    "Network",
    "TwoGans",
    "UnetGenerator",
    "build_gans",
    "build_generator",
    "count_accelerators",
    "init_weights",
]
