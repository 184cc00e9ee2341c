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
from cloudfree.product.pixel_counts import NO_PIXEL, Counted, Tally, count_chunk
from cloudfree.product.report import Look, true_colour
from cloudfree.scenes.scene import Step
from cloudfree.walk.run_facts import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A step of the product, small."""

    reflectance: AnyArray
    """(band, y, x) reflectance numbers."""
    source: UInt8Array
    """(y, x) codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CountJob:
    step: int
    chunk: Chunk


def look_at_steps(
    work: Work,
    names: Sequence[str],
    products: Sequence[Small],
    client: Client,
    fetcher: Fetcher,
    progress: Progress,
) -> list[Look]:
    """Return what is shown of each step; the scenes are read small, the product is counted whole.

    The client's workers count, a job a chunk.
    """
    bands = work.settings.grid.bands
    shape = products[0].source.shape
    clouds, tallies = _count(work, (shape[0], shape[1]), client, progress)
    geobox = work.plan.geobox.zoom_to(shape)
    looks = []
    for index, (name, step, small) in enumerate(zip(names, work.steps, products, strict=True)):
        limits = stretch(work, step)
        reflectance, decibel = _observe(work, step, geobox, fetcher)
        looks.append(
            Look(
                name=name,
                bands=tuple(bands[channel] for channel in _shown(work)),
                observed=true_colour(reflectance, bands, *limits),
                product=true_colour(small.reflectance, bands, *limits),
                source=small.source,
                cloud=clouds[index],
                decibel=decibel,
                tally=tallies[index],
            )
        )
    return looks


def _shown(work: Work) -> tuple[int, ...]:
    """Return which bands of the product the pictures show, each once."""
    return tuple(dict.fromkeys(choose_shown(work.settings.grid.bands)))


def _observe(
    work: Work, step: Step, geobox: GeoBox, fetcher: Fetcher
) -> tuple[AnyArray, Float32Array]:
    """Return what a step shows, (band, y, x), and its radar's first channel, (y, x)."""
    seen, _ = observe(step, geobox, work.settings, fetcher, Stopwatch(), reduced=True)
    return seen.reflectance, seen.decibel[0]


def stretch(work: Work, step: Step) -> tuple[Float32Array, Float32Array]:
    """Return which numbers of each band are black and white in a step's pictures."""
    own = {scene.id for scene in step.optical}
    measured = (one.optical for (name, _), one in work.statistics.items() if name in own)
    statistics = next(measured, assume_optical(len(work.settings.grid.bands)))
    return np.array(statistics.low, np.float32), np.array(statistics.high, np.float32)


def _count(
    work: Work, small: tuple[int, int], client: Client, progress: Progress
) -> tuple[UInt8Array, list[Tally]]:
    """Return the map of clouds (step, y, x), small, and the tally of each step."""
    bands = _shown(work)
    clouds = np.full((len(work.steps), *small), NO_PIXEL, np.uint8)
    tallies = [Tally.empty(len(bands)) for _ in work.steps]
    jobs = (
        _CountJob(step=step, chunk=chunk)
        for step in range(len(work.steps))
        for chunk in work.plan.chunks()
    )
    total = sum(chunk.pixels for chunk in work.plan.chunks()) * len(work.steps)

    def submit(job: _CountJob, _: Workers) -> Future[Counted]:
        return client.submit(
            count_chunk,
            work.storage,
            job.step,
            job.chunk,
            bands=bands,
            whole=work.plan.geobox.shape.yx,
            small=small,
            pure=False,
        )

    with progress.track("count", total, "px") as advance:
        for job, counted in run_all(client, jobs, submit):
            tallies[job.step] += counted.tally
            clouds[job.step][counted.place] = counted.cloud
            advance(job.chunk.pixels)
    return clouds, tallies
