"""The command lines and variables of the production overlay, run on loopback with certificates."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from distributed.security import Security

from tests.manifests import build_overlay, containers
from tests.servers.certificates import write_certificates

WAIT_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Pods:
    """The overlay's containers, with what the pods have and a process has not put in."""

    def __init__(self, overlay: str, folder: Path) -> None:
        self._containers = {
            (thing["kind"], container["name"]): container
            for thing in build_overlay(overlay)
            for container in containers(thing)
        }
        self._folder = folder
        self.port, self.http = free_port(), free_port()

    def command(self, kind: str, name: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the variables of a container."""
        container = self._containers[kind, name]
        env = {"DASK_WORKER_NAME": f"{kind}-{name}", "MEMORY_LIMIT": "1GiB"}
        env |= {item["name"]: item["value"] for item in container["env"] if "value" in item}
        scheduler = f"127.0.0.1:{self.port}"
        env = {key: self._place(text).replace("cloudfree-scheduler:8786", scheduler)
               for key, text in env.items()}  # fmt: skip
        args = [self._place(re.sub(r"\$\((\w+)\)", lambda m: env[m[1]], arg))
                for arg in container["args"]]  # fmt: skip
        if args[0] == "python":
            return [sys.executable, *args[1:]], env
        own = ["--host=127.0.0.1"]
        if name == "scheduler":
            own += [f"--port={self.port}", f"--dashboard-address=127.0.0.1:{self.http}"]
        else:
            own += ["--worker-port=0", "--nanny-port=0", "--dashboard-address=127.0.0.1:0"]
            own += [f"--local-directory={self._folder}"]
        return [sys.executable, "-m", *args, *own], env

    def _place(self, text: str) -> str:
        return text.replace("/etc/cloudfree-tls", str(self._folder))

    @contextmanager
    def started(self, kind: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Yield the process of a container; it is ended as Kubernetes ends it."""
        command, env = self.command(kind, name)
        log = (self._folder / f"{kind}-{name}.log").open("wb")
        with log, subprocess.Popen(
            command, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=WAIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the scheduler's HTTP API says."""
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=sent)
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return answer.read().decode()


@pytest.fixture
def pods(tmp_path: Path) -> Pods:
    write_certificates(tmp_path)
    return Pods("production", tmp_path)


@pytest.mark.slow
def test_production_runs_over_tls_and_waits_for_a_gpu_worker(pods: Pods, tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key")]
    security = Security(
        tls_ca_file=files[0], tls_client_cert=files[1], tls_client_key=files[2],
        require_encryption=True,
    )  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(pods.started("DaskCluster", "scheduler"))
        stack.enter_context(pods.started("DaskCluster", "worker"))
        command, env = pods.command("Job", "wait-for-workers")
        with subprocess.Popen(command, env=os.environ | env, stdin=subprocess.DEVNULL) as waiting:
            stack.callback(waiting.kill)
            address = f"tls://127.0.0.1:{pods.port}"
            client = stack.enter_context(Client(address, security=security, timeout=WAIT_S))
            client.wait_for_workers(1, timeout=WAIT_S)
            time.sleep(4)  # a reader alone is not what it waits for
            assert waiting.poll() is None
            gpu = stack.enter_context(pods.started("DaskWorkerGroup", "worker"))
            assert waiting.wait(timeout=WAIT_S) == 0
        assert client.submit(abs, -5, resources={"GPU": 1}).result(timeout=WAIT_S) == 5
        with pytest.raises(OSError):
            Client(f"tcp://127.0.0.1:{pods.port}", timeout=5)

        assert "dask_scheduler_workers" in pods.ask("/metrics")
        # what the operator asks, over HTTP since it has no certificate
        assert json.loads(pods.ask("/api/v1/adaptive_target"))["workers"] >= 0
        gpu.send_signal(signal.SIGTERM)
        assert gpu.wait(timeout=WAIT_S) == 0
        assert len(client.scheduler_info()["workers"]) == 1
