"""A bundle of two tiny GANs with random weights: for tests of everything but quality."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from cloudfree.core.bands import RGB
from cloudfree.core.contract import Channels
from cloudfree.gan import build_generator, init_weights
from cloudfree.gan.fill import RemovalFill
from cloudfree.gan.removal import CloudRemoval, count_inputs

INPUTS = ("cloudy", "translated", "made")
OF_OTHER_DAYS = ("cloudy", "reference", "reference_seen", "reference_error", "made")
WIDTH = 4
COLOUR = Channels(bands=RGB)


def write_tiny_gans(
    folder: Path,
    *,
    channels: Channels = COLOUR,
    inputs: tuple[str, ...] = INPUTS,
    fill: RemovalFill = "regression",
    stride_px: int = 192,
    seed: int = 3,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write the bundle; its pictures are red, green, blue unless other channels are given."""
    torch.manual_seed(seed)
    gan1, gan2 = (
        build_generator(
            "drib",
            bands_in=count_inputs(kinds, channels),
            bands_out=len(channels.bands),
            width=WIDTH,
        )
        for kinds in (("radar",), inputs)
    )
    for network in (gan1, gan2):
        init_weights(network, std=0.2)
    networks = {
        "sar2opt": gan1,
        "cloud_removal": CloudRemoval(gan2, inputs, fill, residual=True),
    }
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        'name = "tiny"',
        'version = "1"',
        'network = "gan"',
        f"bands = {list(channels.bands)}",
        f"polarizations = {list(channels.polarizations)}",
        f"all_polarizations = {str(channels.all_polarizations).lower()}",
        f"stride_px = {stride_px}",
        "[sar2opt]",
        'generator = "drib"',
        f"width = {WIDTH}",
        "[cloud_removal]",
        'generator = "drib"',
        f"width = {WIDTH}",
        f"inputs = {list(inputs)}",
        f'fill = "{fill}"',
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
