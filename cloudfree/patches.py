"""Training patches cut from a user's own STAC scenes, as a run reads them."""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from cloudfree.core.config import ReferenceSettings
from cloudfree.core.contract import POLARIZATIONS, Contract
from cloudfree.core.errors import (
    AoiError,
    NoSceneError,
    OutputError,
    ReadError,
    RequestError,
    SettingsError,
    StoreError,
    UnreachableError,
)
from cloudfree.core.progress import Advance, Progress
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import Float32Array, Masks, Model
from cloudfree.geometry.crs import name_crs
from cloudfree.geometry.grid import GridPlan
from cloudfree.geometry.ground import measure_scale
from cloudfree.pixels.masks import reach_px
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.plan import Plan, Request, make_plan
from cloudfree.planning.screen import look_at
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.restore import PairModel, cut_windows
from cloudfree.scenes.scene import Step
from cloudfree.walk.measure import measure_pair, settle_offsets

logger = logging.getLogger(__name__)

BLOCK_PX = 2048
"""Patches are read in blocks of about this side, as a run reads chunks."""
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Places that are read at once."""

    geobox: GeoBox
    """Of all of them, and as far around them as cloud masks are dilated."""
    squares: dict[tuple[int, int], tuple[slice, slice]]
    """Row and column on the lattice of the CRS -> where in the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchChoice:
    """Which patches are cut."""

    size_px: int
    """Side of a patch; a multiple of 8."""
    max_cloud: float
    """Largest share of a patch that may be hidden."""
    all_polarizations: bool = False
    """True: radar of VV and VH; False: what the model of the request takes."""

    def __post_init__(self) -> None:
        if self.size_px < 16 or self.size_px % 8:
            raise SettingsError(f"size_px is {self.size_px}; give a multiple of 8 from 16")
        if not 0 <= self.max_cloud <= 1:
            raise SettingsError(f"max_cloud is {self.max_cloud}; give a share from 0 to 1")


def cut_patches(
    request: Request, out: Path, choice: PatchChoice, progress: Progress
) -> Counter[str]:
    """Write ``out/SCENE/DATE_ROW_COL.npz`` for every clear patch, return how many there were.

    Patches lie side by side on a lattice that starts at (0, 0) of the CRS, wholly in the area, and
    every pixel is valid, in one optical and one radar scene. Each file holds ``optical`` (band, y,
    x) and ``radar`` (channel, y, x) in half precision, in [-1, 1] as a model gets them, ``bands``,
    ``polarizations`` (of the radar's channels), ``low_dn`` and ``high_dn`` (what -1 and 1 show of
    each band), ``scene``, ``time``, ``place``, ``crs`` and ``transform``. Hidden pixels, where
    ``choice`` allows some, show the cloud: nothing else is known there.

    The answer counts ``kept`` and, by reason, what was not. Doing it again writes the same bytes.
    Raises a RequestError of one line where nothing can be cut or a scene cannot be read,
    UnreachableError where a server does not answer for now, StoreError where the disk fails.
    """
    contract = open_bundle(request.settings.restoration.model).contract
    if choice.all_polarizations:
        contract = replace(contract, polarizations=POLARIZATIONS, all_polarizations=True)
    alone = replace(request.settings, references=ReferenceSettings(days=0))
    plan = make_plan(replace(request, settings=alone), channels=contract)
    steps = [step for step in plan.steps if step.radar]
    if not steps:
        raise NoSceneError(
            f"no radar within {request.settings.scenes.sar_days:g} days of {request.date}: there "
            "is nothing to pair. Raise --sar-days or choose another date"
        )
    scale = measure_scale(plan.grid.crs, plan.aoi.geometry)
    halo_px = reach_px(request.settings.masks, scale.smallest_pixel_m(plan.grid.resolution_m))
    blocks = list(find_blocks(plan.grid, choice.size_px, halo_px))
    squares = sum(len(block.squares) for block in blocks)
    if not squares:
        raise AoiError(
            f"the area holds no whole patch of {choice.size_px} px "
            f"({choice.size_px * plan.grid.resolution_m:g} m); give a larger one or lower --size-px"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to --out {out}: {error.strerror}") from None
    counts: Counter[str] = Counter({"kept": 0})
    if len(steps) < len(plan.steps):
        counts["no radar"] = squares * (len(plan.steps) - len(steps))
    fetcher = Fetcher(plan.settings.cube, plan.signer)
    model = OnlyContract(contract=contract)
    try:
        steps = list(settle_offsets(steps, plan.settings, contract, fetcher))
        with progress.track("cut patches", len(steps) * squares, "patches") as advance:
            for step in steps:
                reason = _leave_out(step, plan, alone=len(steps) == 1)
                if reason is not None:
                    counts[reason] += squares
                    advance(squares)
                    continue
                cutter = Cutter(plan, step, model, out, choice, fetcher)
                for block in blocks:
                    counts.update(cutter.cut_block(block, advance))
    except UnreachableError:
        raise  # not the request is wrong
    except ReadError as error:
        raise RequestError(f"{error}. Mend the catalog or choose another date") from None
    logger.info("patches.cut_patches: %s in %s", dict(counts), out)
    return counts


def _leave_out(step: Step, plan: Plan, *, alone: bool) -> str | None:
    """Return why a run would leave a step out, in a word.

    ReadError where it cannot be read and is ``alone``, or the settings are strict.
    """
    settings = plan.settings
    found, _ = look_at(step, plan.aoi.geometry, plan.grid, settings, plan.signer)
    unreadable = [why for _, why in found.bad_radar]
    if found.unreadable is not None:
        unreadable.insert(0, found.unreadable)
    if unreadable:
        if alone or settings.catalog.strict:
            raise ReadError(unreadable[0])
        logger.warning("left out %s: %s", step.optical[0].id, unreadable[0])
        return "unreadable"
    return "too little seen" if found.share < settings.scenes.min_seen else None


def find_blocks(grid: GridPlan, size_px: int, halo_px: int) -> Iterator[Block]:
    """Yield blocks that hold all squares of ``size_px`` wholly in the area, with a halo."""
    side_m = size_px * grid.resolution_m
    left, bottom, right, top = grid.area.bounds
    first_col, last_col = math.floor(left / side_m), math.ceil(right / side_m)
    first_row, last_row = math.floor(-top / side_m), math.ceil(-bottom / side_m)
    whole = grid.geobox
    shapely.prepare(grid.area)
    a_side = max(BLOCK_PX // size_px, 1)
    corners = range(first_row, last_row, a_side), range(first_col, last_col, a_side)
    for row, col in itertools.product(*corners):
        rows = range(row, min(row + a_side, last_row))
        cols = range(col, min(col + a_side, last_col))
        squares = {
            (r, c): (_span(r - row, size_px, halo_px), _span(c - col, size_px, halo_px))
            for r, c in itertools.product(rows, cols)
            if grid.area.covers(
                shapely.box(c * side_m, -(r + 1) * side_m, (c + 1) * side_m, -r * side_m)
            )
        }
        if squares:
            column, line = ~whole.affine @ (col * side_m, -row * side_m)
            moved = whole.affine @ whole.affine.translation(round(column), round(line))
            shape = (len(rows) * size_px, len(cols) * size_px)
            core = GeoBox(shape, moved, whole.crs)
            yield Block(geobox=core.pad(halo_px, halo_px), squares=squares)


def _span(index: int, size_px: int, halo_px: int) -> slice:
    return slice(halo_px + index * size_px, halo_px + (index + 1) * size_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyContract:
    """Stands for a model where it is only shown windows, and never asked to restore them."""

    contract: Contract
    """How windows are shown to it."""

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        """Return the picture as it is."""
        return optical


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the patches of one step."""

    plan: Plan
    step: Step
    model: Model
    """Whose contract says how patches are shown."""
    out: Path
    choice: PatchChoice
    fetcher: Fetcher
    pairs: dict[tuple[int, int], PairModel] = field(default_factory=dict)
    """Pairs of an optical and a radar scene that were measured, by their codes."""

    def cut_block(self, block: Block, advance: Advance) -> Counter[str]:
        """Write the patches of a block; how many are "kept" and, by reason, how many not."""
        settings = self.plan.settings
        observation, _ = observe(self.step, block.geobox, settings, self.fetcher, Stopwatch())
        counts: Counter[str] = Counter()
        for at, square in block.squares.items():
            patch = _crop(observation, square)
            reason = _reject(patch, self.choice)
            if reason is None:
                self.write(patch, at, block.geobox[square])
            counts[reason or "kept"] += 1
            advance(1)
        return counts

    def pair(self, optical: int, radar: int) -> PairModel:
        """Return a pair of scenes as measured in row 5, each once."""
        if (optical, radar) not in self.pairs:
            statistics = measure_pair(
                self.step.optical[optical - 1],
                self.step.radar[radar - 1],
                polarizations=self.step.polarizations,
                model=self.model,
                settings=self.plan.settings,
                fetcher=self.fetcher,
                clock=Stopwatch(),
            )
            bands = self.plan.settings.grid.bands
            self.pairs[optical, radar] = statistics.pair(self.model, bands)
        return self.pairs[optical, radar]

    def write(self, patch: Observation, at: tuple[int, int], box: GeoBox) -> None:
        """Write a patch that lies ``at`` a row and column of the lattice and covers ``box``."""
        optical_code, radar_code = int(patch.optical_scene[0, 0]), int(patch.radar_scene[0, 0])
        pair, scene = self.pair(optical_code, radar_code), self.step.optical[optical_code - 1]
        shown = replace(patch.masks, seen=patch.masks.seen | patch.masks.made)
        optical, radar, _ = cut_windows(replace(patch, masks=shown), [_WHOLE], pair)
        stretch = pair.optical.of_bands(list(pair.bands))
        crs, bands = name_crs(self.plan.grid.crs), self.plan.settings.grid.bands
        lattice = f"{crs.removeprefix('EPSG:')}_{self.choice.size_px}"
        file = self.out / scene.id / f"{self.step.time:%Y-%m-%d}_{at[0]}_{at[1]}.npz"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                file,
                optical=optical[0].astype(np.float16),
                radar=radar[0].astype(np.float16),
                bands=np.array([bands[index] for index in pair.bands]),
                polarizations=np.array(self.step.polarizations),
                low_dn=np.array(stretch.low, np.float32),
                high_dn=np.array(stretch.high, np.float32),
                scene=np.array(scene.id),
                time=np.array(f"{self.step.time:%Y-%m-%dT%H:%M:%SZ}"),
                place=np.array(f"{lattice}_{at[0]}_{at[1]}"),
                crs=np.array(crs),
                transform=np.array(tuple(box.affine)[:6]),
            )
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror}. Free some space") from None


def _crop(observation: Observation, square: tuple[slice, slice]) -> Observation:
    """Return what is observed at a square."""
    return Observation(
        reflectance=observation.reflectance[:, *square],
        masks=Masks(seen=observation.masks.seen[square], made=observation.masks.made[square]),
        decibel=observation.decibel[:, *square],
        optical_scene=observation.optical_scene[square],
        radar_scene=observation.radar_scene[square],
    )


def _reject(patch: Observation, choice: PatchChoice) -> str | None:
    """Return why a patch is left out; None where it is kept."""
    masks = patch.masks
    if masks.made.mean() > choice.max_cloud:
        return "cloud"
    if not (masks.seen | masks.made).all():
        return "nodata"
    if not patch.has_radar.all():
        return "no radar"
    if np.ptp(patch.optical_scene) > 0 or np.ptp(patch.radar_scene) > 0:
        return "several scenes"
    return None
