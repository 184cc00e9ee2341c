"""What other days cost: bytes read, seconds and memory of whole runs, by cloud and length of list.

    python tests/bench/bench_cost_of_other_days.py --size-px 4096 --cloud 0.2,0.5,0.8 --most 0,2,4,8

A painted place, seen on the day itself and on eight others, four before and four after, each with
radar of its own and as much cloud. Every run is a process of its own, of one worker and without
self-check, model auto. Bytes are what its processes asked files for (Linux, /proc/self/io), less
what a run asks for that reads no scene: programs and libraries. Prints Markdown, a row a run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cloudfree.synthetic.scenes import Pass, SyntheticScenes, write_scenes

DAYS = (-40, -30, -20, -10, 5, 15, 25, 35)
PROGRAM = [sys.executable, "-c", "from cloudfree.cli import entry; entry()"]


def read_bytes() -> int:
    """Return what this process, and those that it has waited for, asked files for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))


def ask(scenes: SyntheticScenes, out: Path, most: int, command: str) -> tuple[dict[str, Any], int]:
    """Return what a command prints as JSON, and how many bytes it read."""
    settings = out.with_suffix(".toml")
    settings.write_text(
        f"[references]\nmost = {max(most, 1)}\ndays = {75 if most else 0}\n"
        "[scenes]\nmin_seen = 0.0\n[engine]\nworkers = 1\n[selfcheck]\nplaces = 0\n"
    )
    words = [command, "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items]
    words += ["--config", settings, "--json", *(["--out", out] if command == "run" else [])]
    before = read_bytes()
    result = subprocess.run(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        timeout=3000,
    )  # fmt: skip
    return json.loads(result.stdout), read_bytes() - before


def main() -> None:
    """Print a row a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-px", type=int, default=4096)
    parser.add_argument("--cloud", default="0.2,0.5,0.8")
    parser.add_argument("--most", default="0,2,4,8")
    options = parser.parse_args()
    print(
        "| cloud | list | MB read | planned at most | s | of these other days | GB at the peak | "
        "projected | made of other days |\n|---|" + "---|" * 8
    )
    for cloud in map(float, options.cloud.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            scenes = write_scenes(
                Path(folder) / "scenes",
                size_px=options.size_px,
                cloud_share=cloud,
                passes=[Pass(days=days, cloud_share=cloud, radar=True) for days in DAYS],
            )
            for most in map(int, options.most.split(",")):
                out = Path(folder) / f"out-{most}"
                _, idle = ask(scenes, out, most, "plan")
                start = time.perf_counter()
                facts, read = ask(scenes, out, most, "run")
                wall = time.perf_counter() - start
                seconds = sum(v for k, v in facts["seconds"].items() if k.startswith("other_days"))
                made = facts["pixels"]["other_days"] + facts["pixels"]["reconstructed"]
                planned = facts["read_bytes"] + facts["other_days_bytes"]
                print(
                    f"| {cloud:.0%} | {most} | {(read - idle) / 1e6:,.0f} | {planned / 1e6:,.0f} | "
                    f"{wall:.0f} | {seconds:.0f} | {facts['peak_memory_bytes'] / 1e9:.2f} | "
                    f"{facts['memory_bytes'] / 1e9:.2f} | "
                    f"{facts['pixels']['other_days'] / max(made, 1):.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
