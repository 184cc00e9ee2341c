"""How many chunk jobs a second, and whether memory grows with their number.

    python tests/bench/bench_engine.py [--jobs 1000 10000 100000]

Everything of a run but the pixels: a scheduler and two workers in processes of their own, a grid's
chunks as jobs through ``run_jobs``, a record and a mark for each, the ledger's sums; restoration
does nothing. Prints a line per number of jobs: jobs a second, and the largest resident size of
client, scheduler and workers.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import shapely
from affine import Affine
from distributed import Client
from odc.geo.geobox import GeoBox

from cloudfree.cluster import read_shared, run_jobs, share
from cloudfree.core.timing import peak_memory_bytes
from cloudfree.engine.jobs import ChunkJob
from cloudfree.geometry.grid import GridPlan
from cloudfree.storage.ledger import Ledger, Totals
from cloudfree.storage.outputs import Storage, open_storage
from cloudfree.walk.run_facts import ChunkRecord
from tests.servers.dask_cluster import Process, dask_cluster

CHUNK_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        address, folder, jobs = options.client
        run_client(address, open_storage(folder), int(jobs))
        return
    print("jobs      jobs/s   client MB   scheduler MB   workers MB")
    for jobs in options.jobs:
        measure(jobs)


def measure(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as folder, dask_cluster(Path(folder) / "dask") as cluster:
        client = subprocess.run(
            [sys.executable, __file__, "--client", cluster.address, f"{folder}/out", str(jobs)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        facts = json.loads(client.stdout)
        assert facts["done"] == jobs
        workers = [f"{peak_mb(worker):.0f}" for worker in cluster.workers]
        print(
            f"{jobs:<9} {jobs / facts['seconds']:>6.0f}   {facts['peak_mb']:>9.0f}   "
            f"{peak_mb(cluster.scheduler):>12.0f}   {', '.join(workers)}",
            flush=True,
        )


def peak_mb(process: Process) -> float:
    """Return the largest resident size of a process or of one that it started."""
    parent = psutil.Process(process.popen.pid)
    return max(_peak_mb(one.pid) for one in (parent, *parent.children(recursive=True)))


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def run_client(address: str, storage: Storage, jobs: int) -> None:
    """Do so many chunks, and print how long it took."""
    side = math.ceil(math.sqrt(jobs))
    height, width = math.ceil(jobs / side) * CHUNK_PX, side * CHUNK_PX
    geobox = GeoBox((height, width), Affine(10, 0, 600_000, 0, -10, 5_400_000), "EPSG:32632")
    plan = GridPlan(
        geobox=geobox,
        area=shapely.box(*geobox.boundingbox.bbox),
        chunk_px=CHUNK_PX,
        halo_px=0,
    )
    totals = Totals()
    chunks = (ChunkJob(step=0, chunk=chunk) for chunk in plan.chunks())
    limited = (job for _, job in zip(range(jobs), chunks, strict=False))
    with Client(address, set_as_default=False) as client, share(client, "bench", storage):
        client.wait_for_workers(2)
        start = time.perf_counter()
        ended = run_jobs(
            client,
            limited,
            lambda job, _: client.submit(do_nothing, "bench", job, pure=False),
            stop=threading.Event(),
        )
        for _, future in ended:
            totals.add(asdict(future.result()))
        seconds = time.perf_counter() - start
    facts = {"seconds": seconds, "peak_mb": peak_memory_bytes() / 1e6, "done": totals.chunks}
    print(json.dumps(facts))


def do_nothing(name: str, job: ChunkJob) -> ChunkRecord:
    """Mark a chunk as a run does."""
    record = ChunkRecord(
        key="bench", seen=job.chunk.pixels, reconstructed=0, not_restored=0, limited=0, windows=0,
        windows_skipped=0, retries={}, seconds={"cube.load": 0.0}, peak_memory_bytes=0,
    )  # fmt: skip
    Ledger(storage=read_shared(name)).mark(job.name, asdict(record))
    return record


if __name__ == "__main__":
    main()
