"""From trainings to a bundle: half-precision weights, and the contract that describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from cloudfree.core.errors import BundleError, SettingsError
from cloudfree.core.tables import build
from cloudfree.train.prepare import BARS
from cloudfree.train.settings import GeneratorSettings, TrainSettings

STRIDE_PX = 128
"""Windows overlap by half: under thick cloud neighbours guess differently; with less overlap the
change from one to the next shows as a soft edge."""
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def ship(
    folder: Path,
    *,
    name: str,
    version: str,
    cloud_removal: Path,
    sar2opt: Path | None,
    levels: Sequence[str] = (),
    radar_kinds: Sequence[str] = (),
) -> None:
    """Write the bundle of one or two trainings (their ``best.safetensors``) to ``folder``.

    Weights become half precision; statistics of normalisation stay as they are. ``levels`` and
    ``radar_kinds`` say what the pairs were, for the warning that scenes are something else.
    Raises BundleError where a file is not of the training that its role needs.
    """
    lines = [
        f'name = "{name}"',
        f'version = "{version}"',
        'network = "gan"',
        f"stride_px = {STRIDE_PX}",
    ]
    chosen = {"sar2opt": sar2opt, "cloud_removal": cloud_removal}
    trainings = {role: file for role, file in chosen.items() if file is not None}
    settings = {role: _settings(role, file) for role, file in trainings.items()}
    channels = settings["cloud_removal"].channels
    for role, training in settings.items():
        if training.channels != channels:
            raise BundleError(
                f"{trainings[role]} is of {training.channels}, {cloud_removal} of {channels}; "
                "give trainings of the same [channels]"
            )
    lines += [
        f"{field.name} = {json.dumps(getattr(channels, field.name))}" for field in fields(channels)
    ]
    learnt_on = {"levels": levels, "radar_kinds": radar_kinds}
    lines += [f"{key} = {json.dumps(list(kinds))}" for key, kinds in learnt_on.items() if kinds]
    removal = settings["cloud_removal"].generator
    if removal.fill == "cloud" or "observed" in removal.inputs:
        lines.append("shows_cloud = true")
    for role, training in settings.items():
        lines += ["", f"[{role}]", *_describe(role, training.generator)]
    if sar2opt is not None and (bars := _read_bars(sar2opt.parent)):
        lines += ["", "[bars]", *(f"{key} = {value}" for key, value in bars.items())]
    folder.mkdir(parents=True, exist_ok=True)
    for role, file in trainings.items():
        target = folder / f"{role}.safetensors"
        save_file(_halve(load_file(file)), target)
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        lines += ["", "[[weights]]", f'role = "{role}"', f'file = "{target.name}"',
                  f'sha256 = "{digest}"']  # fmt: skip
    (folder / "model.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _settings(role: str, file: Path) -> TrainSettings:
    """Return the settings of the training that wrote a file."""
    try:
        with safe_open(file, framework="pt") as weights:
            table = json.loads(weights.metadata()["settings"])
            settings = build(TrainSettings, table, str(file))
    except (OSError, KeyError, TypeError, ValueError, SafetensorError, SettingsError) as error:
        raise BundleError(f"{file} is not the result of a training: {error}") from None
    if settings.task != role:
        raise BundleError(f"{file} is of task {settings.task}; give one of {role}")
    return settings


def _describe(role: str, chosen: GeneratorSettings) -> list[str]:
    lines = [f'generator = "{chosen.network}"', f"width = {chosen.width}"]
    if role == "cloud_removal":
        lines += [
            f"inputs = {json.dumps(chosen.inputs)}",
            f'fill = "{chosen.fill}"',
            f"residual = {json.dumps(chosen.residual)}",
        ]
    return lines


def _read_bars(training: Path) -> dict[str, Any]:
    """Return what a training wrote of the fills that need no network; nothing where it did not."""
    for name in (BARS, "reference.json"):  # the latter from earlier trainings
        if (training / name).exists():
            bars: dict[str, Any] = json.loads((training / name).read_text(encoding="utf-8"))
            return bars
    return {}


def _halve(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: value if name.endswith(_STATISTICS) else value.half().contiguous()
        for name, value in weights.items()
    }
