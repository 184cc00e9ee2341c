"""Makes a Dask worker that is told to end finish what it runs and give back the rest.

Dask's own answer to SIGTERM is to close within seconds, which throws away what runs. Start workers
with ``dask worker --preload-nanny cloudfree.cluster.drain`` and this happens first. Kubernetes and
preemptible machines say when they kill: ``CLOUDFREE_DRAIN_S`` (default 100) must be less.
"""

from __future__ import annotations

import asyncio
import os
import time

from distributed import Nanny, Status, Worker
from distributed.protocol.pickle import dumps

_POLL_S = 0.2


async def dask_teardown(nanny: Nanny) -> None:
    """Wait until the worker of a nanny runs nothing, as long as there is time."""
    patience_s = float(os.environ.get("CLOUDFREE_DRAIN_S", "100"))
    if nanny.worker_address is None:
        return
    async with nanny.rpc(nanny.worker_address) as worker:
        await worker.run(
            function=dumps(finish_running), args=dumps(()), kwargs=dumps({"patience_s": patience_s})
        )


async def finish_running(patience_s: float, dask_worker: Worker) -> None:
    """Take no further jobs; wait for those that run."""
    dask_worker.status = Status.paused
    end = time.monotonic() + patience_s
    while dask_worker.state.executing and time.monotonic() < end:
        await asyncio.sleep(_POLL_S)
