"""A Dask cluster of real processes: the command lines that a user would start, killed by id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.processes import ROOT

_START_S = 60
_STOP_S = 20


@dataclass(kw_only=True)
class Process:
    """A program of the cluster."""

    popen: subprocess.Popen
    log: Path

    def kill(self) -> None:
        """Kill it, and what it started, without a word of warning."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(timeout=_STOP_S)

    def terminate(self) -> None:
        """Ask it to end, as Kubernetes does: its first process only."""
        self.popen.terminate()


@dataclass(kw_only=True)
class DaskCluster:
    """A scheduler and its workers; ``prefix`` is put before each command, such as a namespace."""

    folder: Path
    host: str = "127.0.0.1"
    protocol: str = "tcp"
    prefix: Sequence[str] = ()
    tls: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    scheduler: Process | None = None
    workers: list[Process] = field(default_factory=list)
    port: int = 0
    dashboard: int = 0
    _started: list[Process] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where the scheduler is."""
        return f"{self.protocol}://{self.host}:{self.port}"

    def start_scheduler(self) -> None:
        """Start it, on the port it had before, and wait until it listens."""
        file = self.folder / f"scheduler-{len(self._started)}.json"
        # not --scheduler-file alone: a restarted scheduler must keep its port
        command = [
            "scheduler", "--host", f"{self.protocol}://{self.host}", "--port", str(self.port),
            "--dashboard-address", f"{self.host}:0", "--scheduler-file", str(file), *self.tls,
        ]  # fmt: skip
        self.scheduler = self._start(command, self.prefix)
        end = time.monotonic() + _START_S
        while not _is_json(file):
            assert self.scheduler.popen.poll() is None, self.scheduler.log.read_text()
            assert time.monotonic() < end, self.scheduler.log.read_text()
            time.sleep(0.1)
        facts = json.loads(file.read_text())
        self.port = int(facts["address"].rpartition(":")[2])
        self.dashboard = int(facts["services"]["dashboard"])

    def start_worker(
        self, *options: str, prefix: Sequence[str] | None = None, host: str | None = None
    ) -> Process:
        """Start a worker process of one thread, with a nanny that drains it."""
        command = [
            "worker", self.address, "--nworkers", "1", "--nthreads", "1", "--memory-limit", "0",
            "--host", host or self.host, "--dashboard-address", ":0", "--local-directory",
            str(self.folder / "scratch"), "--preload-nanny", "cloudfree.cluster.drain",
            *self.tls, *options,
        ]  # fmt: skip
        worker = self._start(command, self.prefix if prefix is None else prefix)
        self.workers.append(worker)
        return worker

    def _start(self, command: Sequence[str], prefix: Sequence[str]) -> Process:
        log = self.folder / f"{len(self._started)}-{command[0]}.log"
        with log.open("w") as stream:
            popen = subprocess.Popen(
                [*prefix, sys.executable, "-m", "dask", *command],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
            )  # fmt: skip
        process = Process(popen=popen, log=log)
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill whatever is left."""
        for process in self._started:
            with suppress(ProcessLookupError):  # a nanny that ended may have left its worker
                process.kill()


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def dask_cluster(folder: Path, *, workers: int = 2, **facts: object) -> Iterator[DaskCluster]:
    """Yield a cluster with so many workers."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = DaskCluster(folder=folder, **facts)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.start_worker()
        yield cluster
    finally:
        cluster.close()
