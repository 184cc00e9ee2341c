"""A Dask client for a run: of a cluster of its own on this machine, or of one that runs already."""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import dask
import psutil
from distributed import (
    Client,
    LocalCluster,
    Nanny,
    Scheduler,
    SpecCluster,
    Worker,
    WorkerPlugin,
)
from distributed.security import Security

from cloudfree.cluster.shared import GPU
from cloudfree.core.config import EngineSettings
from cloudfree.core.errors import SettingsError

logger = logging.getLogger(__name__)

_THREADS_IN_PROCESS = 2
"""In one process a second chunk is read while the first is restored."""
_CONNECT_S = 10
_MEMORY_STEPS = ("target", "spill", "pause", "terminate")
_FREE_PORT = "127.0.0.1:0"


@contextmanager
def connect(settings: EngineSettings, *, gpus: int = 0) -> Iterator[Client]:
    """Yield a client; whatever was started for it is stopped at the end.

    ``gpus`` accelerators of this machine are used by a local cluster. Raises SettingsError where
    the scheduler's address does not answer or asks for other certificates.
    """
    with ExitStack() as stack:
        _silence_dask()
        if settings.scheduler:
            client = stack.enter_context(_join(settings))
        else:
            # chunks wait for memory: Dask need not spill, pause or kill
            memory = {f"distributed.worker.memory.{step}": False for step in _MEMORY_STEPS}
            stack.enter_context(dask.config.set(memory))
            cluster = stack.enter_context(_start_local(settings, gpus))
            client = stack.enter_context(Client(cluster, set_as_default=False))
            if settings.workers > 1:
                client.register_plugin(_LocalProcess())
        yield client


class _LocalProcess(WorkerPlugin):
    """Lets worker processes of this machine log what this process would, and leave Ctrl-C to it."""

    def __init__(self) -> None:
        self._level = logging.getLogger("cloudfree").getEffectiveLevel()
        self._formatter = next(filter(None, map(_portable, logging.getLogger().handlers)), None)

    def setup(self, worker: Worker) -> None:
        """Give the package a handler of its own: Dask silences the one that it shares.

        A terminal sends SIGINT to every process of a command.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        handler = logging.StreamHandler()
        handler.setFormatter(self._formatter)
        package = logging.getLogger("cloudfree")
        package.setLevel(self._level)
        package.handlers = [handler]
        package.propagate = False


def _portable(handler: logging.Handler) -> logging.Formatter | None:
    """Return a handler's formatter; None where it cannot be sent: some hold a terminal."""
    try:
        pickle.dumps(handler.formatter)
    except (TypeError, AttributeError, pickle.PicklingError):
        return None
    return handler.formatter


def _silence_dask() -> None:
    """Let distributed log nothing here: its errors come back to the caller."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith("distributed.")]
    for name in ("distributed", *known):  # some have a level of their own
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _join(settings: EngineSettings) -> Client:
    address = settings.scheduler
    security = None
    if settings.tls_ca:
        security = Security(
            tls_ca_file=settings.tls_ca,
            tls_client_cert=settings.tls_cert,
            tls_client_key=settings.tls_key,
            require_encryption=True,
        )
    elif not _is_loopback(address):
        logger.warning(
            "%s is not encrypted: whoever reaches it can run programs on its workers. Give "
            "--tls-ca, --tls-cert and --tls-key, or keep its network closed",
            address,
        )
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False, security=security)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"no Dask scheduler answers at {address}: {' '.join(str(error).split())}. Check "
            "--scheduler, and --tls-ca, --tls-cert and --tls-key for one that asks for TLS"
        ) from None


def _is_loopback(address: str) -> bool:
    host = urlsplit(address if "://" in address else f"tcp://{address}").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _start_local(settings: EngineSettings, gpus: int) -> SpecCluster:
    """Return a cluster on this machine: this process alone, or worker processes.

    Of processes, one for each accelerator restores and ``workers`` others read and write.
    """
    watched = bool(settings.dashboard)
    # distributed opens a port for its figures in any case: a free one, for this machine alone
    shown = {"dashboard": watched, "dashboard_address": settings.dashboard or _FREE_PORT}
    in_process = settings.workers == 1
    processes = 1 if in_process else settings.workers + gpus
    quiet = {
        "silence_logs": logging.CRITICAL,
        "memory_limit": psutil.virtual_memory().available // processes,
    }
    if in_process:
        return LocalCluster(
            n_workers=1,
            threads_per_worker=_THREADS_IN_PROCESS + bool(gpus),
            processes=False,
            resources={GPU: 1} if gpus else None,
            dashboard_address=shown["dashboard_address"],
            scheduler_kwargs=shown,
            worker_dashboard_address=_FREE_PORT if watched else None,
            **quiet,
        )
    process = {**quiet, "dashboard": watched, "dashboard_address": _FREE_PORT}
    readers = {
        f"reader{i}": {"cls": Nanny, "options": {**process, "nthreads": 1}}
        for i in range(settings.workers)
    }
    restorers = {
        f"gpu{i}": {
            "cls": Nanny,
            "options": {
                **process,
                "nthreads": 2,
                "resources": {GPU: 1},
                "env": {"CUDA_VISIBLE_DEVICES": name},
            },
        }
        for i, name in enumerate(_accelerators(gpus))
    }
    scheduler = {"cls": Scheduler, "options": {**shown, "host": "127.0.0.1"}}
    return SpecCluster(
        workers={**readers, **restorers}, scheduler=scheduler, silence_logs=logging.CRITICAL
    )


def _accelerators(gpus: int) -> list[str]:
    """Return what CUDA calls the accelerators that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[:gpus] if visible else [str(i) for i in range(gpus)]
