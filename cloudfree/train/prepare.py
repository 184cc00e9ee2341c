"""From folders to a trainer: read, split, check, translate."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

from cloudfree.config import build
from cloudfree.errors import RequestError
from cloudfree.train.baselines import ColourRegression, fill_baselines, mean_colour
from cloudfree.train.batches import PatchSource
from cloudfree.train.loop import Trainer, build_network, join
from cloudfree.train.pairs import (
    Half,
    Pair,
    check_leakage,
    cut_windows,
    read_clouds,
    read_pairs,
    split_folds,
)
from cloudfree.train.scoring import Scores, Window, make_windows, score
from cloudfree.train.settings import TrainSettings

log = logging.getLogger(__name__)

BASELINE_BATCHES = 40
"""Batches that the colour regression is fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator:
    """A kept GAN1 and the scenes it was trained on."""

    network: nn.Module
    scenes: frozenset[str]


def read_split(folders: Sequence[Path], settings: TrainSettings) -> tuple[list[Pair], list[Pair]]:
    """Return training and validation pairs of data folders that hold ``train`` and ``val``.

    Raises LeakageError when a scene is in both, RequestError where a folder has no ``train``.
    """
    training: list[Pair] = []
    validation: list[Pair] = []
    for folder in folders:
        if not (folder / "train").is_dir():
            raise RequestError(f"no folder train in {folder}. Give folders with train (and val).")
        on_problem = settings.patches.on_problem
        training += read_pairs(folder / "train", on_problem=on_problem)[0]
        if (folder / "val").is_dir():
            validation += read_pairs(folder / "val", on_problem=on_problem)[0]
    check_leakage(training, validation)
    if settings.folds.count:
        left_out = split_folds(training, settings.folds.count)[settings.folds.without]
        training = [pair for pair in training if pair.scene not in left_out]
        log.info("left out %d scenes: %s", len(left_out), ", ".join(sorted(left_out)))
    return training, validation


def prepare(
    settings: TrainSettings,
    folders: Sequence[Path],
    out: Path,
    *,
    clouds: Path | None = None,
    translators: Sequence[Path] = (),
) -> Trainer:
    """Return a trainer, at the step that ``out`` holds, and write the baselines' scores there."""
    training, validation = read_split(folders, settings)
    validation = cut_windows(validation, 256)
    library = read_clouds(clouds) if clouds else []
    sky = settings.clouds if settings.task == "cloud_removal" else None
    shares = settings.patches
    if sky is not None and shares.grey_share == 0:
        training = [pair for pair in training if pair.has_colour]
    translated = None
    if sky is not None and "translated" in settings.generator.inputs:
        known = [load_translator(path) for path in translators]
        translated = translate_unseen([*training, *validation], known)
    source = PatchSource(training, shares, translated=translated, clouds=sky, library=library)
    windows = make_windows(validation, clouds=sky, library=library, translated=translated)
    trainer = Trainer(settings, source, windows, out)
    if windows and not (out / "baselines.json").exists():
        baselines = score_baselines(source, windows)
        (out / "baselines.json").write_text(json.dumps(baselines, indent=1), encoding="utf-8")
    return trainer


def load_translator(path: Path) -> Translator:
    """Return a GAN1 that a training kept (``best.safetensors``), in eval mode."""
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    settings = build(TrainSettings, json.loads(facts["settings"]), str(path))
    network = build_network(settings)
    network.load_state_dict(weights)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Translator(network=network, scenes=frozenset(json.loads(facts["scenes"])))


@torch.no_grad()
def translate_unseen(pairs: Sequence[Pair], translators: Sequence[Translator]) -> dict[str, Half]:
    """Return GAN1's picture per pair name, by a GAN1 that was not trained on the pair's scene.

    Of several the one that was trained on most scenes is taken. RequestError where there is none:
    GAN2 would learn to trust GAN1 more than it may on new scenes.
    """
    pictures: dict[str, Half] = {}
    for pair in pairs:
        fair = [known for known in translators if pair.scene not in known.scenes]
        if not fair:
            raise RequestError(
                f"none of the {len(translators)} translators is new to scene {pair.scene}. "
                "Train sar2opt with [folds] and give one for each fold (--translator)."
            )
        chosen = max(fair, key=lambda known: len(known.scenes))
        radar = torch.from_numpy(pair.radar.astype(np.float32))[None]
        with torch.autocast("cpu", torch.bfloat16):
            pictures[pair.name] = chosen.network(radar)[0].float().numpy().astype(np.float16)
    return pictures


def score_baselines(source: PatchSource, windows: Sequence[Window]) -> dict[str, Scores]:
    """Return the scores of what needs no network, on the same windows.

    For SAR to optical: the training's mean colour, a regression fitted on the training, and, as an
    oracle, each picture's own mean colour. For cloud removal: the fills.
    """
    if source.clouds is None:
        batches = [source.draw(8, seed=0, step=step) for step in range(BASELINE_BATCHES)]
        colour, regression = mean_colour(batches), ColourRegression.fit(batches)
        return {
            "mean_colour": score(windows, lambda few: colour.expand(len(few), 3, 256, 256)),
            "regression": score(windows, lambda few: regression(join(few).radar)),
            "own_mean_colour_oracle": score(
                windows,
                lambda few: join(few).truth.mean((2, 3), keepdim=True).expand(-1, -1, 256, 256),
            ),
        }

    def restore(few: list[Window], name: str) -> torch.Tensor:
        batch = join(few)
        return fill_baselines(batch.cloudy, ~batch.made, batch.radar)[name]

    names = ("mean", "inpaint", "regression")
    scores = {
        name: score(windows, lambda few, name=name: restore(few, name))  # type: ignore[misc]
        for name in names
    }
    scores["cloudy"] = score(windows, lambda few: join(few).cloudy)
    if windows[0].translated is not None:
        scores["translated"] = score(windows, lambda few: join(few).translated)
    return scores
