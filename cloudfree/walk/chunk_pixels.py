"""Row 12 of the walk, for one chunk of one step: its candidate as the layers of the product."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import numpy as np

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.source import COUNTED, NOT_RESTORED, OTHER_DAYS, RECONSTRUCTED, SEEN, is_made
from cloudfree.core.types import (
    BoolArray,
    Float32Array,
    Int16Array,
    Masks,
    UInt8Array,
    UInt16Array,
)
from cloudfree.geometry.grid import Chunk, origin_px
from cloudfree.pixels.observation import Observation, OtherDays
from cloudfree.product.layers import NO_DAYS
from cloudfree.product.store import ChunkPixels
from cloudfree.restoration.inpainting import inpaint_rest
from cloudfree.restoration.rims import REACH_PX, FittedPixels, fit_rims
from cloudfree.restoration.uncertainty import AS_EXPECTED, distance_to_seen
from cloudfree.scenes.scene import Step
from cloudfree.walk.other_days import (
    BRIGHTEST_DN,
    MadeOfOtherDays,
    crop_estimate,
    fit_estimate,
)
from cloudfree.walk.run_facts import Candidate, Reading, RunFacts, core_of


def make_pixels(
    facts: RunFacts, step_index: int, chunk: Chunk, reading: Reading, candidate: Candidate
) -> tuple[ChunkPixels, dict[str, int]]:
    """Return a chunk's pixels (row 12) and its counts; writes nothing."""
    done = compose(facts, step_index, chunk, reading.observation, reading.others, candidate)
    uncertainty = None
    if facts.calibrations:
        expected = _expect_error(facts, chunk, reading, candidate)
        uncertainty = np.clip(np.rint(expected), 1, np.iinfo(np.uint16).max).astype(np.uint16)
        done = _without_doubtful(facts, done, uncertainty)
    pixels = _clip_to_area(facts, step_index, core_of(facts, chunk), reading, done, uncertainty)
    return pixels, {
        **{name: int(np.count_nonzero(pixels.source == code)) for name, code in COUNTED.items()},
        "limited": int(np.count_nonzero(done.limited & is_made(pixels.source))),
        "windows": len(reading.choice),
        "windows_skipped": reading.choice.skipped,
    }


def _expect_error(
    facts: RunFacts, chunk: Chunk, reading: Reading, candidate: Candidate
) -> Float32Array:
    """Return (y, x) of a core: the likely error in reflectance numbers, by what made a pixel."""
    signs = core_signs(facts, chunk, reading.observation, candidate)
    expected = facts.calibrations["reconstructed"].expected_error(signs)
    if reading.others is None:
        return expected
    core = core_of(facts, chunk)
    calibration = facts.calibrations.get("other_days", AS_EXPECTED)
    told = calibration.expected_error(doubt_of(reading.others, core))
    return np.where(reading.others.estimate.known[core], told, expected)


def doubt_of(others: MadeOfOtherDays, part: tuple[slice, slice]) -> Float32Array:
    """Return (sign, y, x) of ``uncertainty.OTHER_DAYS_SIGNS`` for a part."""
    expected, disagreement = others.estimate.error[part], others.disagreement[part]
    return np.stack(
        [
            np.where(np.isfinite(expected), expected, disagreement),
            disagreement,
            np.abs(others.days[part]).astype(np.float32),
        ]
    )


def _clip_to_area(
    facts: RunFacts,
    step_index: int,
    core: tuple[slice, slice],
    reading: Reading,
    done: FittedPixels,
    uncertainty: UInt16Array | None,
) -> ChunkPixels:
    """Return the layers of a core; nodata outside of the area."""
    observation = reading.observation
    source = np.where(reading.inside, done.source, np.uint8(0))
    made = is_made(source)
    first_optical, first_radar = facts.first_optical[step_index], facts.first_radar[step_index]
    return ChunkPixels(
        reflectance=np.where(made | (source == SEEN), done.reflectance, np.uint16(0)),
        source=source,
        cloud=np.where(source > 0, reading.cloud[core], np.uint8(0)),
        optical_scene=_numbered(observation.optical_scene[core], first_optical, source > 0),
        radar_scene=_numbered(observation.radar_scene[core], first_radar, source == RECONSTRUCTED),
        **_name_references(facts, core, reading.others, source == OTHER_DAYS),
        uncertainty=None if uncertainty is None else np.where(made, uncertainty, np.uint16(0)),
    )


class _ReferenceLayers(TypedDict):
    reference_scene: UInt16Array | None
    reference_days: Int16Array | None
    reference_count: UInt8Array | None


def _name_references(
    facts: RunFacts,
    core: tuple[slice, slice],
    others: MadeOfOtherDays | None,
    where: BoolArray,
) -> _ReferenceLayers:
    """Return the layers that say what pixels of other days were made of; None without any."""
    if not facts.settings.references.days:
        return _ReferenceLayers(reference_scene=None, reference_days=None, reference_count=None)
    if others is None:  # nothing was made of them
        return _ReferenceLayers(
            reference_scene=np.zeros(where.shape, np.uint16),
            reference_days=np.full(where.shape, NO_DAYS, np.int16),
            reference_count=np.zeros(where.shape, np.uint8),
        )
    return _ReferenceLayers(
        reference_scene=np.where(where, others.scene[core], np.uint16(0)),
        reference_days=np.where(where, others.days[core], np.int16(NO_DAYS)),
        reference_count=np.where(where, others.count[core], np.uint8(0)),
    )


def _reached(facts: RunFacts, chunk: Chunk) -> tuple[slice, slice]:
    """Return where a chunk's core and all that its rims' fit reaches lie in what it reads."""
    margin = facts.plan.halo_px - REACH_PX
    height, width = chunk.geobox.shape
    return (
        slice(margin, margin + height + 2 * REACH_PX),
        slice(margin, margin + width + 2 * REACH_PX),
    )


def core_signs(
    facts: RunFacts, chunk: Chunk, observation: Observation, candidate: Candidate
) -> Float32Array:
    """Return (sign, y, x) of ``uncertainty.SIGNS`` for a chunk's core."""
    near = _reached(facts, chunk)
    distance = distance_to_seen(observation.masks.seen[near], REACH_PX)
    height, width = chunk.geobox.shape
    core = (slice(REACH_PX, REACH_PX + height), slice(REACH_PX, REACH_PX + width))
    signs = candidate.signs[:, *core_of(facts, chunk)]
    return np.concatenate([signs, distance[core][None]])


def _without_doubtful(
    facts: RunFacts, done: FittedPixels, uncertainty: UInt16Array
) -> FittedPixels:
    """Return a composite whose made pixels are all as certain as the settings ask."""
    most = facts.settings.uncertainty.max
    if not most:
        return done
    doubtful = is_made(done.source) & (uncertainty > most / REFLECTANCE_SCALE)
    return replace(done, source=np.where(doubtful, np.uint8(NOT_RESTORED), done.source))


def compose(
    facts: RunFacts,
    step_index: int,
    chunk: Chunk,
    observation: Observation,
    others: MadeOfOtherDays | None,
    candidate: Candidate,
) -> FittedPixels:
    """Return the composite of a chunk's core, made from the core and what it can reach.

    What other days made is fitted to what was seen; what the model made is fitted to both, so that
    there is no step between them.
    """
    height, width = chunk.geobox.shape
    y, x = _reached(facts, chunk)
    low, high = _limits(facts, facts.steps[step_index])
    scenes = observation.optical_scene[y, x]
    reflectance = observation.reflectance[:, y, x]
    masks = Masks(seen=observation.masks.seen[y, x], made=observation.masks.made[y, x])
    origin = origin_px(chunk.geobox.pad(REACH_PX, REACH_PX))
    estimate = None if others is None else crop_estimate(others.estimate, (y, x))
    if estimate is not None and candidate.makes_other_days:
        corrected = np.where(
            candidate.covered[y, x], candidate.reflectance[:, y, x], estimate.reflectance
        )
        estimate = replace(estimate, reflectance=corrected)
    if estimate is not None:
        given = np.rint(np.clip(estimate.reflectance, 1, BRIGHTEST_DN)).astype(np.uint16)
        there = masks.made & estimate.known
        reflectance = np.where(there, given, reflectance)
        masks = Masks(seen=masks.seen | there, made=masks.made & ~there)
    limits = (low[:, scenes], high[:, scenes])
    done = fit_rims(
        reflectance,
        masks,
        candidate=candidate.reflectance[:, y, x],
        covered=candidate.covered[y, x],
        limits=limits,
        origin=origin,
    )
    colours = find_colours(facts, facts.steps[step_index])
    if colours is not None:
        done = inpaint_rest(
            done, reflectance, masks, colour=colours[:, scenes], limits=limits, origin=origin
        )
    if estimate is not None:
        done = _put_other_days(done, observation, estimate, (y, x), origin)
    core = (slice(REACH_PX, REACH_PX + height), slice(REACH_PX, REACH_PX + width))
    return FittedPixels(
        reflectance=done.reflectance[:, *core],
        source=done.source[core],
        limited=done.limited[core],
    )


def _put_other_days(
    done: FittedPixels,
    observation: Observation,
    estimate: OtherDays,
    near: tuple[slice, slice],
    origin: tuple[int, int],
) -> FittedPixels:
    """Return what is done with the pixels of other days, fitted to what was seen, put into it."""
    masks = Masks(seen=observation.masks.seen[near], made=observation.masks.made[near])
    fitted = fit_estimate(observation.reflectance[:, *near], masks, estimate, origin)
    there = masks.made & estimate.known
    return FittedPixels(
        reflectance=np.where(there, fitted.reflectance, done.reflectance),
        source=np.where(there, np.uint8(OTHER_DAYS), done.source),
        limited=np.where(there, fitted.limited, done.limited),
    )


def _limits(facts: RunFacts, step: Step) -> tuple[Float32Array, Float32Array]:
    """Return (band, scene): lowest and highest number of a pixel made for each optical scene."""
    statistics = {optical: pair.optical for (optical, _), pair in facts.statistics.items()}
    low = np.zeros((len(facts.settings.grid.bands), len(step.optical) + 1), np.float32)
    high = np.zeros_like(low)
    for index, scene in enumerate(step.optical):
        if scene.id in statistics:
            low[:, index + 1] = statistics[scene.id].low
            high[:, index + 1] = statistics[scene.id].high
    return low, high


def find_colours(facts: RunFacts, step: Step) -> Float32Array | None:
    """Return (band, scene): what an inpainting of each optical scene begins with, NaN for none.

    None where the model leaves what it cannot make.
    """
    choices = {optical: pair.choice for (optical, _), pair in facts.statistics.items()}
    if all(choice is None for choice in choices.values()):
        return None
    colours = np.full((len(facts.settings.grid.bands), len(step.optical) + 1), np.nan, np.float32)
    for index, scene in enumerate(step.optical):
        choice = choices.get(scene.id)
        if choice is not None:
            colours[:, index + 1] = choice.colour
    return colours


def _numbered(scenes: UInt16Array, first: int, where: BoolArray) -> UInt16Array:
    """Return indices into the product's scene table from those of a step; 0 elsewhere."""
    numbered: UInt16Array = np.where(where & (scenes > 0), scenes + first, 0).astype(np.uint16)
    return numbered
