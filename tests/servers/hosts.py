"""Several hosts on one machine: network namespaces with a cable each to one switch. Needs root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests import needs

_NETWORK = "10.231.77"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """Hosts by name; nothing outside of them can be reached from them."""

    prefix: str
    names: tuple[str, ...]

    def address(self, name: str) -> str:
        """Return a host's address."""
        return f"{_NETWORK}.{self.names.index(name) + 1}"

    def on(self, name: str) -> Sequence[str]:
        """Return what to put before a command for it to run on a host."""
        return (needs.program("ip"), "netns", "exec", self._namespace(name))

    def cut(self, name: str) -> None:
        """Pull a host's cable: packets are lost, nobody is told."""
        _ip("-n", self._namespace("switch"), "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        _ip("-n", self._namespace("switch"), "link", "set", f"to-{name}", "up")

    def _namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"


@contextmanager
def hosts(*names: str) -> Iterator[Hosts]:
    """Yield hosts, and remove them at the end; skips where the kernel gives none."""
    needs.root("to make network namespaces")
    probe = f"cf{os.getpid()}-probe"
    if (tried := _try_ip("netns", "add", probe)).returncode:
        pytest.skip(f"no network namespace can be made: {tried.stderr.strip()}")
    _ip("netns", "del", probe)
    made = Hosts(prefix=f"cf{os.getpid()}", names=names)
    switch = made._namespace("switch")
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for name in names:
            own, cable = made._namespace(name), f"to-{name}"
            _ip("netns", "add", own)
            _ip("-n", own, "link", "set", "lo", "up")
            _ip("-n", switch, "link", "add", cable, "type", "veth", "peer", "name", "eth0",
                "netns", own)  # fmt: skip
            _ip("-n", switch, "link", "set", cable, "master", "bridge", "up")
            _ip("-n", own, "address", "add", f"{made.address(name)}/24", "dev", "eth0")
            _ip("-n", own, "link", "set", "eth0", "up")
        yield made
    finally:
        for name in ("switch", *names):
            _try_ip("netns", "del", made._namespace(name))


def _ip(*arguments: str) -> None:
    done = _try_ip(*arguments)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _try_ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [needs.program("ip"), *arguments], check=False, capture_output=True, text=True, timeout=30
    )
