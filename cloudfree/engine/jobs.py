"""Chunks as Dask jobs: one each, or three where workers with an accelerator restore."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future

from cloudfree.cluster import GPU, Workers, read_shared, wait_for_memory
from cloudfree.cluster.metrics import CHUNKS, DEVICE_SECONDS, PIXELS, RETRIES
from cloudfree.core.errors import CloudfreeError
from cloudfree.geometry.grid import Chunk
from cloudfree.walk import chunk as rows
from cloudfree.walk.run_facts import Candidate, ChunkRecord, Reading, RunFacts, job_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkJob:
    """One chunk of one step."""

    step: int
    """Index of the step."""
    chunk: Chunk
    """The chunk."""

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """The name of its mark."""
        return job_name(self.step, self.chunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Hands chunks to Dask."""

    client: Client
    """Of the run."""
    facts: str
    """Name of the shared RunFacts."""
    gpu: bool
    """Whether workers with the resource ``GPU`` restore what others read and write."""

    def __call__(self, job: ChunkJob, workers: Workers) -> Future[ChunkRecord]:
        """Return the future of the chunk's record."""
        if not (self.gpu and workers.gpus):
            return self._submit(_do, job)
        where = {"workers": list(workers.readers)} if workers.readers else {}
        reading = self._submit(_read_alone, job, **where)
        candidate = self._submit(_restore, job, reading, resources={GPU: 1})
        return self._submit(_write_alone, job, reading, candidate, **where)

    def _submit(self, function: Any, *arguments: Any, **where: Any) -> Future[Any]:
        return self.client.submit(function, self.facts, *arguments, pure=False, **where)


def _do(name: str, job: ChunkJob) -> ChunkRecord:
    with wait_for_memory(name):
        reading = _read(name, job)
        return _write(name, job, reading, _restore(name, job, reading))


def _read_alone(name: str, job: ChunkJob) -> Reading | None:
    with wait_for_memory(name):
        return _read(name, job)


def _write_alone(
    name: str, job: ChunkJob, reading: Reading | None, candidate: Candidate | None
) -> ChunkRecord:
    with wait_for_memory(name):
        return _write(name, job, reading, candidate)


def _read(name: str, job: ChunkJob) -> Reading | None:
    """Return what a chunk shows; None where the chunk is finished already."""
    facts: RunFacts = read_shared(name)
    if rows.read_record(facts, job.step, job.chunk) is not None:
        return None
    logger.debug("chunk %s begins", job.name)
    with _counted():
        contract = read_shared(facts.model).contract
        reading = rows.read_chunk(facts, contract, job.step, job.chunk)
    for kind, count in reading.retries.items():
        RETRIES.labels(kind).inc(count)
    return reading


def _restore(name: str, job: ChunkJob, reading: Reading | None) -> Candidate | None:
    if reading is None:
        return None
    facts: RunFacts = read_shared(name)
    with _counted():
        candidate = rows.restore_reading(facts, read_shared(facts.model), job.step, reading)
    DEVICE_SECONDS.inc(candidate.seconds["restoration"])
    return candidate


def _write(
    name: str, job: ChunkJob, reading: Reading | None, candidate: Candidate | None
) -> ChunkRecord:
    facts: RunFacts = read_shared(name)
    done = rows.read_record(facts, job.step, job.chunk)
    if done is not None or reading is None or candidate is None:
        assert done is not None  # only a finished chunk is not read
        return done
    with _counted():
        record = rows.write_chunk(facts, job.step, job.chunk, reading, candidate)
    CHUNKS.labels("done").inc()
    PIXELS.inc(job.chunk.pixels)
    return record


@contextmanager
def _counted() -> Iterator[None]:
    """Count a chunk that fails; its error goes on, without what Dask could not send along.

    Dask sends what an error arose from too, and where that does not survive pickling (some of
    zarr's do not) the run would get a bare Exception.
    """
    try:
        yield
    except Exception as error:  # any failure counts, and goes on
        CHUNKS.labels("failed").inc()
        if isinstance(error, CloudfreeError):
            error.__context__ = None  # its message says all
        raise
