"""Between rows 4 and 5 of the walk: leave out datatakes that show too little of the area.

How much a datatake shows is looked at over the area as a whole, so that it does not depend on the
chunks; where a scene has a classification, that and the smallest of its bands are read.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from distributed import Client, Future
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from cloudfree.cluster import Workers, run_all
from cloudfree.core.bands import BANDS
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import NoSceneError, ReadError, RequestError, UnreachableError
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import BoolArray, Signer
from cloudfree.geometry.grid import GridPlan, pixels_inside
from cloudfree.pixels import cube
from cloudfree.pixels.mask_file import read_mask, turned_round
from cloudfree.pixels.masks import DRAWN_HIDDEN
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan, Request, make_plan
from cloudfree.product.provenance import describe_left_out, describe_unreadable
from cloudfree.scenes.scene import Scene, Step
from cloudfree.walk.measure import before_the_start, settle_offsets

logger = logging.getLogger(__name__)

_LONGEST_PX = 2048
"""A look costs no more than the reading of one chunk."""


def screen(
    request: Request, plan: Plan, client: Client, progress: Progress
) -> tuple[Plan, list[dict[str, Any]], Counter[str]]:
    """Return the plan without the datatakes that show less than ``min_seen`` and without scenes
    that cannot be read, these, and how often servers were asked again.

    An interval loses them; for a day the next best in reach is taken, but not under a mask file,
    which is drawn for one datatake. Raises a RequestError of one line where none is left, and for
    what cannot be read where the catalog's settings are strict.
    """
    least = request.settings.scenes.min_seen
    left_out: list[dict[str, Any]] = []
    looked: set[frozenset[str]] = set()
    retries: Counter[str] = Counter()
    while True:
        unknown = [step for step in plan.steps if _scenes(step) not in looked]
        looks, asked_again = _look(unknown, plan, client, progress)
        retries.update(asked_again)
        poor = [
            describe_left_out(step, found.share, found.unreadable)
            for step, found in zip(unknown, looks, strict=True)
            if found.unreadable is not None or found.share < least
        ]
        bad_radar = {scene.id: (scene, why) for found in looks for scene, why in found.bad_radar}
        unreadable = [one for one in poor if "unreadable" in one]
        unreadable += [describe_unreadable(scene, why) for scene, why in bad_radar.values()]
        for one in unreadable:
            if request.settings.catalog.strict:
                raise RequestError(_unreadable(one))
            logger.warning("left out %s: %s", ", ".join(passed_over([one])), one["unreadable"])
        if not poor and not bad_radar:
            break
        left_out += [one for one in poor if "unreadable" not in one] + unreadable
        looked |= {_scenes(step) for step in unknown}
        if poor and request.settings.masks.file is not None:
            raise NoSceneError(_hidden_by_mask(request, plan, poor[0]))
        plan = _plan_without(request, plan, left_out)
    return plan, left_out, retries


def _scenes(step: Step) -> frozenset[str]:
    return frozenset(scene.id for scene in (*step.optical, *step.radar))


def _plan_without(request: Request, plan: Plan, left_out: list[dict[str, Any]]) -> Plan:
    try:
        other = make_plan(request, plan.items, passed_over=passed_over(left_out))
    except NoSceneError:
        raise NoSceneError(_nothing_left(request, left_out)) from None
    fetcher = Fetcher(other.settings.cube, other.signer)
    with before_the_start():
        steps = settle_offsets(other.steps, other.settings, other.bundle.contract, fetcher)
    return replace(other, steps=steps)


def passed_over(left_out: list[dict[str, Any]]) -> frozenset[str]:
    """Return the ids of the scenes that were left out."""
    return frozenset(
        scene for one in left_out for kind in ("optical", "radar") for scene in one.get(kind, ())
    )


def _unreadable(step: dict[str, Any]) -> str:
    return f"{step['unreadable']}. Mend the catalog or choose another date"


def _nothing_left(request: Request, left_out: list[dict[str, Any]]) -> str:
    looked_at = [one for one in left_out if "unreadable" not in one]
    if not looked_at:
        return _unreadable(left_out[0])
    best = max(looked_at, key=lambda one: float(one["seen_share"]))
    others = f" (others looked at: {len(left_out) - 1})" if len(left_out) > 1 else ""
    return (
        f"{', '.join(best['optical'])} shows {best['seen_share']:.2%} of the area, less than "
        f"--min-seen {request.settings.scenes.min_seen:g}{others}, and no further datatake with "
        f"radar is in reach of {request.date}. Lower --min-seen (0 takes any), or choose another "
        "date or a wider --optical-days"
    )


def _hidden_by_mask(request: Request, plan: Plan, step: dict[str, Any]) -> str:
    """Return what to do about a mask file under which a datatake shows too little."""
    if "unreadable" in step:
        return _unreadable(step)
    mask, geobox = plan.settings.masks.file, coarse_geobox(plan.grid)
    assert mask is not None
    share = float((read_mask(mask, geobox) == DRAWN_HIDDEN)[_inside(plan.grid, geobox)].mean())
    turned = turned_round(mask)
    cure = f"; where it shows the ground instead, turn it round: {turned}" if turned else ""
    return (
        f"the mask {request.settings.masks.source} hides {share:.2%} of the area: of what is left "
        f"{', '.join(step['optical'])} shows {step['seen_share']:.2%} of the area, less than "
        f"--min-seen {request.settings.scenes.min_seen:g}. Mend the mask{cure}; or lower "
        "--min-seen (0 takes any)"
    )


def _look(
    steps: list[Step], plan: Plan, client: Client, progress: Progress
) -> tuple[list[Look], Counter[str]]:
    """Return what was seen of each step, and how often servers were asked again.

    One Dask job a step.
    """
    looks: dict[int, Look] = {}
    retries: Counter[str] = Counter()

    def submit(index: int, _: Workers) -> Future[tuple[Look, dict[str, int]]]:
        return client.submit(
            look_at,
            steps[index],
            plan.aoi.geometry,
            plan.grid,
            plan.settings,
            plan.signer,
            pure=False,
        )

    with progress.track("look for cloud", len(steps), "datatakes") as advance, before_the_start():
        for index, (one, asked_again) in run_all(client, range(len(steps)), submit):
            looks[index] = one
            retries.update(asked_again)
            logger.info("screen: %s shows %.1f %%", steps[index].optical[0].id, 100 * one.share)
            advance(1)
    return [looks[index] for index in range(len(steps))], retries


class Look(NamedTuple):
    """What a look at a step found."""

    share: float
    """Of the area that it shows; 0 where it cannot be read, 1 where any share will do."""
    unreadable: str | None
    """Why its optical scenes cannot be read; None where they can."""
    bad_radar: list[tuple[Scene, str]]
    """Radar scenes that cannot be read, and why."""


def look_at(
    step: Step, area: BaseGeometry, grid: GridPlan, settings: RunSettings, signer: Signer
) -> tuple[Look, dict[str, int]]:
    """Return what a look at a step finds, and how often servers were asked again.

    ``area`` is that of the grid in longitude and latitude. UnreachableError where a server does not
    answer for now.
    """
    fetcher = Fetcher(settings.cube, signer)
    bad_radar = []
    for scene in step.radar:
        try:
            cube.check_assets(scene, step.polarizations, area, fetcher)
        except UnreachableError:
            raise
        except ReadError as error:
            bad_radar.append((scene, str(error)))
    try:
        for scene in step.optical:
            cube.check_assets(scene, settings.grid.bands, area, fetcher)
        any_share = settings.scenes.min_seen == 0
        share = 1.0 if any_share else seen_share(step, grid, settings, fetcher)
        return Look(share, None, bad_radar), fetcher.retries
    except UnreachableError:
        raise
    except ReadError as error:
        return Look(0.0, str(error), bad_radar), fetcher.retries


def seen_share(step: Step, grid: GridPlan, settings: RunSettings, fetcher: Fetcher) -> float:
    """Return the share of the area's pixels in which a step shows the ground; see ``look``."""
    seen, _, inside = look(step, grid, settings, fetcher)
    return float(seen[inside].mean())


def look(
    step: Step, grid: GridPlan, settings: RunSettings, fetcher: Fetcher
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Return (y, x) of the whole grid: what a step shows, what cloud hides, and what is inside.

    Exact for areas up to 2048 px; wider ones are looked at in larger pixels, through overviews.
    """
    geobox = coarse_geobox(grid)
    observation, _ = observe(
        replace(step, radar=()),
        geobox,
        replace(settings, grid=replace(settings.grid, bands=(_cheapest_band(step),))),
        fetcher,
        Stopwatch(),
        reduced=geobox.affine.a > grid.resolution_m,
    )
    masks = observation.masks
    return masks.seen, masks.made, _inside(grid, geobox)


def _inside(grid: GridPlan, geobox: GeoBox) -> BoolArray:
    """Return (y, x): what is inside the area; all of it where that lies between the centres."""
    inside = pixels_inside(grid.area, geobox)
    return inside if inside.any() else np.ones(geobox.shape, bool)


def _cheapest_band(step: Step) -> str:
    """Return the coarsest band of all scenes: one is read to know where those without SCL lie."""
    held = [band for band in BANDS if all(scene.href(band) for scene in step.optical)]
    return max(held, key=lambda band: BANDS[band].resolution_m)


def coarse_geobox(grid: GridPlan) -> GeoBox:
    """Return the product's geobox in pixels so large that no side has more than 2048."""
    factor = math.ceil(max(grid.geobox.shape) / _LONGEST_PX)
    height, width = (math.ceil(side / factor) for side in grid.geobox.shape)
    affine = grid.geobox.affine
    return GeoBox((height, width), affine @ affine.scale(factor), grid.geobox.crs)
