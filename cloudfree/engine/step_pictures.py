"""Row 14 of the walk: what preview and report show of each step, read from scenes and product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from distributed import Client, Future
from odc.geo.geobox import GeoBox

from cloudfree.cluster import Workers, run_all
from cloudfree.core.bands import choose_shown
from cloudfree.core.progress import Progress
from cloudfree.core.timing import Stopwatch
from cloudfree.core.types import AnyArray, Float32Array, UInt8Array
from cloudfree.geometry.grid import Chunk
from cloudfree.pixels.observe import observe
from cloudfree.pixels.radiometry import assume_optical
from cloudfree.pixels.remote import Fetcher
from cloudfree.product.pixel_counts import NO_PIXEL, Counted, PixelCounts, count_chunk
from cloudfree.product.report import StepPictures, true_colour
from cloudfree.scenes.scene import Step
from cloudfree.walk.run_facts import RunFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A step of the product, small."""

    reflectance: AnyArray
    """(band, y, x) reflectance numbers."""
    source: UInt8Array
    """(y, x) codes."""
    reference_days: AnyArray | None
    """(y, x) days to the nearest reference; None where the product does not have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CountJob:
    step: int
    chunk: Chunk


def picture_steps(
    facts: RunFacts,
    names: Sequence[str],
    products: Sequence[Small],
    client: Client,
    fetcher: Fetcher,
    progress: Progress,
) -> list[StepPictures]:
    """Return what is shown of each step; the scenes are read small, the product is counted whole.

    The client's workers count, a job a chunk.
    """
    bands = facts.settings.grid.bands
    shape = products[0].source.shape
    clouds, totals = _count(facts, (shape[0], shape[1]), client, progress)
    geobox = facts.plan.geobox.zoom_to(shape)
    pictures = []
    for index, (name, step, small) in enumerate(zip(names, facts.steps, products, strict=True)):
        limits = stretch(facts, step)
        reflectance, decibel = _observe(facts, step, geobox, fetcher)
        pictures.append(
            StepPictures(
                name=name,
                bands=tuple(bands[channel] for channel in _shown(facts)),
                observed=true_colour(reflectance, bands, *limits),
                product=true_colour(small.reflectance, bands, *limits),
                source=small.source,
                reference_days=small.reference_days,
                cloud=clouds[index],
                decibel=decibel,
                counts=totals[index],
            )
        )
    return pictures


def _shown(facts: RunFacts) -> tuple[int, ...]:
    """Return which bands of the product the pictures show, each once."""
    return tuple(dict.fromkeys(choose_shown(facts.settings.grid.bands)))


def _observe(
    facts: RunFacts, step: Step, geobox: GeoBox, fetcher: Fetcher
) -> tuple[AnyArray, Float32Array]:
    """Return what a step shows, (band, y, x), and its radar's first channel, (y, x)."""
    seen, _ = observe(step, geobox, facts.settings, fetcher, Stopwatch(), reduced=True)
    return seen.reflectance, seen.decibel[0]


def stretch(facts: RunFacts, step: Step) -> tuple[float, float]:
    """Return which numbers are black and white in a step's pictures.

    They are the same for every band that is shown: stretched each by itself, bands would lose
    their balance, and what is blue would turn grey.
    """
    own = {scene.id for scene in step.optical}
    measured = (one.optical for (name, _), one in facts.statistics.items() if name in own)
    statistics = next(measured, assume_optical(len(facts.settings.grid.bands)))
    shown = _shown(facts)
    low = min(statistics.low[band] for band in shown)
    return float(low), float(max(statistics.high[band] for band in shown))


def _count(
    facts: RunFacts, small: tuple[int, int], client: Client, progress: Progress
) -> tuple[UInt8Array, list[PixelCounts]]:
    """Return the map of clouds (step, y, x), small, and the counts of each step."""
    bands = _shown(facts)
    clouds = np.full((len(facts.steps), *small), NO_PIXEL, np.uint8)
    totals = [PixelCounts.empty(len(bands), len(facts.reference_table)) for _ in facts.steps]
    jobs = (
        _CountJob(step=step, chunk=chunk)
        for step in range(len(facts.steps))
        for chunk in facts.plan.chunks()
    )
    total = sum(chunk.pixels for chunk in facts.plan.chunks()) * len(facts.steps)

    def submit(job: _CountJob, _: Workers) -> Future[Counted]:
        return client.submit(
            count_chunk,
            facts.storage,
            job.step,
            job.chunk,
            bands=bands,
            whole=facts.plan.geobox.shape.yx,
            small=small,
            references=len(facts.reference_table),
            pure=False,
        )

    with progress.track("count", total, "px") as advance:
        for job, counted in run_all(client, jobs, submit):
            totals[job.step] += counted.counts
            clouds[job.step][counted.part] = counted.cloud
            advance(job.chunk.pixels)
    return clouds, totals
