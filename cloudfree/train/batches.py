"""Batches of patches: cut, turned, clouded. A batch depends only on the seed and the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloudfree.core.errors import RequestError
from cloudfree.core.types import BoolArray, Float32Array
from cloudfree.synthetic.clouds import Cloud, CloudSettings, lay_sky, make_sky
from cloudfree.train.pairs import Half, Pair
from cloudfree.train.settings import PatchSettings

NODATA = -1.0
"""What pictures and radar hold where a window juts out of its scene."""
LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the weights of red, green and blue in the grey pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Patches; all tensors are (patch, band, y, x)."""

    radar: Tensor
    """Standardised; one channel or two."""
    truth: Tensor
    """Clear picture."""
    valid: Tensor
    """Bool, one band: False in a wedge of nodata."""
    has_colour: Tensor
    """Bool, (patch, 1, 1, 1): False where the truth is luminance only."""
    cloudy: Tensor
    """The picture under cloud and shadow; empty for GAN1."""
    made: Tensor
    """Bool, one band: True where the ground is hidden; empty for GAN1."""
    translated: Tensor
    """GAN1's picture; empty for GAN1."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return self._map(lambda layer: layer.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in memory that an accelerator reads by itself; loaders call it."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(**{name: change(getattr(self, name)) for name in self.__slots__})


class PatchSource:
    """Draws batches from pairs. ``translated`` holds GAN1's picture per pair name for GAN2."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        settings: PatchSettings,
        *,
        translated: Mapping[str, Half] | None = None,
        clouds: CloudSettings | None = None,
        library: Sequence[Cloud] = (),
    ) -> None:
        self.pairs = list(pairs)
        self.settings = settings
        self.translated = translated
        self.clouds = clouds
        self.library = list(library)
        share = {"sen12": settings.colour_share, "sen12-grey": settings.grey_share}
        weights = np.array([share.get(pair.kind, settings.large_share) for pair in self.pairs])
        kinds = [pair.kind for pair in self.pairs]
        weights /= np.array([kinds.count(kind) for kind in kinds])
        if not weights.sum() > 0:
            raise RequestError("the shares of [patches] leave no pair to train on. Raise one.")
        self._chance = weights / weights.sum()

    def draw(self, size: int, *, seed: int, step: int) -> Batch:
        """Return batch number ``step`` of ``seed``."""
        rng = np.random.default_rng([seed, step])
        chosen = rng.choice(len(self.pairs), size, p=self._chance)
        patches = [
            self._draw_patch(self.pairs[int(pick)], rng, seed, step * size + place)
            for place, pick in enumerate(chosen)
        ]
        # GAN2 sees in the picture that a pair is grey, and has to go on in that colour.
        is_told = self.clouds is not None
        colour = [is_told or self.pairs[int(pick)].has_colour for pick in chosen]
        radar, truth, valid, cloudy, made, translated = (
            torch.from_numpy(np.stack(layer)) for layer in zip(*patches, strict=True)
        )
        return Batch(
            radar=radar,
            truth=truth,
            valid=valid,
            has_colour=torch.tensor(colour)[:, None, None, None],
            cloudy=cloudy,
            made=made,
            translated=translated,
        )

    def _draw_patch(
        self, pair: Pair, rng: np.random.Generator, seed: int, index: int
    ) -> tuple[np.ndarray, ...]:
        side = self.settings.size_px
        top = int(rng.integers(pair.radar.shape[1] - side + 1))
        left = int(rng.integers(pair.radar.shape[2] - side + 1))
        at = np.s_[:, top : top + side, left : left + side]
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

        def take(layer: Half) -> Float32Array:
            patch = np.rot90(layer[at], turns, axes=(1, 2))
            patch = patch[:, :, ::-1] if mirrored else patch
            return np.ascontiguousarray(patch).astype(np.float32)

        radar, truth = take(pair.radar), take(pair.optical)
        gain, offset = rng.uniform(-1, 1, (2, len(radar), 1, 1))
        radar = radar * (1 + self.settings.radar_gain * gain).astype(np.float32)
        radar = radar + (self.settings.radar_offset * offset).astype(np.float32)
        radar = np.clip(radar, -1, 1)
        low_dn, high_dn = pair.low_dn, pair.high_dn
        if self.clouds is not None:
            most = self.settings.stretch
            truth, low_dn, high_dn = restretch(truth, low_dn, high_dn, most, rng)
        valid = np.ones((1, side, side), bool)
        if rng.random() < self.settings.wedge_share:
            valid = draw_wedge(side, rng)
        radar[np.broadcast_to(~valid, radar.shape)] = NODATA
        truth[np.broadcast_to(~valid, truth.shape)] = NODATA
        nothing = np.zeros((0, side, side), np.float32)
        if self.clouds is None:
            return radar, truth, valid, nothing, nothing.astype(bool), nothing
        n_bands = len(truth)
        sky = make_sky((side, side), n_bands, self.clouds, self.library, seed=seed, index=index)
        cloudy = lay_sky(truth, sky, low_dn, high_dn)
        cloudy[np.broadcast_to(~valid, cloudy.shape)] = NODATA
        limit = self.settings.missed_alpha * rng.random() ** 2
        fewest, most = self.settings.growth_px
        made = grow(sky.hidden_above(limit), int(rng.integers(fewest, most + 1)))[None]
        translated = nothing if self.translated is None else take(self.translated[pair.name])
        return radar, truth, valid, cloudy, made & valid, translated


def restretch(
    picture: Float32Array,
    low_dn: Float32Array,
    high_dn: Float32Array,
    most: float,
    rng: np.random.Generator,
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return a picture (band, y, x) as another stretch shows it, and that stretch's limits.

    Per band the gain is 1 +- ``most`` and the offset +- ``most``; clipped to [-1, 1].
    """
    gain = 1 + most * rng.uniform(-1, 1, len(picture)).astype(np.float32)
    offset = most * rng.uniform(-1, 1, len(picture)).astype(np.float32)
    shown = np.clip(gain[:, None, None] * picture + offset[:, None, None], -1, 1)
    span = (high_dn - low_dn) / 2
    low, high = (low_dn + span * ((end - offset) / gain + 1) for end in (-1, 1))
    return shown, low.astype(np.float32), high.astype(np.float32)


def draw_wedge(side: int, rng: np.random.Generator) -> BoolArray:
    """Return (1, side, side): False beyond a line that cuts off up to half of the window."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:side, :side] / (side - 1) - 0.5
    distance = rows * np.sin(angle) + columns * np.cos(angle)
    inside: BoolArray = distance <= np.quantile(distance, rng.uniform(0.5, 0.95))
    return inside[None]


def grow(mask: BoolArray, radius_px: int) -> BoolArray:
    """Return a (y, x) mask whose True areas reach ``radius_px`` further, in a square."""
    for axis in (0, 1):
        grown = mask.copy()
        for shift in range(1, radius_px + 1):
            ahead, behind = np.roll(mask, shift, axis), np.roll(mask, -shift, axis)
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, shift)
            ahead[tuple(edge)] = False
            edge[axis] = slice(-shift, None)
            behind[tuple(edge)] = False
            grown |= ahead | behind
        mask = grown
    return mask


def hide_untaught(candidate: Tensor, batch: Batch) -> Tensor:
    """Return the candidate as far as the truth can judge it.

    Nodata takes the truth's value, so that it has neither loss nor gradient; where the truth has
    only luminance, the candidate is reduced to its own.
    """
    if not bool(batch.has_colour.all()):
        weights = torch.tensor(LUMINANCE, device=candidate.device).view(1, -1, 1, 1)
        grey = (candidate * weights).sum(1, keepdim=True).expand_as(candidate)
        candidate = torch.where(batch.has_colour, candidate, grey)
    if not bool(batch.valid.all()):
        candidate = torch.where(batch.valid, candidate, batch.truth)
    return candidate
