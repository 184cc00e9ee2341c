"""Seen pixels hidden under clouds of elsewhere, where it is known what should come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cloudfree.core.types import BoolArray, Float32Array, Masks
from cloudfree.pixels.observation import Observation
from cloudfree.restoration.inpainting import spread_seen
from cloudfree.restoration.smoothing import gaussian
from cloudfree.synthetic.clouds import CLEAR_THICKNESS, draw_cloud

FEWEST_PIXELS = 200
"""Where fewer are hidden nothing is judged."""
_SMOOTH_PX = 4.0
_DRAWN_COVER = 0.4
"""Share under cloud where none of the scene's own can be taken."""


def draw_over(truth: Observation, seed: int) -> tuple[BoolArray, Observation]:
    """Return what ``borrow_cloud`` does, of a drawn cloud; the seed decides."""
    shape = truth.masks.seen.shape
    cloud = draw_cloud(shape, len(truth.reflectance), np.random.default_rng(seed))
    over = cloud.thickness > np.quantile(cloud.thickness, 1 - _DRAWN_COVER)
    return _lay_cloud(truth, over, cloud.texture_dn)


def borrow_cloud(
    truth: Observation, other: Observation, axes: tuple[int, ...], origin: tuple[int, int]
) -> tuple[BoolArray, Observation]:
    """Return (y, x) which seen pixels the clouds of another place hide, and what is observed then.

    They are mirrored along ``axes`` first. ``other`` has the shape of ``truth``; ``origin`` is the
    absolute row and column of its first pixel.
    """
    ground = spread_seen(other.reflectance, other.masks.seen, origin=origin)
    colours = move_cloud(
        np.flip(other.reflectance, axes).astype(np.float32),
        np.flip(ground, axes),
        truth.reflectance.astype(np.float32),
    )
    return _lay_cloud(truth, np.flip(other.masks.made, axes), colours)


def move_cloud(
    clouded: Float32Array, ground: Float32Array, other_ground: Float32Array
) -> Float32Array:
    """Return (band, y, x): a cloud and its shadow over other ground, in reflectance numbers.

    ``ground`` is what the cloud lies over in ``clouded``, about. Where that is brightened, the
    cloud's share of the light is taken for as large as in ``clouds.clip_cloud``, and the rest shows
    the other ground; where it is darkened, the other ground is by as much. What differs little from
    ``ground`` is smoothed, since most of its detail is the ground's: else a model that looks
    through thin cloud would be shown two grounds.
    """
    differs = clouded - ground
    smooth = gaussian(differs, _SMOOTH_PX)
    certain = np.clip(np.abs(differs.mean(axis=0)) / CLEAR_THICKNESS, 0, 1)
    clouded = ground + smooth + certain * (differs - smooth)
    thickness = (clouded - ground).mean(axis=0)
    ground_share = 1 - np.clip(thickness / (2 * CLEAR_THICKNESS), 0, 1)
    lit = clouded + ground_share * (other_ground - ground)
    light = np.clip(clouded.mean(axis=0) / np.maximum(ground.mean(axis=0), 1), 0, 1)
    moved: Float32Array = np.where(thickness >= 0, lit, light * other_ground)
    return moved


def _lay_cloud(
    truth: Observation, over: BoolArray, colours: Float32Array
) -> tuple[BoolArray, Observation]:
    hidden = truth.masks.seen & over
    masks = Masks(seen=truth.masks.seen & ~hidden, made=truth.masks.made | hidden)
    clouded = np.clip(np.rint(colours), 1, np.iinfo(np.uint16).max)
    reflectance = np.where(hidden, clouded, truth.reflectance).astype(np.uint16)
    return hidden, replace(truth, masks=masks, reflectance=reflectance)
