"""Rows 6 to 13 of the walk, for one chunk of one step: read, restore, write, mark.

Three parts, so that workers with an accelerator may restore what others read and write.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict, replace

import numpy as np

from cloudfree.core.contract import Contract
from cloudfree.core.timing import Stopwatch, peak_memory_bytes
from cloudfree.core.types import BoolArray, Model
from cloudfree.geometry.grid import Chunk, origin_px, pixels_inside
from cloudfree.geometry.windows import Lattice, WindowChoice, choose_windows
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.product import store
from cloudfree.restoration.restore import PairModel, restore_windows
from cloudfree.restoration.rims import REACH_PX
from cloudfree.scenes.scene import Step
from cloudfree.storage.ledger import Ledger
from cloudfree.walk.chunk_pixels import make_pixels
from cloudfree.walk.other_days import Archive, MadeOfOtherDays, within_reach
from cloudfree.walk.run_facts import Candidate, ChunkRecord, Reading, RunFacts, core_of, job_name

logger = logging.getLogger(__name__)

_device = threading.Lock()
"""One restoration at a time per process."""


def read_chunk(facts: RunFacts, contract: Contract, step_index: int, chunk: Chunk) -> Reading:
    """Return what a step shows of a chunk, and the windows that need a model (rows 6 to 9)."""
    clock, fetcher = Stopwatch(), Fetcher(facts.settings.cube, facts.signer)
    geobox = facts.plan.haloed(chunk)
    observation, cloud = observe(facts.steps[step_index], geobox, facts.settings, fetcher, clock)
    inside = pixels_inside(facts.plan.area, chunk.geobox)
    wanted = observation.masks.made[core_of(facts, chunk)] & inside
    others = ask_other_days(facts, contract, step_index, chunk, observation, wanted, fetcher, clock)
    if others is not None and contract.wants_other_days:
        observation = replace(observation, other_days=others.estimate)
    elif others is not None:
        wanted = wanted & ~others.estimate.known[core_of(facts, chunk)]
    with clock.row("windows.lattice"):
        choice = choose(facts, contract, chunk, observation.masks.made, wanted)
    return Reading(
        observation=observation,
        cloud=cloud,
        inside=inside,
        others=others,
        choice=choice,
        seconds=clock.seconds,
        retries=fetcher.retries,
    )


def ask_other_days(
    facts: RunFacts,
    contract: Contract,
    step_index: int,
    chunk: Chunk,
    observation: Observation,
    wanted: BoolArray,
    fetcher: Fetcher,
    clock: Stopwatch,
    experts: tuple[str, ...] = (),
) -> MadeOfOtherDays | None:
    """Return what other days make of the ``wanted`` pixels of a core, and of all around them that
    the fit at the rims can reach, or that a model which wants to know it sees; what single
    ``experts`` make of them too, if asked. ReadError where another day cannot be read.
    """
    if not facts.fitted or not wanted.any():
        return None
    whole = np.zeros(observation.masks.made.shape, bool)
    whole[core_of(facts, chunk)] = wanted
    near = within_reach(whole)
    if contract.wants_other_days:
        choice, size = (
            choose(facts, contract, chunk, observation.masks.made, wanted),
            contract.window_px,
        )
        for row, col in zip(choice.rows, choice.cols, strict=True):
            near[row : row + size, col : col + size] = True
    archive = Archive(
        fitted=facts.fitted,
        table=facts.reference_table,
        settings=facts.settings,
        fetcher=fetcher,
        clock=clock,
        experts=experts,
    )
    masks = observation.masks
    return archive.make(
        facts.steps[step_index],
        facts.plan.haloed(chunk),
        observation,
        near & (masks.made | masks.seen),
    )


def choose(
    facts: RunFacts,
    contract: Contract,
    chunk: Chunk,
    made: BoolArray,
    wanted: BoolArray,
    reach_px: int = REACH_PX,
) -> WindowChoice:
    """Return the windows that decide the ``wanted`` pixels of a core; ``made`` has its halo too.

    With less reach, only those that hold such a pixel or lie as near to one.
    """
    return choose_windows(
        _lattice(contract),
        made=made,
        core=core_of(facts, chunk),
        wanted=wanted,
        origin=origin_px(facts.plan.haloed(chunk)),
        reach_px=reach_px,
    )


def restore_reading(facts: RunFacts, model: Model, step_index: int, reading: Reading) -> Candidate:
    """Return the candidate of a reading (rows 10 and 11); where an accelerator is wanted, there."""
    return restore(
        facts,
        model,
        step_index,
        reading.observation,
        reading.choice,
        with_signs=bool(facts.calibrations),
    )


def restore(
    facts: RunFacts,
    model: Model,
    step_index: int,
    observation: Observation,
    choice: WindowChoice,
    *,
    with_signs: bool,
) -> Candidate:
    """Return what a model makes of some windows, one call at a time in a process."""
    clock = Stopwatch()
    with _device, clock.row("restoration"):
        layers, covered = restore_windows(
            observation,
            choice,
            _pairs(facts, model, facts.steps[step_index]),
            lattice=_lattice(model.contract),
            batch_windows=facts.settings.restoration.batch_windows,
            with_signs=with_signs,
        )
    bands = len(observation.reflectance)
    return Candidate(
        makes_other_days=model.contract.wants_other_days and observation.other_days is not None,
        reflectance=layers[:bands],
        signs=layers[bands:],
        covered=covered,
        seconds=clock.seconds,
    )


def write_chunk(
    facts: RunFacts, step_index: int, chunk: Chunk, reading: Reading, candidate: Candidate
) -> ChunkRecord:
    """Write a chunk's pixels, then its mark (rows 12 and 13); doing it again gives the same."""
    clock = Stopwatch()
    clock.add(reading.seconds)
    clock.add(candidate.seconds)
    with clock.row("rims.fit_rims"):
        pixels, counts = make_pixels(facts, step_index, chunk, reading, candidate)
    with clock.row("store.write_chunk"):
        store.write_chunk(facts.storage, step_index, chunk, pixels)
    record = ChunkRecord(
        key=facts.key,
        **counts,
        retries=reading.retries,
        seconds=clock.seconds,
        peak_memory_bytes=peak_memory_bytes(),
    )
    Ledger(storage=facts.storage).mark(job_name(step_index, chunk), asdict(record))
    logger.debug("chunk %s: %s", job_name(step_index, chunk), counts)
    return record


def read_record(facts: RunFacts, step_index: int, chunk: Chunk) -> ChunkRecord | None:
    """Return the record of a chunk that is finished already; None of one that is not.

    A worker that leaves takes the answers of its last jobs with it, and Dask does them again.
    """
    record = Ledger(storage=facts.storage).read_mark(job_name(step_index, chunk), facts.key)
    return None if record is None else ChunkRecord(**record)


def _lattice(contract: Contract) -> Lattice:
    return Lattice(window_px=contract.window_px, stride_px=contract.stride_px)


def _pairs(facts: RunFacts, model: Model, step: Step) -> dict[tuple[int, int], PairModel]:
    return {
        (i + 1, j + 1): facts.statistics[optical.id, radar.id].pair(
            model, facts.settings.grid.bands
        )
        for i, optical in enumerate(step.optical)
        for j, radar in enumerate(step.radar)
        if (optical.id, radar.id) in facts.statistics
    }
