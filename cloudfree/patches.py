"""Training patches cut from a user's own STAC scenes, as a run reads them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from odc.geo.geobox import GeoBox

from cloudfree.errors import NoSceneError, StoreError
from cloudfree.grid import GridPlan
from cloudfree.measure import measure_pair
from cloudfree.observe import observe
from cloudfree.plan import Plan, Request, make_plan
from cloudfree.progress import Progress
from cloudfree.restoration import Observation, PairModel, cut_windows
from cloudfree.scenes import Step
from cloudfree.timing import Stopwatch
from cloudfree.types import Model

BLOCK_PATCHES = 8
"""Patches are read in blocks of this many a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Places that are read at once."""

    geobox: GeoBox
    """Of all of them, and as far around them as cloud masks are dilated."""
    places: dict[tuple[int, int], tuple[slice, slice]]
    """Row and column on the lattice of the CRS -> where in the block."""


def cut_patches(request: Request, out: Path, size_px: int, progress: Progress) -> Counter[str]:
    """Write ``out/SCENE/DATE_ROW_COL.npz`` for every clear patch, return how many there were.

    Patches lie side by side on a lattice that starts at (0, 0) of the CRS, wholly in the area, and
    every pixel is seen, in one optical and one radar scene. Each file holds ``optical`` (band, y,
    x) and ``radar`` (1, y, x) in half precision, in [-1, 1] as a model gets them, ``bands``,
    ``polarization``, ``low_dn`` and ``high_dn`` (what -1 and 1 show of each band), ``scene``,
    ``time``, ``place``, ``crs`` and ``transform``. The answer counts ``kept`` and, by reason, what
    was not. Raises NoSceneError where no step has radar.
    """
    plan = make_plan(request)
    steps = [step for step in plan.steps if step.radar]
    if not steps:
        raise NoSceneError(
            f"no radar within {request.settings.scenes.sar_days:g} days of {request.date}: there "
            "is nothing to pair. Raise --sar-days or choose another date"
        )
    model = plan.bundle.load()
    halo_px = math.ceil(request.settings.masks.dilation_m / plan.grid.resolution_m)
    blocks = list(find_blocks(plan.grid, size_px, halo_px))
    counts: Counter[str] = Counter({"kept": 0})
    places = sum(len(block.places) for block in blocks)
    with progress.track("cut patches", len(steps) * places, "patches") as advance:
        for step in steps:
            cutter = Cutter(plan, step, model, out)
            for block in blocks:
                observation, _ = observe(step, block.geobox, request.settings, Stopwatch())
                for at, place in block.places.items():
                    counts[cutter.cut(observation, at, place, block.geobox[place])] += 1
                    advance(1)
    return counts


def find_blocks(grid: GridPlan, size_px: int, halo_px: int) -> Iterator[Block]:
    """Yield blocks that hold all places of ``size_px`` wholly in the area, with a halo."""
    side_m = size_px * grid.resolution_m
    left, bottom, right, top = grid.area.bounds
    first_col, last_col = math.floor(left / side_m), math.ceil(right / side_m)
    first_row, last_row = math.floor(-top / side_m), math.ceil(-bottom / side_m)
    whole = grid.geobox
    shapely.prepare(grid.area)
    steps = range(first_row, last_row, BLOCK_PATCHES), range(first_col, last_col, BLOCK_PATCHES)
    for row, col in itertools.product(*steps):
        rows = range(row, min(row + BLOCK_PATCHES, last_row))
        cols = range(col, min(col + BLOCK_PATCHES, last_col))
        places = {
            (r, c): (_span(r - row, size_px, halo_px), _span(c - col, size_px, halo_px))
            for r, c in itertools.product(rows, cols)
            if grid.area.covers(
                shapely.box(c * side_m, -(r + 1) * side_m, (c + 1) * side_m, -r * side_m)
            )
        }
        if places:
            column, line = ~whole.affine @ (col * side_m, -row * side_m)
            moved = whole.affine @ whole.affine.translation(round(column), round(line))
            shape = (len(rows) * size_px, len(cols) * size_px)
            core = GeoBox(shape, moved, whole.crs)
            yield Block(geobox=core.pad(halo_px, halo_px), places=places)


def _span(index: int, size_px: int, halo_px: int) -> slice:
    return slice(halo_px + index * size_px, halo_px + (index + 1) * size_px)


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the patches of one step."""

    plan: Plan
    step: Step
    model: Model
    """Whose contract says how patches are shown."""
    out: Path
    pairs: dict[tuple[int, int], PairModel] = field(default_factory=dict)
    """Pairs of an optical and a radar scene that were measured, by their codes."""

    def pair(self, optical: int, radar: int) -> PairModel:
        """Return a pair of scenes as measured in row 5, each once."""
        if (optical, radar) not in self.pairs:
            statistics = measure_pair(
                self.step.optical[optical - 1],
                self.step.radar[radar - 1],
                polarization=self.step.polarization,
                model=self.model,
                settings=self.plan.settings,
                clock=Stopwatch(),
            )
            bands = self.plan.settings.grid.bands
            self.pairs[optical, radar] = statistics.pair(self.model, bands)
        return self.pairs[optical, radar]

    def cut(
        self, observation: Observation, at: tuple[int, int], place: tuple[slice, slice], box: GeoBox
    ) -> str:
        """Write the patch ``at`` a row and column, which covers ``box``; "kept", or why not."""
        if observation.masks.made[place].any():
            return "cloud"
        if not observation.masks.seen[place].all():
            return "nodata"
        if not np.isfinite(observation.decibel[place]).all():
            return "no radar"
        owners = [np.unique(s[place]) for s in (observation.optical_scene, observation.radar_scene)]
        if len(owners[0]) > 1 or len(owners[1]) > 1:
            return "several scenes"
        pair = self.pair(int(owners[0][0]), int(owners[1][0]))
        optical, radar, _ = cut_windows(observation, [place], pair)
        scene = self.step.optical[int(owners[0][0]) - 1]
        stretch = pair.optical.of_bands(list(pair.bands))
        file = self.out / scene.id / f"{self.step.time:%Y-%m-%d}_{at[0]}_{at[1]}.npz"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                file,
                optical=optical[0].astype(np.float16),
                radar=radar[0].astype(np.float16),
                bands=np.array([self.plan.settings.grid.bands[index] for index in pair.bands]),
                polarization=np.array(self.step.polarization),
                low_dn=np.array(stretch.low, np.float32),
                high_dn=np.array(stretch.high, np.float32),
                scene=np.array(scene.id),
                time=np.array(f"{self.step.time:%Y-%m-%dT%H:%M:%SZ}"),
                place=np.array(f"{self.plan.grid.epsg}_{optical.shape[-1]}_{at[0]}_{at[1]}"),
                crs=np.array(f"EPSG:{self.plan.grid.epsg}"),
                transform=np.array(tuple(box.affine)[:6]),
            )
        except OSError as error:
            raise StoreError(f"cannot write {file}: {error.strerror}. Free some space") from None
        return "kept"
