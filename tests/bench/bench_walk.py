"""Time the walk on synthetic scenes: wall seconds, pixels per second, peak and projected memory.

python tests/bench/bench_walk.py [--size-px 3072] [--chunks 512,1024,2048] [--workers 1,2]
Every run is a process of its own, from start to finished product. Prints one line a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes


def run_once(scenes: SyntheticScenes, out: Path, chunk_px: int, workers: int) -> str:
    """Run the command line once; return a line of figures."""
    command = [
        sys.executable, "-c", "from cloudfree.cli import entry; entry()", "run",
        "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items, "--out", out,
        "--chunk-px", str(chunk_px), "--workers", str(workers), "--json",
    ]  # fmt: skip
    start = time.perf_counter()
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=900
    )
    wall = time.perf_counter() - start
    facts = json.loads(result.stdout)
    pixels = facts["shape"][0] * facts["shape"][1] / 1e6
    rows = sorted(facts["seconds"].items(), key=lambda row: -row[1])
    return (
        f"chunk {chunk_px:5d} px  workers {workers}  wall {wall:6.1f} s  "
        f"restore {pixels / facts['wall_seconds']['chunks']:5.2f} Mpx/s  "
        f"peak {facts['peak_memory_bytes'] / 1e9:4.2f} GB a process, "
        f"projected {facts['memory_bytes'] / 1e9:4.2f} GB  "
        + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in rows[:6])
    )


def main() -> None:
    """Print one line a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-px", type=int, default=3072)
    parser.add_argument("--chunks", default="512,1024,2048")
    parser.add_argument("--workers", default="1,2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scenes = write_scenes(Path(folder) / "scenes", seed=0, size_px=options.size_px)
        for workers in map(int, options.workers.split(",")):
            for chunk_px in map(int, options.chunks.split(",")):
                out = Path(folder) / f"out-{chunk_px}-{workers}"
                print(run_once(scenes, out, chunk_px, workers), flush=True)


if __name__ == "__main__":
    main()
