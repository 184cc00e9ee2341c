"""Pairs of radar and optical pictures: what they are, how they are scaled, split and cut.

Optical pictures are in [-1, 1]; each channel of the radar is standardised, (dB - mean) / (2.5 std)
of its scene, clipped to [-1, 1]. ``train.readers`` reads them, in the channels that are asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloudfree.core.contract import Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.types import AnyArray, BoolArray, Float32Array

Half = NDArray[np.float16]

STANDARD_DEVIATIONS = 2.5
"""Radar this many standard deviations from its mean is -1 or 1, as in SEN1-2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One radar picture and its optical truth."""

    name: str
    scene: str
    """What must not be shared by training and validation."""
    kind: str
    """``sen12``, ``sen12-grey``, ``s1s2-1024``, ``patches`` or ``sen12mscr``."""
    radar: Half
    """(channel, y, x)."""
    optical: Half
    """(band, y, x)."""
    low_dn: Float32Array
    """(band,): what -1 shows."""
    high_dn: Float32Array
    """(band,): what 1 shows."""
    cloudy: Half | None = None
    """(band, y, x): the picture under real cloud, where the set has one."""
    made: BoolArray | None = None
    """(y, x): True under that cloud."""
    place: str = ""
    """Where on the ground, if known; training and validation must not share it either."""

    @property
    def has_colour(self) -> bool:
        """False where the optical picture is luminance only."""
        return self.kind != "sen12-grey"


class Picked(NamedTuple):
    """Where the asked channels are in what a set or a file has."""

    bands: list[int]
    radar: list[int]


def pick_channels(channels: Channels, bands: Sequence[str], polarizations: Sequence[str]) -> Picked:
    """Return where the asked channels are; ValueError where there is not all of them."""
    lacking = [band for band in channels.bands if band not in bands]
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}, has {', '.join(bands)}")
    chosen = channels.choose_polarizations(polarizations)
    if chosen is None:
        has = " and ".join(name.upper() for name in polarizations)
        raise ValueError(f"lacks {channels.radar_wanted}, has {has}")
    return Picked(
        bands=[bands.index(band) for band in channels.bands],
        radar=[polarizations.index(name) for name in chosen],
    )


class LeakageError(RequestError):
    """Training and validation share a scene."""


def check_leakage(training: Iterable[Pair], validation: Iterable[Pair]) -> None:
    """Raise LeakageError when a scene is in both; pairs with equal radar count as one scene."""
    validation = list(validation)
    shared = {pair.scene for pair in training} & {pair.scene for pair in validation}
    if shared:
        raise LeakageError(
            f"training and validation share {len(shared)} scenes, among them {sorted(shared)[0]}. "
            "Split by scene: neighbouring patches overlap."
        )
    places = {pair.place for pair in validation if pair.place}
    for pair in training:
        if pair.place in places:
            raise LeakageError(
                f"training and validation share the ground of {pair.name}, at another time. "
                "Split by area."
            )
    known = {pair.radar.tobytes(): pair.name for pair in validation}
    for pair in training:
        twin = known.get(pair.radar.tobytes())
        if twin is not None:
            raise LeakageError(f"{pair.name} of the training is {twin} of the validation")


def split_folds(pairs: Sequence[Pair], count: int) -> list[set[str]]:
    """Return ``count`` groups of scenes of about equal area, the same for equal pairs."""
    area: dict[str, int] = defaultdict(int)
    for pair in pairs:
        area[pair.scene] += pair.radar.size
    folds: list[set[str]] = [set() for _ in range(count)]
    filled = [0] * count
    for scene in sorted(area, key=lambda name: (-area[name], name)):
        emptiest = filled.index(min(filled))
        folds[emptiest].add(scene)
        filled[emptiest] += area[scene]
    return folds


def cut_windows(pairs: Iterable[Pair], size_px: int) -> list[Pair]:
    """Return every pair cut into windows of ``size_px`` without overlap; rests are dropped."""
    windows = []
    for pair in pairs:
        height, width = pair.radar.shape[1:]
        for top in range(0, height - size_px + 1, size_px):
            for left in range(0, width - size_px + 1, size_px):
                at = np.s_[..., top : top + size_px, left : left + size_px]
                windows.append(
                    replace(
                        pair,
                        name=f"{pair.name}_{top}_{left}",
                        radar=pair.radar[at],
                        optical=pair.optical[at],
                        cloudy=None if pair.cloudy is None else pair.cloudy[at],
                        made=None if pair.made is None else pair.made[at],
                    )
                )
    return windows


def standardise(
    radar_db: AnyArray, mean: float | None = None, std: float | None = None
) -> Float32Array:
    """Return (dB - mean) / (2.5 std) in [-1, 1]; mean and std are the array's own if not given."""
    mean = float(radar_db.mean(dtype=np.float64)) if mean is None else mean
    std = float(radar_db.std(dtype=np.float64)) if std is None else std
    deviations = (radar_db - mean) / max(std, 1e-6)
    standardised: Float32Array = np.clip(deviations / STANDARD_DEVIATIONS, -1, 1).astype(np.float32)
    return standardised


def stretch(dn: AnyArray, low_dn: Float32Array, high_dn: Float32Array) -> Float32Array:
    """Return (band, y, x) digital numbers as a picture: low is -1, high is 1, clipped."""
    low, high = low_dn[:, None, None], high_dn[:, None, None]
    shares = (dn - low) / np.maximum(high - low, 1)
    picture: Float32Array = np.clip(2 * shares - 1, -1, 1).astype(np.float32)
    return picture
