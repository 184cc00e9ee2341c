"""Patches a second of the training loop, and with ``--peak-tflops`` its share of a device's peak.

    python tests/bench/bench_train.py --width 16 32
    python tests/bench/bench_train.py --width 64 --batch 32 --peak-tflops 989

Every row is one whole step of the paper (discriminator and generator, L1 + SSIM + cGAN) with the
drawing of its batch, on random pairs. "naive" is the same step without what was done for speed:
fp32, channels first, SSIM from torchmetrics.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional.image import structural_similarity_index_measure

from cloudfree.synthetic.clouds import CloudSettings
from cloudfree.train import losses
from cloudfree.train.batches import PatchSource
from cloudfree.train.loop import Trainer
from cloudfree.train.pairs import Pair
from cloudfree.train.settings import (
    GeneratorSettings,
    LossSettings,
    OptimiserSettings,
    TrainSettings,
)

WARM_UP_STEPS = 2


def make_pairs(count: int = 8, side: int = 512) -> list[Pair]:
    """Return random pairs."""
    rng = np.random.default_rng(0)
    layers = rng.uniform(-1, 1, (count, 4, side, side)).astype(np.float16)
    return [
        Pair(
            name=f"pair{index}",
            scene=f"scene{index}",
            kind="sen12",
            radar=layer[:1],
            optical=layer[1:],
            low_dn=np.full(3, 500, np.float32),
            high_dn=np.full(3, 3000, np.float32),
        )
        for index, layer in enumerate(layers)
    ]


def make_trainer(task: str, width: int, batch: int, precision: str, folder: Path) -> Trainer:
    """Return a trainer with the paper's losses."""
    settings = TrainSettings(
        task=task,
        generator=GeneratorSettings(
            width=width, inputs=("cloudy", "radar", "made"), fill="regression", residual=True
        ),
        loss=LossSettings(discriminator_width=width),
        optimiser=OptimiserSettings(batch=batch, precision=precision),
    )
    clouds = CloudSettings() if task == "cloud_removal" else None
    return Trainer(settings, PatchSource(make_pairs(), settings.patches, clouds=clouds), [], folder)


def make_naive(trainer: Trainer) -> None:
    """Undo what was done for speed, but for precision and SSIM."""
    for network in (trainer.generator, trainer.discriminator):
        network.to(memory_format=torch.contiguous_format)


def torchmetrics_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean SSIM of pictures in [0, 1]."""
    return structural_similarity_index_measure(x, y, data_range=1.0)


def time_steps(trainer: Trainer, steps: int) -> float:
    """Return seconds per step."""
    for number in range(WARM_UP_STEPS):
        trainer.train_step(trainer.draw(number))
    began = time.perf_counter()
    for number in range(steps):
        trainer.train_step(trainer.draw(number))
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def count_flop(trainer: Trainer) -> int:
    """Return the floating-point operations of one step's convolutions and products."""
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(trainer.draw(0))
    return counter.get_total_flops()


def main() -> None:
    """Print one row per task, width and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, nargs="+", default=[16])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--peak-tflops", type=float, help="bf16 peak of the device")
    chosen = parser.parse_args()
    print(f"threads {torch.get_num_threads()}, batch {chosen.batch}, 256 px")
    for task in ("sar2opt", "cloud_removal"):
        for width in chosen.width:
            for way in ("naive", "fp32", "auto"):
                precision = "fp32" if way == "naive" else way
                with tempfile.TemporaryDirectory() as folder:
                    trainer = make_trainer(task, width, chosen.batch, precision, Path(folder))
                    if way == "naive":
                        make_naive(trainer)
                        with patch.object(losses, "compute_ssim", torchmetrics_ssim):
                            seconds = time_steps(trainer, chosen.steps)
                    else:
                        seconds = time_steps(trainer, chosen.steps)
                    row = (
                        f"{task:14} width {width:3} {way:6} {chosen.batch / seconds:8.1f} patches/s"
                    )
                    if chosen.peak_tflops:
                        tflops = count_flop(trainer) / seconds / 1e12
                        row += f" {tflops:7.2f} TFLOP/s, {tflops / chosen.peak_tflops:.1%} of peak"
                    print(row, flush=True)


if __name__ == "__main__":
    main()
