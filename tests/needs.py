"""What the two commands of the README do not install: whoever asks for it skips without it.

No other file of the tests names such a thing or starts a program by its name (`test_needs.py` holds
that), so that a test that lacks something skips on any machine, and says what it lacks.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


def shared(*parts: str) -> Path:
    """Return what lies in the folder of data beside the checkout."""
    return _find(_ROOT.parent.joinpath("shared", *parts), "it is no part of the project")


def s3_python() -> Path:
    """Return the Python that has an S3 server."""
    return _find(_ROOT / ".venv-s3" / "bin" / "python", "make servers")


def stac_programs() -> Path:
    """Return the folder of the programs of a STAC API on pgstac."""
    return _find(_ROOT / ".venv-stac" / "bin" / "pypgstac", "make servers").parent


def azurite() -> Path:
    """Return the emulator of Azure's store."""
    name = ".azurite/node_modules/.bin/azurite-blob"
    return _find(_ROOT / name, "npm install --prefix .azurite azurite")


def postgis_programs() -> Path:
    """Return the folder of the programs of the newest PostgreSQL that has PostGIS beside it."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        extensions = Path("/usr/share/postgresql", folder.parent.name, "extension")
        if (extensions / "postgis.control").is_file():
            return folder
    pytest.skip("PostgreSQL with PostGIS is not here: apt-get install postgresql-postgis")


def program(*names: str) -> str:
    """Return the path of the first of some programs that is installed."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"the program {' or '.join(names)} is not here")


def root(why: str) -> None:
    """Skip where this process is not root's."""
    if os.geteuid() != 0:
        pytest.skip(f"{why} needs root")


def kubectl() -> str:
    """Return a kubectl of 1.27 or later; Debian 12's (1.20) does not know components."""
    found = program("kubectl")
    if _kustomize(found) < 5:
        pytest.skip("kubectl is older than 1.27")
    return found


@functools.cache
def _kustomize(kubectl: str) -> int:
    said = subprocess.run(
        [kubectl, "version", "--client", "--output=json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return int(json.loads(said.stdout).get("kustomizeVersion", "v0")[1:].split(".")[0])


def _find(path: Path, cure: str) -> Path:
    if not path.exists():
        pytest.skip(f"{os.path.relpath(path, _ROOT)} is not here: {cure}")
    return path
