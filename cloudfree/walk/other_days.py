"""Other days in the walk: row 5 learns of a scene and its references, rows 6 to 8 read them.

What a scene's hidden pixels are made with is learnt once, from windows of the scene's own grid; so
it does not depend on the area. Pixels are made each for itself, so that it does not matter which
are asked for together. References are read only where a pixel wants them.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from cloudfree.core.config import LEARN_A_SIDE, LEARN_PX, REFERENCE_BLOCK_PX, RunSettings
from cloudfree.core.errors import ReadError, RequestError, UnreachableError
from cloudfree.core.types import (
    BoolArray,
    Float32Array,
    Int16Array,
    Int64Array,
    UInt8Array,
    UInt16Array,
)
from cloudfree.geometry.ground import pixel_sides_m
from cloudfree.pixels import cube
from cloudfree.pixels.masks import reach_px
from cloudfree.pixels.observation import Observation, OtherDays
from cloudfree.pixels.observe import Clock, observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.scene import Reference, Scene, Step
from cloudfree.walk.plausible import check_optical

if TYPE_CHECKING:  # what knows no other days does not wait for torch
    from cloudfree.restoration.other_days import MadePixels, References, SceneFit, Window

logger = logging.getLogger(__name__)

_FIELD_PX = 32
"""About as wide as a field."""
_LEARN_SHARE = 0.7
"""Of a scene's side, at most: on half of the scene what was learnt can be checked. A scene smaller
than a window or two teaches as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedReferences:
    """What the hidden pixels of a scene are made of, and how."""

    references: tuple[Reference, ...]
    """Those that the fit knows, in its order."""
    fit: SceneFit
    """Learnt from the scene and them."""

    @classmethod
    def from_bytes(cls, references: tuple[Reference, ...], content: bytes) -> FittedReferences:
        """Return them with the fit whose ``to_bytes`` gave the content; ValueError for others."""
        from cloudfree.restoration.other_days import SceneFit

        return cls(references=references, fit=SceneFit.from_bytes(content))


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

    @classmethod
    def empty(
        cls, bands: int, shape: tuple[int, int], experts: tuple[str, ...] = ()
    ) -> MadeOfOtherDays:
        """Return one in which nothing is known yet."""
        known, error = np.zeros(shape, bool), np.full(shape, np.nan, np.float32)

        def estimate() -> OtherDays:
            numbers = np.zeros((bands, *shape), np.float32)
            return OtherDays(reflectance=numbers, known=known, error=error)

        return cls(
            estimate=estimate(),
            scene=np.zeros(shape, np.uint16),
            days=np.zeros(shape, np.int16),
            count=np.zeros(shape, np.uint8),
            disagreement=np.zeros(shape, np.float32),
            experts={name: estimate() for name in experts},
        )

    def put(
        self, at: tuple[Int64Array, Int64Array], pixels: MadePixels, scenes: UInt16Array
    ) -> None:
        """Fill in pixels (n,) ``at`` rows and columns; ``scenes`` (ref, n) says what they saw."""
        known = pixels.count > 0
        self.estimate.reflectance[:, *at] = pixels.reflectance
        self.estimate.known[at] = known
        self.estimate.error[at] = pixels.expected_error
        self.count[at] = pixels.count
        self.days[at] = pixels.nearest_days
        self.disagreement[at] = pixels.disagreement
        nearest = np.maximum(pixels.nearest, 0)[None]
        self.scene[at] = np.where(known, np.take_along_axis(scenes, nearest, axis=0)[0], 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A reference that could not be used."""

    reference: Reference
    """Which."""
    why: str
    """In one line."""


def fit_references(
    target: Scene,
    references: Sequence[Reference],
    settings: RunSettings,
    fetcher: Fetcher,
    clock: Clock,
) -> tuple[FittedReferences, list[Unusable]]:
    """Return what a scene's hidden pixels are made with, and references that cannot be used.

    Reads a sample of all. ReadError where the target cannot be read, UnreachableError where a
    server does not answer for now.
    """
    from cloudfree.restoration.other_days import fit_scene, join_windows

    bands = settings.grid.bands
    geoboxes = sample_windows(target, bands[0], fetcher)
    settings = replace(settings, masks=settings.masks.without_file())
    own = [_look((target,), geobox, settings, fetcher, clock) for geobox in geoboxes]
    used: list[Reference] = []
    looks: list[list[Window]] = []
    unusable: list[Unusable] = []
    for reference in references:
        try:
            found = [
                look_at_reference(reference, geobox, settings, fetcher, clock)
                for geobox in geoboxes
            ]
            check_optical(reference.scenes[0], found, bands)
        except UnreachableError:
            raise
        except (ReadError, RequestError) as error:
            unusable.append(Unusable(reference=reference, why=str(error)))
            continue
        used.append(reference)
        looks.append([_to_window(one) for one in found])
    with clock.row("other_days.fit_scene"):
        sample = join_windows([_to_window(one) for one in own], looks, days_of(used))
        return FittedReferences(references=tuple(used), fit=fit_scene(sample)), unusable


def days_of(references: Sequence[Reference]) -> Int64Array:
    """Return (ref,) days from the target, as a fit wants them."""
    return np.array([one.days for one in references], np.int64)


def sample_windows(target: Scene, band: str, fetcher: Fetcher) -> list[GeoBox]:
    """Return the windows of a scene's own grid that its fit learns from; no other pixel teaches."""
    whole = cube.read_grid(target, band, fetcher)
    rows, cols = (
        np.linspace(0, max(size - LEARN_PX, 0), _count_windows(size)).astype(int).tolist()
        for size in whole.shape.yx
    )
    return [
        whole[y : min(y + LEARN_PX, whole.height), x : min(x + LEARN_PX, whole.width)]
        for y, x in itertools.product(rows, cols)
    ]


def _count_windows(size: int) -> int:
    return min(max(int(_LEARN_SHARE * size / LEARN_PX), 1), LEARN_A_SIDE)


def taught(target: Scene, geobox: GeoBox, band: str, fetcher: Fetcher) -> BoolArray:
    """Return (y, x): which pixels of a geobox lie in a window that the scene's fit learnt from.

    Or so near that it shows the same fields: what was learnt of a part of one serves the other.
    """
    assert geobox.crs is not None
    windows = [
        one.pad(_FIELD_PX, _FIELD_PX).extent.to_crs(geobox.crs)
        for one in sample_windows(target, band, fetcher)
    ]
    touched: BoolArray = geometry_mask(
        [shapely.from_wkt(one.wkt) for one in windows],
        geobox.shape.yx,
        geobox.affine,
        all_touched=True,
        invert=True,
    )
    return touched


def look_at_reference(
    reference: Reference, geobox: GeoBox, settings: RunSettings, fetcher: Fetcher, clock: Clock
) -> Observation:
    """Return what a reference shows of a geobox; masks are grown as references want it.

    A mask file does not count: it is of the target's day.
    """
    settings = replace(settings, masks=settings.reference_masks)
    return _look(reference.scenes, geobox, settings, fetcher, clock)


def _look(
    scenes: tuple[Scene, ...],
    geobox: GeoBox,
    settings: RunSettings,
    fetcher: Fetcher,
    clock: Clock,
) -> Observation:
    """Return what optical scenes show of a geobox, masked by what lies around it too."""
    step = Step(time=scenes[0].time, optical=scenes, radar=(), polarizations=(), radar_age_h=None)
    margin = reach_px(settings.masks, float(np.min(pixel_sides_m(geobox))))
    seen, _ = observe(step, geobox.pad(margin, margin), settings, fetcher, clock)
    core = (slice(margin, margin + geobox.height), slice(margin, margin + geobox.width))
    return crop(seen, core)


def crop(observation: Observation, part: tuple[slice, slice]) -> Observation:
    """Return a part of an observation without its estimate of other days."""
    masks = observation.masks
    return replace(
        observation,
        reflectance=observation.reflectance[:, *part],
        masks=replace(masks, seen=masks.seen[part], made=masks.made[part]),
        decibel=observation.decibel[:, *part],
        optical_scene=observation.optical_scene[part],
        radar_scene=observation.radar_scene[part],
        snow=None if observation.snow is None else observation.snow[part],
        other_days=None,
    )


def crop_estimate(estimate: OtherDays, part: tuple[slice, slice]) -> OtherDays:
    """Return a part of an estimate."""
    return OtherDays(
        reflectance=estimate.reflectance[:, *part],
        known=estimate.known[part],
        error=estimate.error[part],
    )


def _to_window(observation: Observation) -> Window:
    from cloudfree.restoration.other_days import Window

    return Window(
        reflectance=observation.reflectance,
        seen=observation.masks.seen,
        made=observation.masks.made,
        snow=observation.snow,
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

        made: MadeOfOtherDays | None = None
        for index, scene in enumerate(step.optical):
            fitted = self.fitted.get(scene.id)
            here = wanted & (observation.optical_scene == index + 1)
            if fitted is None or not fitted.references or not here.any():
                continue
            bands = len(observation.reflectance)
            made = made or MadeOfOtherDays.empty(bands, wanted.shape, self.experts)
            for part in _blocks(here):
                observed, scenes = self._read(fitted, geobox[part], here[part], bands)
                with self.clock.row("other_days.make_pixels"):
                    pixels = make_pixels(fitted.fit, observed)
                    alone = ask_experts(fitted.fit, observed) if self.experts else {}
                rows, cols = np.nonzero(here[part])
                at = (rows + part[0].start, cols + part[1].start)
                made.put(at, pixels, scenes)
                for name, one in made.experts.items():
                    one.reflectance[:, *at] = alone[name]
        return made

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
        days = days_of(references)
        return References(reflectance=reflectance, clear=clear, days=days, snow=snow), scenes

    def _numbers(self, reference: Reference) -> UInt16Array:
        """Return what 0, 1, 2, … of a reference's ``optical_scene`` are in the table."""
        return np.array([0, *(self.table[scene.id] for scene in reference.scenes)], np.uint16)


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
