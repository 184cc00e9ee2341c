"""A fake of the Kubernetes API with the Dask operator behind it; run as a program.

The real API server is to be had from no package index that we reach, so what it and the operator
would do is acted here: objects are checked against strict schemas and stored; the containers of a
DaskCluster and a DaskWorkerGroup are started as processes on loopback, by the command lines and
variables that stand in the manifests; pods are reported ready when their port answers; port-forward
speaks Kubernetes' WebSocket protocol. Not acted: where pods go, images, mounts, the network policy,
and the autoscaler, which is stored only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.manifests import find_fault, to_bytes
from tests.servers.processes import get, serve

KINDS = {
    "daskclusters": "DaskCluster",
    "daskworkergroups": "DaskWorkerGroup",
    "daskautoscalers": "DaskAutoscaler",
}
TOKEN = "token-of-a-test"
TROUBLES = {
    "no-crds": "the operator's kinds are unknown",
    "no-namespace": "the namespace is unknown",
    "no-operator": "objects are stored and nothing comes of them",
    "forbidden": "the user may not create anything",
    "no-image": "worker images cannot be pulled",
    "full": "no node has room for workers",
    "crash": "the scheduler ends at once",
    "no-secret": "workers name a secret that is not there",
}
_TROUBLED_PODS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no-image": ("worker", "ImagePullBackOff", {}),
    "no-secret": ("worker", "CreateContainerConfigError", {}),
    "crash": ("scheduler", "CrashLoopBackOff", {}),
    "full": ("worker", "Unschedulable", {"unplaced": True}),
}
_SAYS = {
    "ImagePullBackOff": 'Back-off pulling image "cloudfree:0.1.0"',
    "CreateContainerConfigError": 'secret "cloudfree-tls" not found',
    "CrashLoopBackOff": "back-off 40s restarting failed container=scheduler",
    "Unschedulable": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}


@dataclass(frozen=True, kw_only=True)
class FakeKubernetes:
    """A running fake."""

    address: str
    kubeconfig: Path

    def told(self) -> dict[str, Any]:
        """Return what was ``created``, what still ``exists``, how many processes ``run``, and what
        was ``asked``: verb and resource as roles name them.
        """
        told: dict[str, Any] = json.loads(get(f"{self.address}/told"))
        return told


@contextmanager
def serve_kubernetes(folder: Path, trouble: str = "") -> Iterator[FakeKubernetes]:
    """Yield a fake, in trouble as TROUBLES names it, and a kubeconfig for it in ``folder``."""
    program = [sys.executable, "-m", "tests.servers.kubernetes"]
    with serve(lambda number: [*program, str(number), trouble]) as address:
        get(f"{address}/told")  # wait until it answers
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [{"name": "fake", "cluster": {"server": address}}],
            "users": [{"name": "fake", "user": {"token": TOKEN}}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(config))
        yield FakeKubernetes(address=address, kubeconfig=file)


@dataclass(kw_only=True)
class _Pod:
    name: str
    labels: dict[str, str]
    port: int
    """Of its HTTP server; a port that answers makes it ready."""
    comm_port: int
    process: subprocess.Popen[bytes] | None

    def describe(self, trouble: str) -> dict[str, Any]:
        component, reason, special = _TROUBLED_PODS.get(trouble, ("", "", {}))
        conditions = [{"type": "Ready", "status": "True" if self._answers() else "False"}]
        states: list[dict[str, Any]] = [{"state": {"running": {}}}]
        if self.labels["dask.org/component"] == component:
            waiting = {"reason": reason, "message": _SAYS[reason]}
            states = [] if special else [{"state": {"waiting": waiting}}]
            if special:
                conditions.append({"type": "PodScheduled", "status": "False", **waiting})
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": "cloudfree", "labels": self.labels},
            "status": {"conditions": conditions, "containerStatuses": states},
        }

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


@dataclass(kw_only=True)
class _State:
    trouble: str
    folder: Path
    created: list[dict[str, Any]] = field(default_factory=list)
    exists: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)
    pods: dict[str, list[_Pod]] = field(default_factory=dict)
    """By the object that they come of."""

    def stop(self, key: str) -> None:
        for pod in self.pods.pop(key, []):
            if pod.process is not None:
                pod.process.terminate()
                try:
                    pod.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    pod.process.kill()
                    pod.process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _start(
    state: _State, container: dict[str, Any], labels: dict[str, str], scheduler: int
) -> _Pod:
    """Start a container's command line on loopback; ports that others may hold are replaced."""
    name = f"{labels.get('dask.org/workergroup-name', labels['dask.org/cluster-name'])}"
    name += f"-{labels['dask.org/component']}-{sum(map(len, state.pods.values()))}"
    port, comm = _free_port(), scheduler or _free_port()
    pod = _Pod(name=name, labels=labels, port=port, comm_port=comm, process=None)
    if _TROUBLED_PODS.get(state.trouble, ("",))[0] == labels["dask.org/component"]:
        return pod
    variables = {"DASK_WORKER_NAME": name}
    if scheduler:
        variables["DASK_SCHEDULER_ADDRESS"] = f"tcp://127.0.0.1:{scheduler}"
    for item in container.get("env", []):
        memory = container["resources"]["limits"]["memory"]
        variables[item["name"]] = item["value"] if "value" in item else str(to_bytes(memory))
    given = [re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], arg) for arg in container["args"]]
    own = ["--host=127.0.0.1", f"--dashboard-address=127.0.0.1:{port}"]
    own += (
        ["--worker-port=0", "--nanny-port=0", f"--local-directory={state.folder}"]
        if scheduler
        else [f"--port={comm}"]
    )
    pod.process = subprocess.Popen(
        [sys.executable, "-m", *given, *own], env=os.environ | variables,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return pod


def _operate(state: _State, thing: dict[str, Any]) -> None:
    """Do what the operator does once it sees an object."""
    kind, name = thing["kind"], thing["metadata"]["name"]
    if state.trouble == "no-operator" or kind == "DaskAutoscaler":
        return
    cluster = thing["spec"].get("cluster", name)
    common = {**thing["metadata"]["labels"], "dask.org/cluster-name": cluster}
    pods = state.pods.setdefault(f"{kind}/{name}", [])
    if kind == "DaskCluster":
        spec = thing["spec"]["scheduler"]["spec"]["containers"][0]
        pods.append(_start(state, spec, {**common, "dask.org/component": "scheduler"}, 0))
        name = f"{name}-default"
    scheduler = state.pods[f"DaskCluster/{cluster}"][0].comm_port
    worker = thing["spec"]["worker"]
    labels = {**common, "dask.org/component": "worker", "dask.org/workergroup-name": name}
    for _ in range(worker["replicas"]):
        pods.append(_start(state, worker["spec"]["containers"][0], labels, scheduler))


def _refuse(code: int, message: str) -> Response:
    body = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    return JSONResponse(body, status_code=code)


def make_application(state: _State) -> Starlette:
    """Return the whole application."""

    async def create(request: Request) -> Response:
        kind = KINDS[request.path_params["plural"]]
        state.asked.add(("create", request.path_params["plural"]))
        if state.trouble == "no-crds":
            return PlainTextResponse("404 page not found", status_code=404)
        if state.trouble == "no-namespace":
            return _refuse(404, 'namespaces "cloudfree" not found')
        if state.trouble == "forbidden":
            return _refuse(403, f"{kind} is forbidden: User cannot create resource")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refuse(401, "Unauthorized")
        thing = json.loads(await request.body())
        if thing["metadata"].get("namespace") != request.path_params["namespace"]:
            return _refuse(400, "the namespace of the object is not that of the request")
        if fault := find_fault(thing):
            return _refuse(422, f"{kind} is invalid: {fault}")
        state.created.append(thing)
        state.exists[f"{kind}/{thing['metadata']['name']}"] = thing
        await asyncio.to_thread(_operate, state, thing)
        return JSONResponse(thing, status_code=201)

    async def delete(request: Request) -> Response:
        state.asked.add(("delete", request.path_params["plural"]))
        key = f"{KINDS[request.path_params['plural']]}/{request.path_params['name']}"
        if state.exists.pop(key, None) is None:
            return _refuse(404, f"{key} not found")
        await asyncio.to_thread(state.stop, key)
        return JSONResponse({"kind": "Status", "status": "Success"})

    async def list_pods(request: Request) -> Response:
        state.asked.add(("list", "pods"))
        wanted = dict(part.split("=") for part in request.query_params["labelSelector"].split(","))
        pods = [pod for of_one in state.pods.values() for pod in of_one]
        found = [pod for pod in pods if wanted.items() <= pod.labels.items()]
        described = await asyncio.to_thread(lambda: [pod.describe(state.trouble) for pod in found])
        return JSONResponse({"apiVersion": "v1", "kind": "PodList", "items": described})

    def tell(_: Request) -> Response:
        processes = [pod.process for pods in state.pods.values() for pod in pods if pod.process]
        running = sum(process.poll() is None for process in processes)
        return JSONResponse(
            {
                "created": state.created,
                "exists": sorted(state.exists),
                "run": running,
                "asked": sorted(state.asked),
            }
        )

    def version(_: Request) -> Response:
        return JSONResponse({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})

    async def forward(socket_: WebSocket) -> None:
        pods = [pod for of_one in state.pods.values() for pod in of_one]
        [pod] = [pod for pod in pods if pod.name == socket_.path_params["name"]]
        state.asked.add(("get", "pods/portforward"))  # and create, in newer releases
        assert socket_.query_params["ports"] == "8786"
        await _relay(socket_, pod.comm_port)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for key in list(state.pods)[::-1]:
            state.stop(key)

    dask = "/apis/kubernetes.dask.org/v1/namespaces/{namespace}/{plural}"
    pods = "/api/v1/namespaces/{namespace}/pods"
    return Starlette(
        routes=[
            Route("/version", version),
            Route("/told", tell),
            Route(dask, create, methods=["POST"]),
            Route(f"{dask}/{{name}}", delete, methods=["DELETE"]),
            Route(pods, list_pods),
            WebSocketRoute(f"{pods}/{{name}}/portforward", forward),
        ],
        lifespan=lifespan,
    )


async def _relay(client: WebSocket, port: int) -> None:
    """Carry bytes both ways; the first byte of a message names its channel: 0 data, 1 errors."""
    await client.accept()
    for channel in (b"\x00", b"\x01"):  # each channel begins with the number of the port
        await client.send_bytes(channel + (8786).to_bytes(2, "little"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def receive() -> None:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                writer.write((await client.receive_bytes())[1:])
                await writer.drain()

    async def send() -> None:
        while data := await reader.read(65536):
            await client.send_bytes(b"\x00" + data)

    tasks = [asyncio.create_task(receive()), asyncio.create_task(send())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    writer.close()
    with contextlib.suppress(RuntimeError):
        await client.close()


if __name__ == "__main__":
    listening = socket.socket(fileno=int(sys.argv[1]))
    with tempfile.TemporaryDirectory() as scratch:
        application = make_application(_State(trouble=sys.argv[2], folder=Path(scratch)))
        server = uvicorn.Server(uvicorn.Config(application, log_level="error", ws="wsproto"))
        server.run(sockets=[listening])
