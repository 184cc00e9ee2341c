"""Servers in their own processes: started on a free port, stopped by process id."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.faults import Faults, as_argument

ROOT = Path(__file__).resolve().parents[2]
_START_S = 60
_STOP_S = 15


@contextmanager
def serve(
    command: Callable[[int], Sequence[str]], environment: dict[str, str] | None = None
) -> Iterator[str]:
    """Yield the address of a server: ``command`` is given the number of a listening socket.

    The socket is made here, so that no other program can take the port in between, and requests
    wait in its queue until the server is ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        number = listening.fileno()
        process = subprocess.Popen(
            command(number), pass_fds=[number], cwd=ROOT, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield address
    finally:
        process.terminate()
        try:
            process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_STOP_S)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a file server says about itself."""

    requests: int
    """For files."""
    connections: int
    """Over which they came."""
    faults: dict[str, int]
    """Requests that failed, by kind."""


@dataclass(frozen=True, kw_only=True)
class FileServer:
    """A running file server."""

    address: str

    @property
    def files(self) -> str:
        """Return the address that the served folder has."""
        return f"{self.address}/files"

    def told(self) -> Told:
        """Return what happened so far."""
        return Told(**json.loads(get(f"{self.address}/told")))


def get(address: str) -> bytes:
    """Return what is at an address."""
    with urllib.request.urlopen(address, timeout=_START_S) as answer:
        body: bytes = answer.read()
        return body


@contextmanager
def serve_files(folder: Path, faults: Faults) -> Iterator[FileServer]:
    """Yield a server of a folder's files that fails as told."""
    program = [sys.executable, "-m", "tests.servers.faults"]
    with serve(lambda number: [*program, str(number), str(folder), as_argument(faults)]) as address:
        get(f"{address}/told")  # wait until it answers
        yield FileServer(address=address)
