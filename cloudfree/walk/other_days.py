"""Rows 6 to 8 of the walk for other days: references read, and pixels made of them.

Pixels are made each for itself, so that it does not matter which are asked for together. References
are read only where a pixel wants them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox
from scipy.ndimage import maximum_filter

from cloudfree.core.config import REFERENCE_BLOCK_PX, RunSettings
from cloudfree.core.types import (
    BoolArray,
    Float32Array,
    Int16Array,
    Int64Array,
    Masks,
    UInt8Array,
    UInt16Array,
)
from cloudfree.pixels.observation import Observation, OtherDays
from cloudfree.pixels.observe import Clock
from cloudfree.pixels.remote import Fetcher
from cloudfree.restoration.rims import REACH_PX, FittedPixels, fit_rims
from cloudfree.scenes.scene import Reference, Step
from cloudfree.walk.radar_change import RadarChange
from cloudfree.walk.references import FittedReferences, days_of, look_at_reference
from cloudfree.walk.tiles import share_pixels

if TYPE_CHECKING:  # what knows no other days does not wait for torch
    from cloudfree.restoration.other_days import MadePixels, References

_FUSION = ""
"""Of all experts, beside single ones by name."""
BRIGHTEST_DN = 20_000
"""What is made of other days reflects at most twice the light."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOfOtherDays:
    """What other days make of a step's pixels."""

    estimate: OtherDays
    """Where it is known a pixel can be made."""
    scene: UInt16Array
    """(y, x): 1 + index in the table of references' scenes, of the nearest that served; 0 none."""
    days: Int16Array
    """(y, x): from the step's scene to that one; 0 where there is none, too."""
    count: UInt8Array
    """(y, x): how many observations served."""
    disagreement: Float32Array
    """(y, x) reflectance numbers: how far experts lie from their fusion."""
    experts: Mapping[str, OtherDays]
    """What single experts make of the same pixels, where they were asked."""


class _Mean:
    """The answers of a step's scenes, averaged by their shares.

    It is a running mean: the word of a scene that is alone is left as it is, to the bit.
    """

    def __init__(self, bands: int, shape: tuple[int, int], experts: tuple[str, ...]) -> None:
        self._shares, self._largest = np.zeros((2, *shape), np.float32)
        self._numbers = {
            name: np.zeros((bands, *shape), np.float32) for name in (_FUSION, *experts)
        }
        self._error = np.full(shape, np.nan, np.float32)
        self._disagreement = np.zeros(shape, np.float32)
        self._scene = np.zeros(shape, np.uint16)
        self._days = np.zeros(shape, np.int16)
        self._count = np.zeros(shape, np.uint8)

    def add(
        self,
        at: tuple[Int64Array, Int64Array],
        pixels: MadePixels,
        alone: Mapping[str, Float32Array],
        scenes: UInt16Array,
        share: Float32Array,
    ) -> None:
        """Add pixels (n,) ``at`` rows and columns, counted by ``share`` (n,).

        ``alone`` are single experts' (band, n); ``scenes`` (ref, n) says what was seen. Of what
        cannot be averaged the scene with the largest share tells.
        """
        known = pixels.count > 0
        share = np.where(known, share, np.float32(0))
        self._shares[at] += share
        part = share / np.where(known, self._shares[at], np.float32(1))
        for name, numbers in self._numbers.items():
            told = pixels.reflectance if name == _FUSION else alone[name]
            numbers[:, *at] += part * (told - numbers[:, *at])
        self._disagreement[at] += part * (pixels.disagreement - self._disagreement[at])
        error = self._error[at]
        before = np.where(np.isnan(error), pixels.expected_error, error)
        self._error[at] = np.where(known, before + part * (pixels.expected_error - before), error)
        rules = share > self._largest[at]
        self._largest[at] = np.maximum(share, self._largest[at])
        seen = np.take_along_axis(scenes, np.maximum(pixels.nearest, 0)[None], axis=0)[0]
        for whole, of_scene in (
            (self._scene, seen),
            (self._days, pixels.nearest_days),
            (self._count, pixels.count),
        ):
            whole[at] = np.where(rules, of_scene, whole[at])

    def finish(self) -> MadeOfOtherDays:
        """Return what all of them say."""
        known: BoolArray = self._shares > 0
        told = {
            name: OtherDays(reflectance=numbers, known=known, error=self._error)
            for name, numbers in self._numbers.items()
        }
        return MadeOfOtherDays(
            estimate=told.pop(_FUSION),
            scene=self._scene,
            days=self._days,
            count=self._count,
            disagreement=self._disagreement,
            experts=told,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The other days of a run's scenes, and how they are read."""

    fitted: Mapping[str, FittedReferences]
    """By optical scene."""
    table: Mapping[str, int]
    """Scene of a reference -> its number in the product, from 1."""
    settings: RunSettings
    """The run's."""
    fetcher: Fetcher
    """Reads."""
    clock: Clock
    """Measures."""
    experts: tuple[str, ...] = ()
    """To be asked alone as well, for comparison: ``closest``, ``line``."""

    def make(
        self, step: Step, geobox: GeoBox, observation: Observation, wanted: BoolArray
    ) -> MadeOfOtherDays | None:
        """Return what other days make of the ``wanted`` pixels (y, x) of a step's observation.

        None where no scene that shows some of them has references. ReadError where one of these
        cannot be read.
        """
        from cloudfree.restoration.other_days import ask_experts, make_pixels

        bands = len(observation.reflectance)
        mean: _Mean | None = None
        able = {name for name, one in self.fitted.items() if one.references}
        for scene, share in share_pixels(
            step.optical, able, geobox, observation.optical_scene, self.settings.grid.bands[0],
            self.fetcher,
        ):  # fmt: skip
            fitted, here = self.fitted[scene.id], wanted & (share > 0)
            mean = mean or _Mean(bands, wanted.shape, self.experts)
            for part in _blocks(here):
                observed, scenes = self._read(fitted, geobox[part], here[part], bands)
                with self.clock.row("other_days.make_pixels"):
                    pixels = make_pixels(fitted.fit, observed)
                    alone = ask_experts(fitted.fit, observed) if self.experts else {}
                rows, cols = np.nonzero(here[part])
                at = (rows + part[0].start, cols + part[1].start)
                mean.add(at, pixels, alone, scenes, share[at])
        return None if mean is None else mean.finish()

    def _read(
        self, fitted: FittedReferences, geobox: GeoBox, where: BoolArray, bands: int
    ) -> tuple[References, UInt16Array]:
        """Return what references show of some pixels (n,), and of which scene each (ref, n) is.

        A pixel uses nothing beyond its fifth clear observation on either side: a reference that no
        pixel wants any more is not read.
        """
        from cloudfree.restoration.other_days import References
        from cloudfree.restoration.other_days.evidence import OBSERVATIONS

        references = fitted.references
        count = int(np.count_nonzero(where))
        reflectance = np.zeros((len(references), bands, count), np.uint16)
        clear, snow = (np.zeros((len(references), count), bool) for _ in range(2))
        scenes = np.zeros((len(references), count), np.uint16)
        radar = RadarChange(
            geobox=geobox, settings=self.settings, fetcher=self.fetcher, clock=self.clock
        )
        watched = any(one.watch for one in references)
        change = np.full((len(references), 1, count), np.nan, np.float32) if watched else None
        for index in sorted(range(len(references)), key=lambda one: abs(references[one].days)):
            reference = references[index]
            side = [i for i, one in enumerate(references) if (one.days < 0) == (reference.days < 0)]
            enough = (clear[side] & ~snow[side]).sum(axis=0) > OBSERVATIONS
            if enough.all():
                continue
            look = look_at_reference(reference, geobox, self.settings, self.fetcher, self.clock)
            reflectance[index] = look.reflectance[:, where]
            clear[index] = look.masks.seen[where] & ~enough
            scenes[index] = self._numbers(reference)[look.optical_scene[where]]
            if look.snow is not None:
                snow[index] = look.snow[where]
            if change is not None and reference.watch is not None:
                change[index] = radar.since(reference.watch)[:, where]
        observed = References(
            reflectance=reflectance,
            clear=clear,
            days=days_of(references),
            snow=snow,
            radar_change_db=change,
        )
        return observed, scenes

    def _numbers(self, reference: Reference) -> UInt16Array:
        """Return what 0, 1, 2, … of a reference's ``optical_scene`` are in the table."""
        return np.array([0, *(self.table[scene.id] for scene in reference.scenes)], np.uint16)


def within_reach(where: BoolArray) -> BoolArray:
    """Return (y, x): the pixels that the fit at the rims of some reaches: a square around each."""
    reached: BoolArray = maximum_filter(
        where.astype(np.uint8), 2 * REACH_PX + 1, mode="constant"
    ).astype(bool)
    return reached


def fit_estimate(
    reflectance: UInt16Array, masks: Masks, estimate: OtherDays, origin: tuple[int, int]
) -> FittedPixels:
    """Return hidden pixels made of an estimate, fitted to the seen ones at the rims (row 12).

    Arrays are those of one part, whose first pixel has the absolute row and column ``origin``.
    """
    low, high = np.array([1, BRIGHTEST_DN], np.float32).reshape(2, 1, 1, 1)
    return fit_rims(
        reflectance,
        masks,
        candidate=estimate.reflectance,
        covered=estimate.known,
        limits=(low, high),
        origin=origin,
    )


def crop_estimate(estimate: OtherDays, part: tuple[slice, slice]) -> OtherDays:
    """Return a part of an estimate."""
    return OtherDays(
        reflectance=estimate.reflectance[:, *part],
        known=estimate.known[part],
        error=estimate.error[part],
    )


def _blocks(wanted: BoolArray) -> Iterator[tuple[slice, slice]]:
    """Yield the boxes around what is wanted in each block that holds some."""
    height, width = wanted.shape
    for top, left in itertools.product(
        range(0, height, REFERENCE_BLOCK_PX), range(0, width, REFERENCE_BLOCK_PX)
    ):
        block = wanted[top : top + REFERENCE_BLOCK_PX, left : left + REFERENCE_BLOCK_PX]
        y, x = (np.flatnonzero(block.any(axis=axis)) for axis in (1, 0))
        if len(y):
            yield slice(top + y[0], top + y[-1] + 1), slice(left + x[0], left + x[-1] + 1)
