"""A bundle of two tiny GANs with random weights: for tests of everything but quality."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from cloudfree.gan import build_generator, init_weights
from cloudfree.gan.removal import BANDS_OF, CloudRemoval

INPUTS = ("cloudy", "translated", "made")
WIDTH = 4


def write_tiny_gans(
    folder: Path, *, stride_px: int = 192, seed: int = 3, dtype: torch.dtype = torch.float16
) -> Path:
    """Write the bundle; its pictures are red, green, blue."""
    torch.manual_seed(seed)
    gan1 = build_generator("drib", bands_in=1, bands_out=3, width=WIDTH)
    gan2 = build_generator(
        "drib", bands_in=sum(BANDS_OF[name] for name in INPUTS), bands_out=3, width=WIDTH
    )
    for network in (gan1, gan2):
        init_weights(network, std=0.2)
    networks = {
        "sar2opt": gan1,
        "cloud_removal": CloudRemoval(gan2, INPUTS, "regression", residual=True),
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        'name = "tiny"',
        'version = "1"',
        'network = "gan"',
        'bands = ["B04", "B03", "B02"]',
        f"stride_px = {stride_px}",
        "[sar2opt]",
        'generator = "drib"',
        f"width = {WIDTH}",
        "[cloud_removal]",
        'generator = "drib"',
        f"width = {WIDTH}",
        f"inputs = {list(INPUTS)}",
        'fill = "regression"',
        "residual = true",
    ]
    for role, network in networks.items():
        file = folder / f"{role}.safetensors"
        state = network.state_dict()
        kept = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        save_file({name: value.contiguous() for name, value in kept.items()}, file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        lines += [
            "[[weights]]",
            f'role = "{role}"',
            f'file = "{file.name}"',
            f'sha256 = "{digest}"',
        ]
    (folder / "model.toml").write_text("\n".join(lines) + "\n")
    return folder
