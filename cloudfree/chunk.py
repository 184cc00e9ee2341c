"""Rows 6 to 13 of the walk, for one chunk of one step: read, restore, write, mark."""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cloudfree import store
from cloudfree.blend import NOT_RESTORED, REACH_PX, RECONSTRUCTED, SEEN, Composite, composite
from cloudfree.bundle import open_bundle
from cloudfree.config import RunSettings
from cloudfree.grid import Chunk, GridPlan, origin_px, pixels_inside
from cloudfree.ledger import Ledger
from cloudfree.measure import PairStatistics
from cloudfree.observe import observe
from cloudfree.remote import Fetcher
from cloudfree.restoration import Observation, PairModel, restore_windows
from cloudfree.scenes import Step
from cloudfree.timing import Stopwatch, peak_memory_bytes
from cloudfree.types import BoolArray, Float32Array, Masks, Model, Signer, UInt8Array, UInt16Array
from cloudfree.windows import Lattice, choose_windows

logger = logging.getLogger(__name__)

_device = threading.Lock()
"""One restoration at a time per process."""

PairKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every chunk job of a run needs; sent to each worker once."""

    out: Path
    """The output folder."""
    key: str
    """The run's key in the ledger."""
    plan: GridPlan
    """The grid."""
    steps: tuple[Step, ...]
    """The datatakes."""
    first_optical: tuple[int, ...]
    """Per step: index of its first optical scene in the product's scene table."""
    first_radar: tuple[int, ...]
    """Per step: index of its first radar scene in the product's scene table."""
    statistics: dict[PairKey, PairStatistics]
    """By ids of the optical and the radar scene."""
    settings: RunSettings
    """The run's settings."""
    signer: Signer
    """Signs links when they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """What a finished chunk reports; its mark in the ledger."""

    key: str
    """The run's key."""
    seen: int
    """Pixels passed on."""
    reconstructed: int
    """Pixels made."""
    not_restored: int
    """Cloudy pixels without radar."""
    limited: int
    """Made pixels at the limit of the picture."""
    windows: int
    """Windows computed."""
    windows_skipped: int
    """Windows over the core that needed no computing."""
    retries: dict[str, int]
    """How often a server was asked again, by kind of failure."""
    seconds: dict[str, float]
    """Per row of the walk."""
    peak_memory_bytes: int
    """Of the process that did it, so far."""


def job_name(step: int, chunk: Chunk) -> str:
    """Return the name of a chunk's mark."""
    return f"t{step:04d}-r{chunk.row:04d}-c{chunk.col:04d}"


@functools.lru_cache(maxsize=1)
def _load_model(name: str, key: str) -> Model:
    """Return a bundle's model, loaded once per run: ``key`` tells apart bundles of one name."""
    return open_bundle(name).load()


def restore_chunk(work: Work, step_index: int, chunk: Chunk) -> ChunkRecord:
    """Make one chunk of one step, write it, mark it. Doing it again gives the same pixels."""
    clock, fetcher = Stopwatch(), Fetcher(work.settings.cube, work.signer)
    pixels, counts = make_chunk(work, step_index, chunk, fetcher, clock)
    with clock.row("store.write_chunk"):
        store.write_chunk(work.out / "cube.zarr", step_index, chunk, pixels)
    record = ChunkRecord(
        key=work.key,
        **counts,
        retries=fetcher.retries,
        seconds=clock.seconds,
        peak_memory_bytes=peak_memory_bytes(),
    )
    Ledger(folder=work.out / "ledger").mark(job_name(step_index, chunk), asdict(record))
    logger.debug("chunk %s: %s", job_name(step_index, chunk), counts)
    return record


def make_chunk(
    work: Work, step_index: int, chunk: Chunk, fetcher: Fetcher, clock: Stopwatch
) -> tuple[store.ChunkPixels, dict[str, int]]:
    """Return a chunk's pixels and its counts; writes nothing."""
    step, halo = work.steps[step_index], work.plan.halo_px
    contract = _load_model(work.settings.restoration.model, work.key).contract
    lattice = Lattice(window_px=contract.window_px, stride_px=contract.stride_px)
    geobox = work.plan.haloed(chunk)
    core = (slice(halo, halo + chunk.geobox.height), slice(halo, halo + chunk.geobox.width))
    observation, cloud = observe(step, geobox, work.settings, fetcher, clock)
    with clock.row("windows.lattice"):
        inside = pixels_inside(work.plan.area, chunk.geobox)
        choice = choose_windows(
            lattice,
            made=observation.masks.made,
            core=core,
            wanted=observation.masks.made[core] & inside,
            origin=origin_px(geobox),
            reach_px=REACH_PX,
        )
    with clock.row("restoration"), _device:
        candidate, covered = restore_windows(
            observation,
            choice,
            _pairs(work, step),
            lattice=lattice,
            batch_windows=work.settings.restoration.batch_windows,
        )
    with clock.row("blend.composite"):
        done = _composite(work, step, chunk, observation, candidate, covered)
        pixels = _clip_to_area(work, step_index, core, inside, observation, cloud, done)
    made = pixels.source == RECONSTRUCTED
    return pixels, {
        "seen": int(np.count_nonzero(pixels.source == SEEN)),
        "reconstructed": int(np.count_nonzero(made)),
        "not_restored": int(np.count_nonzero(pixels.source == NOT_RESTORED)),
        "limited": int(np.count_nonzero(done.limited & made)),
        "windows": len(choice),
        "windows_skipped": choice.skipped,
    }


def _clip_to_area(
    work: Work,
    step_index: int,
    core: tuple[slice, slice],
    inside: BoolArray,
    observation: Observation,
    cloud: UInt8Array,
    done: Composite,
) -> store.ChunkPixels:
    """Return the layers of a core; nodata outside of the area."""
    source = np.where(inside, done.source, np.uint8(0))
    made = source == RECONSTRUCTED
    first_optical, first_radar = work.first_optical[step_index], work.first_radar[step_index]
    return store.ChunkPixels(
        reflectance=np.where(made | (source == SEEN), done.reflectance, np.uint16(0)),
        source=source,
        cloud=np.where(source > 0, cloud[core], np.uint8(0)),
        optical_scene=_numbered(observation.optical_scene[core], first_optical, source > 0),
        radar_scene=_numbered(observation.radar_scene[core], first_radar, made),
    )


def _pairs(work: Work, step: Step) -> dict[tuple[int, int], PairModel]:
    model = _load_model(work.settings.restoration.model, work.key)
    return {
        (i + 1, j + 1): work.statistics[optical.id, radar.id].pair(model, work.settings.grid.bands)
        for i, optical in enumerate(step.optical)
        for j, radar in enumerate(step.radar)
        if (optical.id, radar.id) in work.statistics
    }


def _composite(
    work: Work,
    step: Step,
    chunk: Chunk,
    observation: Observation,
    candidate: Float32Array,
    covered: BoolArray,
) -> Composite:
    """Return the composite of a chunk's core, made from the core and what it can reach."""
    margin = work.plan.halo_px - REACH_PX
    height, width = chunk.geobox.shape
    y = slice(margin, margin + height + 2 * REACH_PX)
    x = slice(margin, margin + width + 2 * REACH_PX)
    low, high = _limits(work, step)
    scenes = observation.optical_scene[y, x]
    done = composite(
        observation.reflectance[:, y, x],
        Masks(seen=observation.masks.seen[y, x], made=observation.masks.made[y, x]),
        candidate=candidate[:, y, x],
        covered=covered[y, x],
        limits=(low[:, scenes], high[:, scenes]),
        origin=origin_px(chunk.geobox.pad(REACH_PX, REACH_PX)),
    )
    core = (slice(REACH_PX, REACH_PX + height), slice(REACH_PX, REACH_PX + width))
    return Composite(
        reflectance=done.reflectance[:, *core],
        source=done.source[core],
        limited=done.limited[core],
    )


def _limits(work: Work, step: Step) -> tuple[Float32Array, Float32Array]:
    """Return (band, scene): lowest and highest number of a pixel made for each optical scene."""
    statistics = {optical: pair.optical for (optical, _), pair in work.statistics.items()}
    low = np.zeros((len(work.settings.grid.bands), len(step.optical) + 1), np.float32)
    high = np.zeros_like(low)
    for index, scene in enumerate(step.optical):
        if scene.id in statistics:
            low[:, index + 1] = statistics[scene.id].low
            high[:, index + 1] = statistics[scene.id].high
    return low, high


def _numbered(scenes: UInt16Array, first: int, where: BoolArray) -> UInt16Array:
    """Return indices into the product's scene table from those of a step; 0 elsewhere."""
    numbered: UInt16Array = np.where(where & (scenes > 0), scenes + first, 0).astype(np.uint16)
    return numbered
