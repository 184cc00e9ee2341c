"""Jobs through Dask, a bounded number in flight, whatever happens to the workers.

Dask never knows of more jobs than are in flight, so that the memory of client and scheduler does
not grow with their number.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import Client, Future
from distributed.client import ClosedClientError
from distributed.scheduler import KilledWorker

from cloudfree.cluster.shared import GPU, count_fitting
from cloudfree.core.errors import ClusterError

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

WORKERS_DIED = "workers died under it again and again; a smaller --chunk-px needs less memory"

_POLL_S = 1.0
"""How often workers are counted."""
_GPU_PATIENCE_S = 60.0
"""How long jobs wait for the last accelerator to come back before they do without."""
_ROUNDS = 3
"""A job whose workers die is given out so often. Each round ends after as many deaths as Dask's
``distributed.scheduler.allowed-failures`` grants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who is there, as the scheduler sees it."""

    count: int
    """Workers."""
    gpus: int
    """Of these, those with the resource ``GPU``."""
    readers: tuple[str, ...]
    """Addresses of the others."""
    room: int
    """Jobs to keep in flight: for each that runs another one waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running(Generic[T]):
    job: T
    given_to: Workers
    round: int


def count_workers(client: Client, job_bytes: int = 0) -> Workers:
    """Return who is there. A worker has room for as many jobs as it has threads, if its memory
    takes them.

    Raises ClusterError where the scheduler does not answer.
    """
    try:
        known = client.scheduler_info()["workers"]
    except (OSError, TimeoutError, ValueError) as error:
        raise _gone(client) from error
    room = 0
    for worker in known.values():
        fitting = worker["nthreads"]
        if job_bytes and worker["memory_limit"]:
            fitting = min(fitting, count_fitting(worker["memory_limit"], job_bytes))
        room += 2 * max(1, fitting)
    readers = tuple(address for address, one in known.items() if GPU not in one["resources"])
    return Workers(
        count=len(known), gpus=len(known) - len(readers), readers=readers, room=max(room, 2)
    )


def run_jobs(
    client: Client,
    jobs: Iterator[T],
    submit: Callable[[T, Workers], Future[Any]],
    *,
    job_bytes: int = 0,
    stop: threading.Event,
    drain_s: float = 0.0,
) -> Generator[tuple[T, Future[Any]], None, None]:
    """Yield each job with its future, in the order in which they end, well or not.

    ``submit`` hands a job to Dask and is told who is there. A job whose workers die is given out
    again, and so is one that waits for an accelerator that has left. Once ``stop`` is set nothing
    more is given out, and what is in flight has ``drain_s`` to end. Raises ClusterError where the
    scheduler is gone.
    """
    ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    running: dict[Future[Any], _Running[T]] = {}
    crew = _Crew(client, job_bytes)

    def give_out(job: T, round_: int) -> None:
        try:
            future = submit(job, crew.workers)
        except ClosedClientError:
            raise _gone(client) from None
        running[future] = _Running(job=job, given_to=crew.workers, round=round_)
        future.add_done_callback(ended.put)

    try:
        while True:
            while not stop.is_set() and len(running) < crew.workers.room:
                try:
                    give_out(next(jobs), 1)
                except StopIteration:
                    break
            if not running or (stop.is_set() and crew.drained(drain_s)):
                return
            if crew.look():
                stranded = [f for f, r in running.items() if crew.has_left(r.given_to)]
                for future in stranded:
                    give_out(running.pop(future).job, 1)
                client.cancel(stranded)
            try:
                future = ended.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            one = running.pop(future, None)
            if one is None:
                continue
            if future.status in ("cancelled", "lost"):
                raise _gone(client)
            if _workers_died(future) and one.round < _ROUNDS and not stop.is_set():
                logger.warning("workers died under %s; it is given out again", one.job)
                give_out(one.job, one.round + 1)
                continue
            yield one.job, future
    finally:
        if client.status == "running":
            client.cancel(list(running))


def run_all(
    client: Client, jobs: Iterable[T], submit: Callable[[T, Workers], Future[R]]
) -> Iterator[tuple[T, R]]:
    """Yield each job with its result, in the order in which they end; the first error ends it.

    Otherwise as ``run_jobs``. Raises what a job raises, and ClusterError where its workers died.
    """
    for job, future in run_jobs(client, iter(jobs), submit, stop=threading.Event()):
        try:
            result = read_result(client, future)
        except KilledWorker:
            raise ClusterError(WORKERS_DIED) from None
        yield job, result


def read_result(client: Client, future: Future[R]) -> R:
    """Return what a job of ``run_jobs`` gave, or raise its error.

    It lies with a worker until it is asked for: ClusterError where the scheduler went before that.
    """
    try:
        return future.result()
    except Exception:
        if future.status != "error":  # not the job's: without its scheduler Dask raises several
            raise _gone(client) from None
        raise


class _Crew:
    """Counts the workers now and then."""

    def __init__(self, client: Client, job_bytes: int) -> None:
        self._client, self._job_bytes = client, job_bytes
        self.workers = count_workers(client, job_bytes)
        self._looked = self._had_gpu = time.monotonic()
        self._stop_seen: float | None = None

    def look(self) -> bool:
        """Count the workers anew, unless that was just done; return whether it was time to."""
        now = time.monotonic()
        if now - self._looked < _POLL_S:
            return False
        before, self._looked = self.workers, now
        self.workers = count_workers(self._client, self._job_bytes)
        if self.workers.gpus:
            self._had_gpu = now
        if self.workers.count == 0 < before.count:
            logger.warning("no Dask worker is left; waiting for one")
        if self.workers.gpus == 0 < before.gpus:
            logger.warning("no worker with an accelerator is left")
        return True

    def has_left(self, given_to: Workers) -> bool:
        """Return whether those that a job was given to, of one kind or the other, are all gone."""
        waited_s = time.monotonic() - self._had_gpu
        without_gpu = given_to.gpus > 0 == self.workers.gpus and waited_s >= _GPU_PATIENCE_S
        readers_left = set(given_to.readers) & set(self.workers.readers)
        return without_gpu or (given_to.gpus > 0 and bool(given_to.readers) and not readers_left)

    def drained(self, drain_s: float) -> bool:
        """Return whether what was in flight when the run was told to stop has had its time."""
        self._stop_seen = self._stop_seen or time.monotonic()
        return time.monotonic() - self._stop_seen >= drain_s


def _workers_died(future: Future[Any]) -> bool:
    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _gone(client: Client) -> ClusterError:
    address = client.scheduler.address if client.scheduler else "its address"
    return ClusterError(
        f"the Dask scheduler at {address} is gone, or has lost the run's jobs; what is marked done "
        "is safe"
    )
