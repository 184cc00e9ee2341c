"""Rows 8 to 12 of the walk on a block of a user's own cube, which is given without its halo."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.config import RestorationSettings
from cloudfree.core.source import NOT_RESTORED, OTHER_DAYS, RECONSTRUCTED
from cloudfree.core.types import (
    AnyArray,
    BoolArray,
    Float32Array,
    Int64Array,
    Masks,
    Model,
    UInt8Array,
    UInt16Array,
)
from cloudfree.geometry.windows import Lattice, choose_windows
from cloudfree.own_layers import Cut, Look, to_numbers
from cloudfree.own_other_days import estimate_pixels, find_near, make_of_other_days
from cloudfree.pixels.observation import Observation, OtherDays
from cloudfree.pixels.radiometry import is_measured, known_pixels
from cloudfree.restoration.inpainting import inpaint_rest
from cloudfree.restoration.other_days import SceneFit
from cloudfree.restoration.restore import restore_windows
from cloudfree.restoration.rims import REACH_PX, fit_rims
from cloudfree.walk.measure import PairStatistics

_device = threading.Lock()
"""One restoration at a time per process."""
_LARGEST = np.iinfo(np.uint16).max
Beyond = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of the cube that is restored at once."""

    shape: tuple[int, int]
    """Of its core, which it gives."""
    halo_px: int
    """What it sees beyond its core on each side."""
    near_px: int
    """What it sees of other times beyond its core: as far as the fit at the rims reaches, and all
    where the model wants other days."""
    origin: tuple[int, int]
    """Absolute row and column of the first pixel that it sees."""
    beyond: Beyond
    """Rows above and below, columns left and right, that it would see and that the cube lacks."""
    beyond_near: Beyond
    """The same of other times."""

    @property
    def near(self) -> tuple[slice, slice]:
        """Where its core, grown by what it sees of other times, lies in what it sees."""
        y, x = self.core
        return (
            slice(y.start - self.near_px, y.stop + self.near_px),
            slice(x.start - self.near_px, x.stop + self.near_px),
        )

    @property
    def core(self) -> tuple[slice, slice]:
        """Where its core lies in what it sees."""
        height, width = self.shape
        return slice(self.halo_px, self.halo_px + height), slice(self.halo_px, self.halo_px + width)


def observe_cut(cut: Cut) -> Observation:
    """Return what a part of the cube shows, in the numbers of the walk."""
    numbers, known = to_numbers(cut.optical)
    # models that look through cloud would take nothing under a mask for shadow: it is thick cloud
    nothing = np.where(cut.hidden, _LARGEST, 0)
    decibel = cut.radar.astype(np.float32)
    return Observation(
        reflectance=np.where(known, numbers, nothing).astype(np.uint16),
        masks=Masks(seen=known & ~cut.hidden, made=cut.hidden),
        decibel=decibel,
        optical_scene=(known | cut.hidden).astype(np.uint16),
        radar_scene=known_pixels(decibel).astype(np.uint16),
    )


def restore_block(
    cut: Cut,
    statistics: PairStatistics,
    model: Model,
    bands: tuple[str, ...],
    block: Block,
    fit: SceneFit | None,
    looks: list[Look],
    days: Int64Array,
) -> tuple[AnyArray, UInt8Array]:
    """Return the core of a block: (band, y, x) in the type of the cube, and its codes (y, x)."""
    cut = cut.pad(block.beyond)
    observation, contract = observe_cut(cut), model.contract
    of_others = np.zeros(block.shape, bool)
    if fit is not None:
        padded = [look.pad(block.beyond_near) for look in looks]
        wants = contract.wants_other_days
        others, of_others, other_days = _make_of_other_days(
            observation, block, fit, padded, days, everywhere=wants
        )
        if wants:
            observation = replace(observation, other_days=other_days)
    lattice = Lattice(window_px=contract.window_px, stride_px=contract.stride_px)
    choice = choose_windows(
        lattice,
        made=cut.hidden,
        core=block.core,
        wanted=cut.hidden[block.core] & ~of_others & is_measured(statistics.optical),
        origin=block.origin,
        reach_px=REACH_PX,
    )
    with _device:
        candidate, covered = restore_windows(
            observation,
            choice,
            {(1, 1): statistics.pair(model, bands)},
            lattice=lattice,
            batch_windows=RestorationSettings().batch_windows,
        )
    stretch = statistics.optical
    low, high = (
        np.array(limit, np.float32)[:, None, None] for limit in (stretch.low, stretch.high)
    )
    done = fit_rims(
        observation.reflectance,
        observation.masks,
        candidate=candidate,
        covered=covered,
        limits=(low, high),
        origin=block.origin,
    )
    if statistics.choice is not None and is_measured(stretch):
        done = inpaint_rest(
            done,
            observation.reflectance,
            observation.masks,
            colour=_spread_colour(statistics.choice.colour, observation),
            limits=(low, high),
            origin=block.origin,
        )
    source, given = done.source[block.core], cut.optical[:, *block.core]
    made = done.reflectance[:, *block.core]
    if fit is not None:
        made, source = np.where(of_others, others, made), np.where(of_others, OTHER_DAYS, source)
        source = source.astype(np.uint8)
    unit = REFLECTANCE_SCALE if given.dtype.kind == "f" else 1
    answer = np.where((source == RECONSTRUCTED) | of_others, made * unit, given)
    return np.where(source == NOT_RESTORED, cut.nodata, answer).astype(given.dtype), source


def _spread_colour(colour: tuple[float, ...], observation: Observation) -> Float32Array:
    """Return (band, y, x): the colour where the optical picture has a pixel, else NaN."""
    numbers = np.array(colour, np.float32)[:, None, None]
    return np.where(observation.optical_scene > 0, numbers, np.float32(np.nan))


def _make_of_other_days(
    observation: Observation,
    block: Block,
    fit: SceneFit,
    looks: list[Look],
    days: Int64Array,
    *,
    everywhere: bool,
) -> tuple[UInt16Array, BoolArray, OtherDays]:
    """Return a core's (band, y, x) made of other times, (y, x) which pixels could be, and what
    other times say near the core: of pixels that the rims need, or ``everywhere``.
    """
    y, x = block.near
    masks = Masks(seen=observation.masks.seen[y, x], made=observation.masks.made[y, x])
    near = find_near(masks)
    where = masks.seen | masks.made if everywhere and near.any() else near
    other_days = estimate_pixels(fit, looks, days, where)
    done, served = make_of_other_days(
        observation.reflectance[:, y, x],
        masks,
        other_days,
        near,
        (block.origin[0] + y.start, block.origin[1] + x.start),
    )
    core = (slice(block.near_px, -block.near_px), slice(block.near_px, -block.near_px))
    return done.reflectance[:, *core], served[core], other_days
