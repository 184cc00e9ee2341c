"""A local run killed with -9 again and again gives the product of one that was not."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from cloudfree.synthetic.scenes import write_scenes
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.integration.test_cluster import begun_in, marks, run_command, wait_until

logger = logging.getLogger(__name__)

KILLS = 20
EARLY = 6
"""So many before the first chunk is done: while it starts, looks, measures and checks itself."""
WORKERS = 2


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_20_random_moments(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", seed=7, size_px=3072)
    make(tmp_path / "whole", aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    out, log = tmp_path / "out", tmp_path / "log"
    command = run_command(scenes, out, "--workers", str(WORKERS))
    command.insert(3, "-vv")  # says which chunks begin
    draw, kills, counts = random.Random(11), 0, []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    while True:
        with log.open("a") as stream:
            run = subprocess.Popen(
                command, stdout=stream, stderr=stream, start_new_session=True, env=environment
            )
        if kills == KILLS:
            break
        if kills == EARLY:
            wait_until(lambda: bool(marks(out)), run)
        moment = time.monotonic() + draw.uniform(0.5, 12)
        while time.monotonic() < moment:
            assert run.poll() is None, "it ended before it was killed often enough"
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait(timeout=30)
        kills += 1
        counts.append(len(marks(out)))
    assert run.wait(timeout=600) == 0, log.read_text()[-2000:]
    assert_same_pixels(open_raw(tmp_path / "whole"), open_raw(out))
    redone = len(begun_in(log)) - len(marks(out))
    logger.info("killed at %s of %d chunks; %d redone", counts, len(marks(out)), redone)
    assert counts[EARLY] > 0
    assert 0 <= redone <= WORKERS * KILLS
