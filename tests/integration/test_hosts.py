"""The walk over several hosts, in network namespaces: machines that die, cables that are pulled."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.integration.test_cluster import begun, ended, marks, run_command, wait_until
from tests.servers.certificates import write_certificates
from tests.servers.dask_cluster import DaskCluster, dask_cluster
from tests.servers.hosts import Hosts, hosts

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = ("client", "head", "one", "two", "three")
WORKERS = NAMES[2:]
ENVIRONMENT = {
    "DASK_LOGGING__CLOUDFREE": "debug",
    # a silent host is given up after so long; distributed refuses less than 11 s
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """Scenes of some 50 chunks."""
    return write_scenes(tmp_path_factory.mktemp("wide"), seed=6, size_px=1792)


@pytest.fixture(scope="module")
def undisturbed(wide: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product that everything is compared with, made in one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    make(out, aoi=wide.aoi, date=wide.date, stac=wide.items)
    return out


@pytest.fixture(scope="module")
def network() -> Iterator[Hosts]:
    """A client's host, a scheduler's and three workers'."""
    with hosts(*NAMES) as made:
        yield made


@pytest.fixture
def cluster(network: Hosts, tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler on one host and a worker on each of three others."""
    with dask_cluster(
        tmp_path / "dask",
        workers=0,
        host=network.address("head"),
        prefix=network.on("head"),
        environment=ENVIRONMENT,
    ) as running:
        for name in WORKERS:
            start_worker(running, network, name)
        yield running


def start_worker(cluster: DaskCluster, network: Hosts, name: str) -> None:
    cluster.start_worker(prefix=network.on(name), host=network.address(name))


def start_run(
    network: Hosts, cluster: DaskCluster, scenes: SyntheticScenes, out: Path, *more: str
) -> subprocess.Popen:
    """Start a run on the client's host."""
    command = run_command(scenes, out, "--scheduler", cluster.address, *more)
    return subprocess.Popen(
        [*network.on("client"), *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip


def redone(cluster: DaskCluster, out: Path) -> int:
    """Return how many chunks were begun more than once, counted by their beginnings."""
    return len(begun(cluster.workers)) - len(marks(out))


def report(what: str, cluster: DaskCluster, out: Path, seconds: float) -> None:
    logger.info(
        "%s: %d chunks in %.0f s, %d redone", what, len(marks(out)), seconds, redone(cluster, out)
    )


def test_plain(
    network: Hosts, cluster: DaskCluster, wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    out, start = tmp_path / "out", time.monotonic()
    code, error = ended(start_run(network, cluster, wide, out))
    assert code == 0, error
    assert "not encrypted" in error
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    assert all(begun([worker]) for worker in cluster.workers)
    assert redone(cluster, out) == 0
    report("plain", cluster, out, time.monotonic() - start)


def test_a_worker_is_killed_every_few_seconds(
    network: Hosts, cluster: DaskCluster, wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    out, start, draw = tmp_path / "out", time.monotonic(), random.Random(0)
    over, killed = threading.Event(), 0
    run = start_run(network, cluster, wide, out)
    wait_until(lambda: bool(marks(out)), run)
    alive = dict(zip(WORKERS, cluster.workers, strict=True))

    def kill_now_and_then() -> None:
        nonlocal killed
        while not over.wait(4):
            # one that has ended a chunk: however slow the machine, each life brings the run on
            worked = [name for name in WORKERS if len(begun([alive[name]])) >= 2]
            if worked:
                name = draw.choice(worked)
                alive[name].kill()
                killed += 1
                start_worker(cluster, network, name)
                alive[name] = cluster.workers[-1]

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    try:
        code, error = ended(run)
    finally:
        over.set()
        killer.join()
    assert code == 0, error
    assert killed >= 2
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    assert redone(cluster, out) <= 2 * killed
    report(f"{killed} workers killed", cluster, out, time.monotonic() - start)


def test_a_cable_is_pulled_for_30_s(
    network: Hosts, cluster: DaskCluster, wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    out, start = tmp_path / "out", time.monotonic()
    run = start_run(network, cluster, wide, out)
    wait_until(lambda: len(marks(out)) >= 5, run)
    network.cut("two")
    try:
        time.sleep(30)
    finally:
        network.mend("two")
    code, error = ended(run)
    assert code == 0, error
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    report("cable pulled for 30 s", cluster, out, time.monotonic() - start)


def test_the_scheduler_is_killed_and_restarted(
    network: Hosts, cluster: DaskCluster, wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    out, start = tmp_path / "out", time.monotonic()
    run = start_run(network, cluster, wide, out)
    wait_until(lambda: len(marks(out)) >= 5, run)
    cluster.scheduler.kill()
    code, error = ended(run)
    assert code == 1, error
    assert "Go on with: cloudfree run" in error.splitlines()[-1]
    before = len(marks(out))
    cluster.start_scheduler()
    for name in WORKERS:
        start_worker(cluster, network, name)
    code, error = ended(start_run(network, cluster, wide, out))
    assert code == 0, error
    assert before < len(marks(out))
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    report("scheduler killed", cluster, out, time.monotonic() - start)


def test_over_tls_a_plain_client_is_refused(
    network: Hosts, wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    write_certificates(tmp_path)
    ca, cert, key = (str(tmp_path / name) for name in ("ca.crt", "tls.crt", "tls.key"))
    out, start = tmp_path / "out", time.monotonic()
    with dask_cluster(
        tmp_path / "dask",
        workers=0,
        host=network.address("head"),
        protocol="tls",
        prefix=network.on("head"),
        environment=ENVIRONMENT,
        tls=("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key),
    ) as cluster:
        for name in WORKERS:
            start_worker(cluster, network, name)
        plain = cluster.address.replace("tls", "tcp")
        command = run_command(wide, out, "--scheduler", plain)
        refused = subprocess.run(
            [*network.on("client"), *command],
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert refused.returncode == 2
        assert "TLS" in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr
        assert not out.exists()
        files = ("--tls-ca", ca, "--tls-cert", cert, "--tls-key", key)
        code, error = ended(start_run(network, cluster, wide, out, *files))
        assert code == 0, error
        assert "not encrypted" not in error
        assert_same_pixels(open_raw(undisturbed), open_raw(out))
        report("TLS", cluster, out, time.monotonic() - start)
