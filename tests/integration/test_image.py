"""The image of deploy/Dockerfile, built and run without a container engine.

buildah builds it as root in a chroot, with no daemon. Its base would come from a registry, which
is not to be had everywhere; so a Debian of the same release with its own Python 3.11 stands in for
it. What differs is the build and place of the interpreter, not a step of the file.
"""

from __future__ import annotations

import configparser
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs
from tests.manifests import DEPLOY

ROOT = DEPLOY.parent
BASE = "localhost/python:3.11-slim-bookworm"


def test_the_dockerfile_pleases_its_linter() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    result = subprocess.run(
        [linter, str(DEPLOY / "Dockerfile")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_the_linter_can_say_no(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text((DEPLOY / "Dockerfile").read_text().replace("USER 10001:10001", "USER root"))
    linter = Path(sys.executable).parent / "hadolint"
    result = subprocess.run(
        [linter, str(bad)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "DL3002" in result.stdout


def test_the_build_sees_nothing_but_what_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    wanted = {name for line in copied for name in line.split()}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == wanted
    assert all((ROOT / name).exists() for name in wanted)


# The built image ----------------------------------------------------------------------------------


logger = logging.getLogger(__name__)


class Buildah:
    """buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._program = needs.program("buildah")
        self._store = [f"--root={folder}/store", f"--runroot={folder}/run", "--storage-driver=vfs"]
        self._policy = folder / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def __call__(self, *words: str, timeout_s: float = 600) -> str:
        """Return what a command prints; fails with what it said where it fails."""
        if words[0] in ("bud", "commit", "from"):
            words = (words[0], f"--signature-policy={self._policy}", *words[1:])
        result = subprocess.run(
            [self._program, *self._store, *words],
            cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
            env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        )  # fmt: skip
        assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
        return result.stdout.strip()


def write_pip_configuration(file: Path) -> list[str]:
    """Write this machine's settings of pip as one file; return what of it must be mounted."""
    merged = configparser.RawConfigParser()
    merged.add_section("global")
    for name in ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf"):
        found = configparser.RawConfigParser()
        found.read(Path(name).expanduser())
        if found.has_section("global"):
            merged["global"].update(found["global"])
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            merged["global"][name[4:].lower().replace("_", "-")] = value
    with file.open("w") as stream:
        merged.write(stream)
    words = " ".join(merged["global"].values()).split()
    # an index in a folder keeps its files beside its pages
    paths = [
        Path(word.removeprefix("file://")).parent if word.startswith("file://") else Path(word)
        for word in words
    ]
    return [str(path) for path in paths if path.is_absolute() and path.exists()]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Buildah, str]]:
    """The built image and a container of it."""
    needs.root("to build the image")
    debootstrap = needs.program("debootstrap")
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    system = folder / "system"
    include = "--include=python3,python3-venv,ca-certificates"
    made = subprocess.run(
        [debootstrap, "--variant=minbase", include, "bookworm", str(system)],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-2000:]
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, str(system), "/")
    buildah("config", "--env=PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", base)
    buildah("commit", "--quiet", "--rm", base, BASE)
    shutil.rmtree(system)
    configuration = folder / "pip.conf"
    mounts = [f"--volume={path}:{path}:ro" for path in write_pip_configuration(configuration)]
    start = time.monotonic()
    buildah(
        "bud", "--pull-never", f"--build-arg=BASE={BASE}",
        f"--secret=id=pip,src={configuration}", *mounts,
        "--file=deploy/Dockerfile", "--tag=cloudfree:test", ".", timeout_s=1800,
    )  # fmt: skip
    logger.info("built in %.0f s", time.monotonic() - start)
    container = buildah("from", "--pull-never", "cloudfree:test")
    yield buildah, container
    for one in buildah("containers", "--quiet").split():
        buildah("rm", one)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_image_runs_each_role_as_nobody_in_particular(image: tuple[Buildah, str]) -> None:
    buildah, container = image

    def run(*words: str) -> str:
        return buildah("run", container, "--", *words)

    assert run("id", "-u") == "10001"
    assert run("sh", "-c", "touch /opt/cloudfree/x /usr/x 2>&1 || true").count("denied") == 2
    assert run("sh", "-c", 'echo "$HOME $TMPDIR"; touch "$HOME/x" "$TMPDIR/x"') == "/work /tmp"
    assert "--aoi" in run("cloudfree", "run", "--help")
    models = run("cloudfree", "models")
    assert {"auto", "baseline", "small"} <= set(models.split())
    code = """
from cloudfree.core.config import KubernetesSettings as K
from cloudfree.cluster.kubernetes import describe_cluster
print([m["kind"] for m in describe_cluster(K(), "cloudfree-x")])
import bokeh, kr8s, prometheus_client, rasterio._io, torch
print(torch.version.cuda)
"""
    printed = run("python", "-c", code).splitlines()
    assert printed == ["['DaskCluster', 'DaskAutoscaler']", "None"]
    assert "cloudfree.cluster.drain" not in run("dask-worker", "--help")
    assert "PORT" in run("dask-scheduler", "--help").upper()
    assert "score" in run("sh", "-c", 'cloudfree demo --out "$HOME/demo"')


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_image_passes_sigterm_on(image: tuple[Buildah, str]) -> None:
    """tini hands it to a scheduler, which says that it closes and ends of itself."""
    buildah, container = image
    script = (
        "tini -- dask scheduler --port 0 --no-dashboard > /tmp/log 2>&1 & pid=$!; "
        "for _ in $(seq 100); do grep -q 'Scheduler at' /tmp/log && break; sleep 0.2; done; "
        "kill -TERM $pid; wait $pid; echo $?; cat /tmp/log"
    )
    said = buildah("run", container, "--", "sh", "-c", script)
    assert "SIGTERM" in said or "signal 15" in said, said


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_no_configuration_of_pip_stays_in_the_image(image: tuple[Buildah, str]) -> None:
    buildah, container = image
    found = buildah("run", container, "--", "sh", "-c", "cat /etc/pip.conf 2>/dev/null; env; true")
    assert "PIP_" not in found and "index-url" not in found and "find-links" not in found
    described = json.loads(buildah("inspect", "--type=image", "cloudfree:test"))
    text = json.dumps(described["OCIv1"])
    assert "index-url" not in text and "PIP_" not in text
    config = described["OCIv1"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["tini", "--"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
