"""Dask: one client for a run, local unless an address is given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster

from cloudfree.config import EngineSettings
from cloudfree.errors import SettingsError

_THREADS_IN_PROCESS = 2
"""In one process a second chunk is read while the first is restored."""
_CONNECT_S = 10


@contextmanager
def connect(settings: EngineSettings) -> Iterator[Client]:
    """Yield a client; whatever was started for it is stopped at the end.

    Raises SettingsError where the scheduler's address does not answer.
    """
    if settings.scheduler:
        try:
            client = Client(settings.scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"no Dask scheduler answers at {settings.scheduler}: {error}. Check --scheduler"
            ) from None
        with client:
            yield client
        return
    in_process = settings.workers == 1
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors come back to the caller
    with (
        LocalCluster(
            n_workers=settings.workers,
            threads_per_worker=_THREADS_IN_PROCESS if in_process else 1,
            processes=not in_process,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def room(client: Client) -> int:
    """Return how many jobs to keep in flight: one running and one waiting per thread."""
    threads = int(sum(client.nthreads().values()))
    return 2 * max(threads, 1)
