"""What every worker of a run holds once per process: the model, and the facts of the run.

Values travel as Dask worker plugins: workers that join later get them too, none is lost with a
worker, and a job names them instead of carrying them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Any

import psutil
from distributed import Client, Worker, WorkerPlugin, get_worker

from cloudfree.core.errors import ClusterError
from cloudfree.core.types import OnDevice

logger = logging.getLogger(__name__)

GPU = "GPU"
"""The Dask resource of workers that restore: one per accelerator."""
SHARE_OF_MEMORY = 0.6
"""What jobs may take of a worker's memory; the rest is for libraries and for what waits to be sent.
"""

_ATTEMPTS = 5
_PAUSE_S = 1.0
"""Between attempts; a scheduler forgets a closing worker within a second."""


class Shared(WorkerPlugin):
    """One value in every worker process; see ``share``."""

    def __init__(self, value: Any, *, on_gpu: bool, job_bytes: int) -> None:
        self.value = value
        self._on_gpu = on_gpu
        self._job_bytes = job_bytes
        self._version = version("cloudfree")
        self.turns: threading.BoundedSemaphore | None = None

    async def setup(self, worker: Worker) -> None:
        """Check the worker, put a model where it belongs, count the jobs that fit.

        Raises ClusterError where the worker runs another version of this package.
        """
        if version("cloudfree") != self._version:
            raise ClusterError(
                f"the worker {worker.address} has cloudfree {version('cloudfree')}, this is "
                f"{self._version}; give both the same"
            )
        if (
            self._on_gpu
            and GPU in worker.state.total_resources
            and isinstance(self.value, OnDevice)
        ):
            self.value = self.value.on_accelerator()
        if self._job_bytes:
            limit = worker.memory_manager.memory_limit or psutil.virtual_memory().available
            fitting = count_fitting(limit, self._job_bytes)
            if not fitting:
                logger.warning(
                    "the worker %s has %.1f GB and a chunk takes up to %.1f GB; a smaller "
                    "--chunk-px needs less",
                    worker.address,
                    limit / 1e9,
                    self._job_bytes / 1e9,
                )
            self.turns = threading.BoundedSemaphore(max(fitting, 1))


def count_fitting(limit_bytes: float, job_bytes: int) -> int:
    """Return how many jobs a worker's memory takes at once."""
    return int(SHARE_OF_MEMORY * limit_bytes // job_bytes)


@contextmanager
def share(
    client: Client, name: str, value: Any, *, on_gpu: bool = False, job_bytes: int = 0
) -> Iterator[None]:
    """Give every worker, now and later, a value while the block runs.

    With ``on_gpu``, workers that have the resource ``GPU`` place a model on their accelerator;
    nobody else uses one. ``job_bytes``, where given, is what one job takes of a worker's memory:
    see ``wait_for_memory``. Raises ClusterError where workers cannot take it.
    """
    shared = Shared(value, on_gpu=on_gpu, job_bytes=job_bytes)
    try:
        _register(client, shared, name)
    except ClusterError:
        raise
    except Exception as error:  # whatever a worker raised on unpacking it, such as ImportError
        raise ClusterError(
            f"the workers cannot take up the run: {type(error).__name__}: {error}. They need the "
            "same cloudfree and Python as this machine"
        ) from None
    try:
        yield
    finally:
        if client.status == "running":
            _unregister(client, name)


def _register(client: Client, shared: Shared, name: str) -> None:
    """Register a plugin; again where a worker that is just leaving breaks it off."""
    for _ in range(_ATTEMPTS - 1):
        try:
            client.register_plugin(shared, name=name)
            return
        except OSError:
            time.sleep(_PAUSE_S)
    client.register_plugin(shared, name=name)


def _unregister(client: Client, name: str) -> None:
    """Take a plugin back; a worker that is just leaving breaks the answer off, not the taking."""
    try:
        client.unregister_worker_plugin(name)
    except OSError as error:
        logger.debug("a worker left while it gave up %s: %s", name, error)


def read_shared(name: str) -> Any:
    """Return a shared value; asked from inside of a job."""
    return _find(name).value


def wait_for_memory(name: str) -> AbstractContextManager[object]:
    """Return what a job holds while it works: no more hold it than the worker's memory takes."""
    turns = _find(name).turns
    assert turns is not None  # shared with job_bytes
    return turns


def _find(name: str) -> Shared:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, Shared)
    return plugin
