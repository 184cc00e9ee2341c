"""Row 5 of the walk: what a scene's hidden pixels are made with, learnt of it and its other days.

It is learnt once, from windows of the scene's own grid; so it does not depend on the area.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask

from cloudfree.core.config import LEARN_A_SIDE, LEARN_PX, RunSettings
from cloudfree.core.errors import ReadError, RequestError, UnreachableError
from cloudfree.core.types import BoolArray, Float32Array, Int64Array
from cloudfree.geometry.ground import pixel_sides_m
from cloudfree.pixels import cube
from cloudfree.pixels.masks import reach_px
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import Clock, observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.scene import Reference, Scene, Step
from cloudfree.walk.plausible import check_optical
from cloudfree.walk.radar_change import RadarChange

if TYPE_CHECKING:  # what knows no other days does not wait for torch
    from cloudfree.restoration.other_days import SceneFit, Window

_RADAR = "radar that tells where the ground changed"
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
class Unusable:
    """A reference that could not be used."""

    reference: Reference
    """Which."""
    why: str
    """In one line."""
    what: str = "another day"
    """What of it is left out."""


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
    radar = [
        RadarChange(geobox=one, settings=settings, fetcher=fetcher, clock=clock) for one in geoboxes
    ]
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
        watched, changes, failed = _see_change(reference, radar)
        unusable += failed
        used.append(watched)
        looks.append([_to_window(one, change) for one, change in zip(found, changes, strict=True)])
    with clock.row("other_days.fit_scene"):
        sample = join_windows([_to_window(one) for one in own], looks, days_of(used))
        return FittedReferences(references=tuple(used), fit=fit_scene(sample)), unusable


def _see_change(
    reference: Reference, radar: Sequence[RadarChange]
) -> tuple[Reference, Sequence[Float32Array | None], list[Unusable]]:
    """Return how radar differs in each window; without its watch if that cannot be read."""
    unknown = [None] * len(radar)
    if reference.watch is None:
        return reference, unknown, []
    try:
        return reference, [one.since(reference.watch) for one in radar], []
    except UnreachableError:
        raise
    except ReadError as error:
        failed = Unusable(reference=reference, why=str(error), what=_RADAR)
        return replace(reference, watch=None), unknown, [failed]


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


def _to_window(observation: Observation, radar_change_db: Float32Array | None = None) -> Window:
    from cloudfree.restoration.other_days import Window

    return Window(
        reflectance=observation.reflectance,
        seen=observation.masks.seen,
        made=observation.masks.made,
        snow=observation.snow,
        radar_change_db=radar_change_db,
    )
