"""One worker against two, of one thread each, on this machine.

    python tests/bench/bench_workers.py [--model small] [--size-px 1536] [--rounds 3]

Alternates between clusters of one and of two worker processes and prints the fastest round of each:
seconds from the first chunk to the last, and what two gain. Other work on the machine shows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from distributed import Client

from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests.servers.dask_cluster import dask_cluster

ROOT = Path(__file__).resolve().parents[2]
CHUNK_PX = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--size-px", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        scenes = write_scenes(Path(folder) / "scenes", seed=8, size_px=options.size_px)
        for round_ in range(options.rounds):
            for workers, measured in seconds.items():
                place = Path(folder) / f"{round_}-{workers}"
                measured.append(measure(scenes, place, workers, options.model))
    one, two = min(seconds[1]), min(seconds[2])
    print(f"all rounds: {seconds}")
    print(f"one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast")


def measure(scenes: SyntheticScenes, folder: Path, workers: int, model: str) -> float:
    """Return the seconds of the chunks of a run."""
    with dask_cluster(folder / "dask", workers=workers) as cluster:
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
        subprocess.run(
            [
                sys.executable, "-c", "from cloudfree.cli import entry; entry()", "run",
                "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
                "--model", model, "--chunk-px", str(CHUNK_PX), "--out", folder / "out",
                "--scheduler", cluster.address,
            ],
            check=True, capture_output=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    facts = json.loads((folder / "out" / "run.json").read_text())
    return float(facts["wall_seconds"]["chunks"])


if __name__ == "__main__":
    main()
