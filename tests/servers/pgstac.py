"""stac-fastapi on pgstac on a PostgreSQL cluster of its own that is thrown away."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests import needs
from tests.servers.processes import get, serve

_STEP_S = 120
_QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextmanager
def serve_stac(items: Sequence[dict[str, Any]], collections: Sequence[str]) -> Iterator[str]:
    """Yield the address of an API that holds the items."""
    programs = needs.stac_programs()
    with tempfile.TemporaryDirectory(prefix="pgstac-", dir="/tmp") as name:
        folder = Path(name)  # short, since the path of a socket may not be long
        with _database(folder):
            environment = {
                **os.environ,
                "PGHOST": name, "PGPORT": "5432", "PGUSER": "stac", "PGPASSWORD": "none",
                "PGDATABASE": "stac",
            }  # fmt: skip
            _load(programs, folder, environment, items, collections)
            command = [str(programs / "uvicorn"), "--factory", "stac_fastapi.pgstac.app:create_app"]
            quoted = {**environment, "PGHOST": quote(name, safe="")}
            with serve(lambda number: [*command, "--fd", str(number)], quoted) as address:
                get(address)  # wait until it answers
                yield address


@contextmanager
def _database(folder: Path) -> Iterator[None]:
    """Run a cluster on a socket in the folder, as a user that PostgreSQL takes: never root."""
    programs = needs.postgis_programs()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        postgres = pwd.getpwnam("postgres")
        os.chown(folder, postgres.pw_uid, postgres.pw_gid)
        user = {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}
    make = [programs / "initdb", "-D", folder / "data", "-U", "stac", "-A", "trust", "--no-sync"]
    subprocess.run(make, check=True, timeout=_STEP_S, cwd=folder, **_QUIET, **user)
    options = {"fsync": "off", "listen_addresses": "", "unix_socket_directories": str(folder)}
    settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    run = [programs / "postgres", "-D", folder / "data", *settings]
    process = subprocess.Popen(run, cwd=folder, **_QUIET, **user)
    try:
        _wait_until(lambda: _answers(programs, folder), process)
        subprocess.run(
            [programs / "createdb", "-h", folder, "-U", "stac", "stac"],
            check=True, timeout=_STEP_S, **_QUIET,
        )  # fmt: skip
        yield
    finally:
        process.send_signal(signal.SIGINT)  # breaks connections off
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=30)


def _answers(programs: Path, folder: Path) -> bool:
    ask = [programs / "pg_isready", "-q", "-h", folder]
    return subprocess.run(ask, check=False, timeout=_STEP_S, **_QUIET).returncode == 0


def _wait_until(ready: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STEP_S
    while not ready():
        assert process.poll() is None, "the database has ended"
        assert time.monotonic() < deadline, "the database does not answer"
        time.sleep(0.1)


def _load(
    programs: Path,
    folder: Path,
    environment: dict[str, str],
    items: Sequence[dict[str, Any]],
    collections: Sequence[str],
) -> None:
    described = [describe_collection(name) for name in collections]
    steps: list[tuple[str, ...]] = [("migrate",)]
    for table, rows in (("collections", described), ("items", items)):
        file = folder / f"{table}.ndjson"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        steps.append(("load", table, str(file)))
    for step in steps:
        done = subprocess.run(
            [programs / "pypgstac", *step],
            env=environment, check=False, timeout=_STEP_S, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def describe_collection(name: str) -> dict[str, Any]:
    """Return a STAC collection without any fact but its name."""
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "proprietary",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-01-01T00:00:00Z", None]]},
        },
    }
