"""``cloudfree train SETTINGS.toml --data DIR… --out DIR``: train, or go on training.

``python -m cloudfree.train`` is the same where there is no geospatial library and no click.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.fabric import Fabric

from cloudfree.core.errors import RequestError
from cloudfree.core.tables import build, merge, read_toml
from cloudfree.train.prepare import prepare, write_baselines
from cloudfree.train.settings import TrainSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="cloudfree train",
        description="Train one of the two GANs, or go on where a training was stopped.",
        epilog="examples:\n"
        "  cloudfree train pipelines/train_sar2opt.toml --data sen12 s1s2-1024\n"
        "  cloudfree train pipelines/train_cloud_removal.toml --data pairs --out runs/mine \\\n"
        "    --translator runs/sar2opt/best.safetensors",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("settings", type=Path, help="TOML of the training")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders that hold train and val; packs"
    )
    parser.add_argument("--out", type=Path, help="folder of the training; goes on from there")
    parser.add_argument("--clouds", type=Path, help="real cloudy/clear pairs, or a pack of them")
    parser.add_argument("--translator", type=Path, nargs="*", default=[], help="GAN1 weights")
    parser.add_argument("--start", type=Path, help="weights that a new training begins with")
    parser.add_argument("--folds", type=int, help="split the scenes into so many folds")
    parser.add_argument("--without-fold", type=int, help="leave out this one of them, from 0")
    parser.add_argument("--steps", type=int, help="instead of those of the settings")
    parser.add_argument(
        "--devices", type=int, default=1, help="GPUs, or processes on a CPU, that share a batch"
    )
    parser.add_argument(
        "--readers", type=int, default=0, help="processes that draw batches ahead, for a GPU"
    )
    parser.add_argument("--minutes", type=float, help="stop then; the same command goes on")
    parser.add_argument("--threads", type=int, help="of the processor, for torch")
    parser.add_argument("-q", "--quiet", action="store_true", help="log errors only")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    try:
        tables = merge(
            read_toml(chosen.settings),
            {
                "optimiser": {"steps": chosen.steps},
                "folds": {"count": chosen.folds, "without": chosen.without_fold},
            },
        )
        settings = build(TrainSettings, tables, str(chosen.settings))
        out = chosen.out or Path("runs") / chosen.settings.stem
        out.mkdir(parents=True, exist_ok=True)
        fabric = Fabric(accelerator="auto", devices=chosen.devices)
        fabric.launch()
        torch.backends.cudnn.benchmark = True  # the shapes of a training never change
        if fabric.is_global_zero:
            level = logging.ERROR if chosen.quiet else logging.INFO
            logging.getLogger("cloudfree").setLevel(level)
            (out / "PID").write_text(str(os.getpid()), encoding="utf-8")
        trainer = prepare(
            settings,
            chosen.data,
            out,
            clouds=chosen.clouds,
            translators=chosen.translator,
            start=chosen.start,
            fabric=fabric,
            readers=chosen.readers,
        )
        write_baselines(trainer)
        trainer.run(minutes=chosen.minutes)
    except RequestError as error:
        sys.stderr.write(f"cloudfree: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
