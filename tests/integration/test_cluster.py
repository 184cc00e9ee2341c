"""The walk on Dask clusters of real processes: what dies, and when, does not change the product."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr
from distributed import Client, LocalCluster, Worker, wait
from distributed.comm import Comm
from distributed.core import Status

from cloudfree import cluster
from cloudfree.cluster import dispatch, shared
from cloudfree.core.errors import ClusterError
from cloudfree.restoration.bundle import Bundle
from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests.gans import write_tiny_gans
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.servers.dask_cluster import DaskCluster, Process, dask_cluster

CHUNK_PX = 256
_PATIENCE_S = 240  # of a busy machine; what takes so long hangs
LOGGED = {"DASK_LOGGING__CLOUDFREE": "debug"}
"""Workers say in their logs which chunks they begin."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """Scenes that take a while: some 30 chunks."""
    return write_scenes(tmp_path_factory.mktemp("wide"), seed=5, size_px=1280)


@pytest.fixture(scope="module")
def undisturbed(wide: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product that everything is compared with, made in one process."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    make(out, aoi=wide.aoi, date=wide.date, stac=wide.items)
    return out


@pytest.fixture
def two(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler and two workers."""
    with dask_cluster(tmp_path / "dask", environment=LOGGED) as running:
        yield running


def run_command(scenes: SyntheticScenes, out: Path, *more: str) -> list[str]:
    """Return the command line of a run over a cluster."""
    return [
        sys.executable, "-c", "from cloudfree.cli import entry; entry()",
        "run", "--aoi", str(scenes.aoi), "--date", scenes.date, "--stac", str(scenes.items),
        "--no-check",
        "--model", "baseline", "--chunk-px", str(CHUNK_PX), "--out", str(out), *more,
    ]  # fmt: skip


def start_run(scenes: SyntheticScenes, out: Path, *more: str) -> subprocess.Popen:
    """Start a run in a process of its own."""
    return subprocess.Popen(
        run_command(scenes, out, *more),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def marks(out: Path) -> set[str]:
    """Return the names of the finished chunks."""
    return {mark.stem for mark in (out / "ledger" / "marks").glob("*.json")}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Wait for a condition; a process that has ended meanwhile is a failure."""
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def begun(workers: list[Process]) -> list[str]:
    """Return the chunks that workers began, from their logs."""
    return [name for worker in workers for name in begun_in(worker.log)]


def begun_in(log: Path) -> list[str]:
    """Return the chunks that a log says were begun."""
    return re.findall(r"chunk (\S+) begins", log.read_text())


def core_pixels(name: str, cube: xr.Dataset) -> int:
    """Return how many pixels a chunk writes."""
    row, col = (int(part[1:]) for part in name.split("-")[1:])
    height, width = cube.source.shape[1:]
    return min(CHUNK_PX, height - row * CHUNK_PX) * min(CHUNK_PX, width - col * CHUNK_PX)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Return the exit code and stderr of a run."""
    _, error = process.communicate(timeout=_PATIENCE_S)
    return process.returncode, error


def metrics(client: Client) -> dict[str, dict[str, float]]:
    """Return the project's figures on the /metrics of each worker, by the worker's name."""
    found = {}
    for worker in client.scheduler_info()["workers"].values():
        address = f"http://127.0.0.1:{worker['services']['dashboard']}/metrics"
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("cloudfree_"))
        found[worker["name"]] = {name: float(value) for name, value in pairs}
    return found


def test_a_cluster_gives_the_same_product_and_says_what_it_did(
    scenes: SyntheticScenes, two: DaskCluster, tmp_path: Path
) -> None:
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    code, error = ended(start_run(scenes, out, "--scheduler", two.address))
    assert code == 0, error
    make(undisturbed, aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    chunks = begun(two.workers)
    assert sorted(chunks) == sorted(marks(out))
    assert all(begun([worker]) for worker in two.workers)
    with Client(two.address, set_as_default=False) as client:
        counted = metrics(client)
    assert sum(one['cloudfree_chunks_total{outcome="done"}'] for one in counted.values()) == len(
        chunks
    )
    assert sum(one["cloudfree_pixels_total"] for one in counted.values()) == sum(
        core_pixels(name, open_raw(out)) for name in chunks
    )
    assert sum(one["cloudfree_device_busy_seconds_total"] for one in counted.values()) > 0


@pytest.mark.slow
def test_workers_with_an_accelerator_restore_what_others_read_and_write(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    gans = write_tiny_gans(tmp_path / "gans")
    facts = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items, "model": str(gans)}
    make(tmp_path / "alone", **facts)
    with dask_cluster(tmp_path / "dask", workers=0, environment=LOGGED) as running:
        restorer = running.start_worker("--resources", "GPU=1", "--name", "restorer")
        reader = running.start_worker("--name", "reader")
        engine = {"scheduler": running.address, "gpu": "require"}
        with Client(running.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            make(tmp_path / "out", chunk_px=CHUNK_PX, engine=engine, **facts)
            counted = metrics(client)
    assert_same_pixels(open_raw(tmp_path / "alone"), open_raw(tmp_path / "out"))
    assert begun([restorer]) == []
    assert sorted(begun([reader])) == sorted(marks(tmp_path / "out"))
    busy = {name: one["cloudfree_device_busy_seconds_total"] for name, one in counted.items()}
    assert busy["restorer"] > 0 == busy["reader"]
    assert "finds no CUDA device" in restorer.log.read_text()
    assert "finds no CUDA device" not in reader.log.read_text()


def test_an_accelerator_that_nobody_has_is_found_before_anything_is_written(
    wide: SyntheticScenes, two: DaskCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, error = ended(start_run(wide, out, "--scheduler", two.address, "--gpu", "require"))
    assert code == 2
    assert "workers has the Dask resource GPU" in error.splitlines()[-1]
    assert not out.exists()


@pytest.mark.slow
def test_a_run_goes_on_without_accelerators_that_have_left(
    scenes: SyntheticScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_GPU_PATIENCE_S", 3.0)
    facts = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items}
    make(tmp_path / "alone", **facts)
    out = tmp_path / "out"
    with dask_cluster(tmp_path / "dask", workers=1) as running:
        restorer = running.start_worker("--resources", "GPU=1")
        with Client(running.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

        def kill_after_first() -> None:
            wait_until(lambda: bool(marks(out)))
            restorer.kill()

        killer = threading.Thread(target=kill_after_first)
        killer.start()
        outcome = make(out, chunk_px=CHUNK_PX, engine={"scheduler": running.address}, **facts)
        killer.join()
    assert not outcome.failed
    assert_same_pixels(open_raw(tmp_path / "alone"), open_raw(out))


@pytest.mark.slow
def test_workers_that_are_killed_and_replaced_lose_nothing(
    wide: SyntheticScenes, undisturbed: Path, two: DaskCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start_run(wide, out, "--scheduler", two.address)
    killed = 0
    for round_ in range(1, 5):
        wait_until(lambda least=4 * round_: len(marks(out)) >= least or run.poll() is not None)
        if run.poll() is not None:
            break
        two.workers[killed].kill()
        killed += 1
        two.start_worker()
    code, error = ended(run)
    assert code == 0, error
    assert killed >= 2
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    redone = len(begun(two.workers)) - len(marks(out))
    assert 0 <= redone <= 2 * killed + 1


@pytest.mark.slow
def test_a_worker_told_to_end_finishes_its_chunk_and_gives_back_the_rest(
    wide: SyntheticScenes, undisturbed: Path, two: DaskCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start_run(wide, out, "--scheduler", two.address)
    wait_until(lambda: len(marks(out)) >= 3, run)
    leaving = two.workers[0]
    leaving.terminate()
    leaving.popen.wait(timeout=60)
    code, error = ended(run)
    assert code == 0, error
    assert_same_pixels(open_raw(undisturbed), open_raw(out))
    assert sorted(begun(two.workers)) == sorted(marks(out))  # each begun once: none thrown away


@pytest.mark.slow
def test_a_client_told_to_end_finishes_what_is_in_flight_and_goes_on_later(
    wide: SyntheticScenes, undisturbed: Path, two: DaskCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start_run(wide, out, "--scheduler", two.address)
    wait_until(lambda: len(marks(out)) >= 3, run)
    run.terminate()
    code, error = ended(run)
    assert code == 130
    assert "told to stop" in error
    assert "Go on with: cloudfree run" in error
    assert sorted(begun(two.workers)) == sorted(marks(out))
    before = marks(out)
    code, error = ended(start_run(wide, out, "--scheduler", two.address))
    assert code == 0, error
    assert before < marks(out)
    assert sorted(begun(two.workers)) == sorted(marks(out))
    assert_same_pixels(open_raw(undisturbed), open_raw(out))


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_run_in_one_line_and_it_goes_on_with_another(
    wide: SyntheticScenes, undisturbed: Path, two: DaskCluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = start_run(wide, out, "--scheduler", two.address)
    wait_until(lambda: len(marks(out)) >= 3, run)
    two.scheduler.kill()
    code, error = ended(run)
    assert code == 1, error
    assert "Traceback" not in error
    assert "is gone" in error.splitlines()[-1]
    assert "Go on with: cloudfree run" in error.splitlines()[-1]
    two.start_scheduler()
    two.start_worker()
    two.start_worker()  # the first two ended with their scheduler
    code, error = ended(start_run(wide, out, "--scheduler", two.address))
    assert code == 0, error
    assert_same_pixels(open_raw(undisturbed), open_raw(out))


@pytest.mark.slow
def test_adaptive_scaling_loses_nothing(
    wide: SyntheticScenes, undisturbed: Path, tmp_path: Path
) -> None:
    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=None, memory_limit=0
    ) as scaled:
        scaled.adapt(minimum=0, maximum=2, interval="200ms", wait_count=1, target_duration="1s")
        out = tmp_path / "out"
        outcome = make(
            out, aoi=wide.aoi, date=wide.date, stac=wide.items, chunk_px=CHUNK_PX,
            engine={"scheduler": scaled.scheduler_address},
        )  # fmt: skip
    assert not outcome.failed
    assert_same_pixels(open_raw(undisturbed), open_raw(out))


def test_a_worker_that_leaves_at_the_end_takes_no_run_with_it() -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        with shared.share(client, "facts", 7):
            left = next(iter(client.scheduler_info()["workers"]))
            client.run(_break_off, "plugin-remove", workers=[left])
            assert client.submit(shared.read_shared, "facts").result() == 7
        held = client.run(lambda dask_worker: "facts" in dask_worker.plugins)
    assert [has for address, has in held.items() if address != left] == [False]


def test_a_result_that_went_with_the_scheduler_says_so() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        future = client.submit(lambda: 7)
        wait(future)
        local.scheduler.handlers["gather"] = _hang_up
        assert client.status == "running"  # as it is until Dask has noticed
        with pytest.raises(ClusterError, match="is gone"):
            cluster.read_result(client, future)


def _break_off(op: str, dask_worker: Worker) -> None:
    """Make a worker hang up instead of answering, as one that is killed does."""
    dask_worker.handlers[op] = _hang_up


async def _hang_up(comm: Comm, **_: object) -> Status:
    comm.abort()
    return Status.dont_reply


@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_alone(tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path / "dask", workers=2) as running,
        Client(running.address, set_as_default=False) as client,
    ):
        results = {
            job: future.exception()
            for job, future in cluster.run_jobs(
                client,
                iter(range(6)),
                lambda job, _: client.submit(_die_at_3, job, pure=False),
                stop=threading.Event(),
            )
        }
    assert sorted(results) == list(range(6))
    assert {job for job, error in results.items() if error is not None} == {3}
    assert type(results[3]).__name__ == "KilledWorker"


def _die_at_3(job: int) -> None:
    time.sleep(0.05)
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def test_no_more_jobs_are_in_flight_than_there_is_room_for(tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path / "dask", workers=2) as running,
        Client(running.address, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        given = ended_ = most = 0

        def submit(job: int, workers: cluster.Workers) -> object:
            nonlocal given, most
            given += 1
            most = max(most, given - ended_)
            return client.submit(lambda i: i, job, pure=False)

        for _ in cluster.run_jobs(client, iter(range(40)), submit, stop=threading.Event()):
            ended_ += 1
    assert ended_ == 40
    assert most == 4


def test_jobs_of_a_lost_scheduler_are_not_taken_for_failures(tmp_path: Path) -> None:
    with (
        dask_cluster(tmp_path / "dask", workers=1) as running,
        Client(running.address, set_as_default=False) as client,
    ):
        jobs = cluster.run_jobs(
            client,
            iter(range(1000)),
            lambda job, _: client.submit(time.sleep, 0.1, pure=False),
            stop=threading.Event(),
        )
        next(jobs)
        running.scheduler.kill()
        with pytest.raises(ClusterError, match="is gone"):
            for _ in jobs:
                pass


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_accelerators_of_this_machine_restore_what_others_read(
    scenes: SyntheticScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    gans = write_tiny_gans(tmp_path / "gans")
    facts = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items, "model": str(gans)}
    make(tmp_path / "alone", **facts)
    # as if there were one; its worker finds none and uses the CPU
    monkeypatch.setattr(Bundle, "count_accelerators", lambda _: 1)
    engine = {"gpu": "require"}
    outcome = make(tmp_path / "out", chunk_px=CHUNK_PX, workers=workers, engine=engine, **facts)
    assert not outcome.failed
    assert_same_pixels(open_raw(tmp_path / "alone"), open_raw(tmp_path / "out"))


@pytest.mark.slow
def test_a_run_in_which_everything_fails_gives_up(
    wide: SyntheticScenes, tmp_path: Path, two: DaskCluster
) -> None:
    out = tmp_path / "out"
    run = start_run(wide, out, "--scheduler", two.address, "--max-failed", "3")
    wait_until(lambda: len(marks(out)) >= 2, run)
    band = wide.items.parent / "B02.tif"
    hidden = band.rename(band.with_suffix(".hidden"))
    code, error = ended(run)
    hidden.rename(band)
    assert code == 1, error
    failed = re.findall(r"chunk (\S+) failed", error.splitlines()[-1]) or re.findall(
        r"^cloudfree: chunk (\S+) failed: (.*)$", error, re.MULTILINE
    )
    assert 3 < len(failed) <= 8
    assert "Resume with: cloudfree run" in error.splitlines()[-1]
    code, error = ended(start_run(wide, out, "--scheduler", two.address))
    assert code == 0, error
