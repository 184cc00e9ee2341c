"""Several hosts on one machine: network namespaces with a cable each to one switch. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
        return ("ip", "netns", "exec", self._namespace(name))

    def cut(self, name: str) -> None:
        """Pull a host's cable: packets are lost, nobody is told."""
        _ip("-n", self._namespace("switch"), "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """Plug it in again."""
        _ip("-n", self._namespace("switch"), "link", "set", f"to-{name}", "up")

    def _namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"


def why_not() -> str:
    """Return why hosts cannot be had here; empty where they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the program ip, of Debian's iproute2"
    probe = f"cf{os.getpid()}-probe"
    made = _try_ip("netns", "add", probe)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    _ip("netns", "del", probe)
    return ""


@contextmanager
def hosts(*names: str) -> Iterator[Hosts]:
    """Yield hosts, and remove them at the end."""
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
        ["ip", *arguments], check=False, capture_output=True, text=True, timeout=30
    )
