"""Patches a second of the training loop, and with ``--peak-tflops`` its share of a device's peak.

    python tests/bench/bench_train.py --width 16 32
    python tests/bench/bench_train.py --width 64 --batch 32 --readers 12 --steps 60 --peak

Every row is one whole step of the paper (discriminator and generator, L1 + SSIM + cGAN) with the
drawing of its batch (by ``--readers`` processes ahead of it, if any), on random pairs. "naive" is
the same step without what was done for speed: fp32, channels first, SSIM from torchmetrics.
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


def make_trainer(
    task: str, width: int, batch: int, precision: str, folder: Path, readers: int
) -> Trainer:
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
    source = PatchSource(make_pairs(), settings.patches, clouds=clouds)
    return Trainer(settings, source, [], folder, readers=readers)


def make_naive(trainer: Trainer) -> None:
    """Undo what was done for speed, but for precision and SSIM."""
    for network in (trainer.generator, trainer.discriminator):
        network.to(memory_format=torch.contiguous_format)


def torchmetrics_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean SSIM of pictures in [0, 1]."""
    return structural_similarity_index_measure(x, y, data_range=1.0)


def time_steps(trainer: Trainer, steps: int) -> float:
    """Return seconds per step."""
    began = time.perf_counter()
    for number, batch in enumerate(trainer.draw_ahead(WARM_UP_STEPS + steps)):
        if number == WARM_UP_STEPS:
            _synchronize()
            began = time.perf_counter()
        trainer.train_step(batch)
    _synchronize()
    return (time.perf_counter() - began) / steps


def measure_peak(side: int = 8192, repeats: int = 10) -> float:
    """Return the TFLOP/s of a bf16 product of two large random matrices on the GPU."""
    one, other = torch.randn(2, side, side, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        one @ other
    _synchronize()
    began = time.perf_counter()
    for _ in range(repeats):
        one @ other
    _synchronize()
    return 2 * side**3 * repeats / (time.perf_counter() - began) / 1e12


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
    parser.add_argument("--readers", type=int, default=0, help="processes that draw batches")
    parser.add_argument("--peak", action="store_true", help="show the share of the GPU's bf16 peak")
    chosen = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # as trainings have it
    peak = measure_peak() if chosen.peak else 0.0
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, threads {torch.get_num_threads()}, batch {chosen.batch}, 256 px, "
          f"bf16 peak {peak:.0f} TFLOP/s")  # fmt: skip
    for task in ("sar2opt", "cloud_removal"):
        for width in chosen.width:
            for way in ("naive", "fp32", "auto"):
                precision = "fp32" if way == "naive" else way
                with tempfile.TemporaryDirectory() as folder:
                    trainer = make_trainer(
                        task, width, chosen.batch, precision, Path(folder), chosen.readers
                    )
                    if way == "naive":
                        make_naive(trainer)
                        with patch.object(losses, "compute_ssim", torchmetrics_ssim):
                            seconds = time_steps(trainer, chosen.steps)
                    else:
                        seconds = time_steps(trainer, chosen.steps)
                    row = (
                        f"{task:14} width {width:3} {way:6} {chosen.batch / seconds:8.1f} patches/s"
                    )
                    if peak:
                        tflops = count_flop(trainer) / seconds / 1e12
                        row += f" {tflops:7.2f} TFLOP/s, {tflops / peak:.1%} of peak"
                    print(row, flush=True)


if __name__ == "__main__":
    main()
