"""From folders to a trainer: read, split, check, translate."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from cloudfree.core.contract import OF_OTHER_DAYS, Channels
from cloudfree.core.errors import RequestError
from cloudfree.core.tables import build
from cloudfree.synthetic.clouds import Cloud
from cloudfree.train.baselines import ColourRegression, fill_without_network, mean_colour
from cloudfree.train.batches import PatchSource
from cloudfree.train.loop import Trainer
from cloudfree.train.networks import build_network
from cloudfree.train.pack import read_pack, read_packed_clouds
from cloudfree.train.pairs import Half, Pair, check_leakage, cut_windows, split_folds
from cloudfree.train.readers import read_clouds, read_pairs
from cloudfree.train.scoring import Scores, Window, join, make_windows, score
from cloudfree.train.settings import TrainSettings

log = logging.getLogger(__name__)

KNOWN_PAIRS, KNOWN_WINDOWS = 24, 48
"""How much of the training is scored beside the validation."""
SIDES = 8
"""Generators take pictures whose sides are multiples of this."""
BARS = "bars.json"
"""What needs no network, fitted on the training; goes into a bundle."""
BASELINE_BATCHES = 40
"""Batches that the colour regression is fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator:
    """A kept GAN1 and the scenes it was trained on."""

    network: nn.Module
    scenes: frozenset[str]


def read_split(folders: Sequence[Path], settings: TrainSettings) -> tuple[list[Pair], list[Pair]]:
    """Return training and validation pairs of packs and of folders with ``train`` and ``val``.

    Raises LeakageError when a scene is in both, RequestError where a folder has no ``train``.
    """
    training: list[Pair] = []
    validation: list[Pair] = []
    read = partial(read_pairs, channels=settings.channels, on_problem=settings.patches.on_problem)
    for folder in folders:
        if folder.is_file():
            packed = read_pack(folder, settings.channels)
            training += packed["train"]
            validation += packed["val"]
            continue
        if not (folder / "train").is_dir():
            raise RequestError(f"no folder train in {folder}. Give folders with train (and val).")
        training += read(folder / "train")[0]
        if (folder / "val").is_dir():
            validation += read(folder / "val")[0]
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
    start: Path | None = None,
    fabric: Fabric | None = None,
    readers: int = 0,
) -> Trainer:
    """Return a trainer, at the step that ``out`` holds.

    A training that is new begins with the weights in ``start``, if given. It trains on one device,
    the best there is, unless ``fabric`` has others. ``readers`` processes draw its batches ahead.
    RequestError where the settings ask for what no pair holds.
    """
    _refuse_other_days(settings)
    training, validation = read_split(folders, settings)
    validation = cut_windows(validation, 256)
    library = _read_library(clouds, settings) if clouds else []
    sky = settings.clouds if settings.task == "cloud_removal" else None
    shares = settings.patches
    if sky is not None and shares.grey_share == 0:
        training = [pair for pair in training if pair.has_colour]
    coloured = [pair for pair in training if pair.has_colour]
    known = cut_windows(coloured[:: max(1, len(coloured) // KNOWN_PAIRS)], 256)[:KNOWN_WINDOWS]
    fabric = fabric or Fabric(accelerator="auto", devices=1)
    device = fabric.device
    translated = None
    if sky is not None and "translated" in settings.generator.inputs:
        ready = [load_translator(path, settings.channels, device) for path in translators]
        translated = translate_unseen([*training, *validation, *known], ready)
    source = PatchSource(training, shares, translated=translated, clouds=sky, library=library)
    windows = make_windows(validation, clouds=sky, library=library, translated=translated)
    known_windows = make_windows(known, clouds=sky, library=library, translated=translated, seed=1)
    trainer = Trainer(settings, source, windows, out, known_windows, fabric, readers)
    if start is not None and trainer.step == 0:
        trainer.start_from(start)
    return trainer


def _refuse_other_days(settings: TrainSettings) -> None:
    chosen = settings.generator
    wanted = [name for name in OF_OTHER_DAYS if name in (*chosen.inputs, chosen.fill)]
    if wanted and settings.task == "cloud_removal":
        raise RequestError(
            f"[generator] asks for {', '.join(wanted)}; pairs hold nothing of other days. Leave it "
            "out of inputs and fill"
        )


def _read_library(clouds: Path, settings: TrainSettings) -> list[Cloud]:
    """Return the clouds of a pack or a folder."""
    if clouds.is_file():
        return read_packed_clouds(clouds)
    return read_clouds(clouds, settings.channels.bands)


def write_baselines(trainer: Trainer) -> None:
    """Write what needs no network, and its scores on the validation, beside a training."""
    windows, out = trainer.windows, trainer.folder
    if not windows or (out / "baselines.json").exists() or not trainer.fabric.is_global_zero:
        return
    if trainer.settings.task == "sar2opt":
        colour, regression = fit_bars(trainer.source)
        baselines = score_bars(windows, colour, regression)
        bars = {
            "mean_colour": colour.flatten().tolist(),
            "regression": regression.weights.tolist(),
        }
        (out / BARS).write_text(json.dumps(bars, indent=1), encoding="utf-8")
    else:
        baselines = score_fills(windows)
    (out / "baselines.json").write_text(json.dumps(baselines, indent=1), encoding="utf-8")


def load_translator(
    path: Path, channels: Channels, device: torch.device | None = None
) -> Translator:
    """Return a GAN1 that a training kept (``best.safetensors``), in eval mode, on a device.

    RequestError unless it is of these channels.
    """
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    settings = build(TrainSettings, json.loads(facts["settings"]), str(path))
    if settings.channels != channels:
        raise RequestError(
            f"the translator {path} is of {settings.channels}; this training is of {channels}. "
            "Give one of the same [channels]"
        )
    network = build_network(settings)
    network.load_state_dict(weights)
    network.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        height, width = radar.shape[2:]
        whole = functional.pad(radar, (0, -width % SIDES, 0, -height % SIDES), mode="replicate")
        device = next(chosen.network.parameters()).device
        picture: Tensor = chosen.network(whole.to(device))[0, :, :height, :width]
        pictures[pair.name] = picture.cpu().numpy().astype(np.float16)
    return pictures


def fit_bars(source: PatchSource) -> tuple[Tensor, ColourRegression]:
    """Return the mean colour (1, band, 1, 1) and the regression on radar of a training."""
    batches = [source.draw(8, seed=0, step=step) for step in range(BASELINE_BATCHES)]
    return mean_colour(batches), ColourRegression.fit(batches)


def score_bars(
    windows: Sequence[Window], colour: Tensor, regression: ColourRegression
) -> dict[str, Scores]:
    """Return the scores of what needs no network in SAR to optical.

    Beside what is fitted on the training stands, as an oracle, each picture's own mean colour.
    """

    def own_mean(few: list[Window]) -> Tensor:
        truth = join(few).truth
        return truth.mean((2, 3), keepdim=True).expand_as(truth)

    return {
        "mean_colour": score(windows, lambda few: colour.expand_as(join(few).truth)),
        "regression": score(windows, lambda few: regression(join(few).radar)),
        "own_mean_colour_oracle": score(windows, own_mean),
    }


def score_fills(windows: Sequence[Window]) -> dict[str, Scores]:
    """Return the scores of cloudy pictures as they are, filled, and as GAN1 gives them."""
    scores = {
        "mean": score(windows, lambda few: fill_without_network(join(few), "mean")),
        "inpaint": score(windows, lambda few: fill_without_network(join(few), "inpaint")),
        "regression": score(windows, lambda few: fill_without_network(join(few), "regression")),
        "cloudy": score(windows, lambda few: join(few).cloudy),
    }
    if windows[0].translated is not None:
        scores["translated"] = score(windows, lambda few: join(few).translated)
    return scores
