"""Mpx/s through GAN1 and GAN2 as a run calls them, on the CPU and, where there is one, on CUDA.

    python tests/bench/bench_networks.py --width 16,24 64,64

Widths are of GAN1 and GAN2, weights random. A window has 65536 px; a run's windows overlap by
half, so that it computes each made pixel four times. On CUDA the answers are compared with the
CPU's (a few windows), and tf32 and bf16 stand beside the fp32 that a run uses.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext

import numpy as np
import torch

from cloudfree.core.bands import RGB
from cloudfree.core.contract import Contract, GeneratorContract, RemovalContract
from cloudfree.core.types import Masks
from cloudfree.gan import TwoGans, build_gans, build_generator
from cloudfree.gan.layers import init_weights
from cloudfree.gan.removal import count_inputs

INPUTS = ("cloudy", "observed", "translated", "radar", "made")
SIDE = 256


def make_model(width1: int, width2: int) -> TwoGans:
    """Return two GANs of these widths with random weights, on the CPU."""
    contract = Contract(
        name="bench",
        version="1",
        network="gan",
        bands=RGB,
        sar2opt=GeneratorContract(generator="drib", width=width1),
        cloud_removal=RemovalContract(
            generator="drib", width=width2, inputs=INPUTS, fill="regression", residual=True
        ),
    )
    torch.manual_seed(0)
    gan1 = build_generator("drib", bands_in=1, bands_out=3, width=width1)
    gan2 = build_generator(
        "drib", bands_in=count_inputs(INPUTS, contract), bands_out=3, width=width2
    )
    for network in (gan1, gan2):
        init_weights(network)
    removal = {f"generator.{name}": value for name, value in gan2.state_dict().items()}
    return build_gans(contract, {"sar2opt": gan1.state_dict(), "cloud_removal": removal})


def make_windows(count: int) -> tuple[np.ndarray, np.ndarray, Masks]:
    """Return random pictures, radar and masks of which a third is hidden."""
    rng = np.random.default_rng(count)
    made = np.zeros((count, SIDE, SIDE), bool)
    made[:, 40:200, 60:200] = True
    optical = rng.uniform(-1, 1, (count, 3, SIDE, SIDE)).astype(np.float32)
    radar = rng.uniform(-1, 1, (count, 1, SIDE, SIDE)).astype(np.float32)
    return optical, radar, Masks(seen=~made, made=made)


def time_model(model: TwoGans, count: int, repeats: int) -> float:
    """Return the median of Mpx/s over some calls with ``count`` windows, copies included."""
    optical, radar, masks = make_windows(count)
    model(optical, radar, masks)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        model(optical, radar, masks)
        seconds.append(time.perf_counter() - began)
    return count * SIDE**2 / 1e6 / float(np.median(seconds))


def compare(one: np.ndarray, other: np.ndarray) -> str:
    """Return how far apart two answers are."""
    difference = np.abs(one - other)
    relative = np.linalg.norm(one - other) / np.linalg.norm(other)
    return f"from the CPU: {relative:.1e} relative, {difference.max():.1e} at most"


def show_cuda(model: TwoGans, on_cpu: np.ndarray, few: tuple, count: int, name: str) -> None:
    """Print a row for each precision on CUDA."""
    on_device = model.on_accelerator()
    for way in ("fp32", "tf32", "bf16"):
        torch.backends.cudnn.allow_tf32 = way == "tf32"
        context = torch.autocast("cuda", torch.bfloat16) if way == "bf16" else nullcontext()
        with context:
            answer = on_device(*few)
            speed = time_model(on_device, count, 7)
        print(f"{name} {torch.cuda.get_device_name()} {way} {speed:9.2f} Mpx/s  "
              f"{compare(answer, on_cpu)}", flush=True)  # fmt: skip
    torch.backends.cudnn.allow_tf32 = False


def main() -> None:
    """Print one row per pair of widths, device and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", nargs="+", default=["16,24"])
    parser.add_argument("--windows", type=int, default=256, help="of a call on CUDA")
    chosen = parser.parse_args()
    for widths in chosen.width:
        width1, width2 = (int(width) for width in widths.split(","))
        model, few = make_model(width1, width2), make_windows(4)
        on_cpu = model(*few)
        name = f"widths {width1:2} {width2:2}"
        speed = time_model(model, 2 * model.threads, 3)
        print(f"{name} CPU, {model.threads} threads {speed:9.2f} Mpx/s", flush=True)
        if torch.cuda.is_available():
            show_cuda(model, on_cpu, few, chosen.windows, name)


if __name__ == "__main__":
    main()
