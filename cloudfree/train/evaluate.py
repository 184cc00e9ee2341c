"""Scores of a model on pairs with truth, beside what needs no network, as the paper takes them.

Networks are judged on their raw output; what the walk would deliver, with seen pixels kept and
made ones fitted to them, stands under ``product``. Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cloudfree.core.bands import RGB
from cloudfree.core.errors import RequestError
from cloudfree.core.progress import Progress
from cloudfree.core.types import Float32Array, Masks, Model
from cloudfree.gan import TwoGans
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.restore import restore_alone
from cloudfree.restoration.rims import fit_rims
from cloudfree.synthetic.clouds import CloudSettings
from cloudfree.train.baselines import ColourRegression, fill_without_network
from cloudfree.train.pairs import Pair, cut_windows
from cloudfree.train.readers import read_clouds, read_pairs
from cloudfree.train.scoring import Window, average, join, judge_each, make_windows
from cloudfree.train.sheets import write_sheet

PAPER = {
    "sar2opt": {"psnr": 19.45, "ssim": 0.445},
    "cloud_removal": {"psnr": 23.09, "ssim": 0.691, "psnr_cloudy": 19.90, "psnr_clear": 25.91},
}
"""Tables 3 and 4, on SEN1-2 and 4678 and 500 pairs that are not public."""

WINDOW_PX = 256
FEW_SCENES = 5
"""With fewer scenes than this the bootstrap draws blocks of pictures instead."""
BLOCK_PICTURES = 4
"""Pictures of a scene that follow each other and count as one block: patches of SEN1-2 overlap."""
DRAWS = 1000
SHEET_ROWS = 8

Restore = Callable[[list[Window]], Tensor]
Figures = dict[str, Any]
"""Plain values, as JSON has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is judged."""

    seed: int = 0
    """Of the skies and of the bootstrap."""
    clouds: CloudSettings = field(default_factory=lambda: CloudSettings(overcast=0.0))
    """Skies for pairs that have no real cloud."""


def evaluate(
    data: Path,
    model_name: str,
    settings: EvaluationSettings,
    progress: Progress,
    *,
    clouds: Path | None = None,
    sheet: Path | None = None,
) -> dict[str, Figures]:
    """Return the figures of a model on the pairs in ``data``, or in ``data/val``.

    Keys are ``sar2opt`` (only for models that have it), ``cloud_removal``, ``product``,
    ``baselines``, ``paper`` and ``data``. PSNR has the full range of the picture as its maximum;
    "cloudy" is where more than 5 % of the light comes from cloud, or where a set's own mask says
    so; "opaque" is where more than 90 % does, so that nothing shows through. ``interval`` holds
    95 % bootstrap intervals. ``clouds`` are real pairs to clip clouds from; without them skies are
    procedural. Writes a sheet of examples to ``sheet``.
    """
    model = open_bundle(model_name).load()
    folder = data / "val" if (data / "val").is_dir() else data
    if not folder.is_dir():
        raise RequestError(f"no folder {data}. Give one with pairs, or with val.")
    contract = model.contract
    channels = replace(contract, bands=contract.bands or RGB)
    pairs, problems = read_pairs(folder, channels)
    pairs = [pair for pair in pairs if pair.has_colour]
    if not pairs:
        raise RequestError(f"the pairs in {folder} have no colour; nothing can be judged on them")
    cut = [(window, pair) for pair in pairs for window in cut_windows([pair], WINDOW_PX)]
    if not cut:
        raise RequestError(f"no pair in {folder} is as large as {WINDOW_PX} x {WINDOW_PX} px")
    library = read_clouds(clouds, channels.bands) if clouds else ()
    pictures = [window for window, _ in cut]
    windows = make_windows(pictures, clouds=settings.clouds, library=library, seed=settings.seed)
    unit, blocks = find_blocks([pair for _, pair in cut])
    judged = Judged(windows, blocks, settings.seed, progress)
    clear = Judged(make_windows(pictures), blocks, settings.seed, progress)

    candidates: dict[int, Float32Array] = {}

    def remember(few: list[Window]) -> Tensor:
        restored = restore(model, few)
        candidates.update(zip(map(id, few), restored, strict=True))
        return torch.from_numpy(restored)

    def product(few: list[Window]) -> Tensor:
        made = [keep_seen(candidates[id(window)], window) for window in few]
        return torch.from_numpy(np.stack(made))

    figures: dict[str, Figures] = {}
    baselines: dict[str, Figures] = {"cloud_removal": judged.fills()}
    if isinstance(model, TwoGans) and model.sar2opt is not None:
        figures["sar2opt"] = clear.by("sar2opt", lambda few: translate(model, few))
    bars = contract.bars
    if bars is not None:
        colour = torch.tensor(bars.mean_colour).view(1, -1, 1, 1)
        regression = ColourRegression(torch.tensor(bars.regression, dtype=torch.float64))
        baselines["sar2opt"] = {
            "mean_colour": clear.by(
                "mean colour", lambda few: colour.expand(len(few), -1, WINDOW_PX, WINDOW_PX)
            ),
            "regression": clear.by("regression", lambda few: regression(join(few).radar)),
        }
    figures["cloud_removal"] = judged.by("cloud_removal", remember)
    figures["product"] = judged.by("product", product)
    if sheet is not None:
        draw_sheet(sheet, windows, candidates, model, channels.bands)
    return {
        **figures,
        "baselines": baselines,
        "paper": PAPER,
        "data": {
            "folder": folder.name if folder == data else f"{data.name}/val",
            "model": f"{contract.name} {contract.version}",
            "bands": list(channels.bands),
            "radar": channels.radar_wanted,
            "pairs": len(pairs),
            "windows": len(windows),
            "scenes": len({pair.scene for pair in pairs}),
            "unusable_files": len(problems),
            "resampled": f"{len(set(blocks))} {unit}s",
            "seed": settings.seed,
            "cover": list(settings.clouds.cover),
            "clouds": "real, of the pairs"
            if pairs[0].cloudy is not None
            else ("clipped from real pairs" if clouds else "procedural"),
        },
    }


@dataclass(frozen=True, slots=True)
class Judged:
    """The windows that everything is judged on, alike."""

    windows: Sequence[Window]
    blocks: Sequence[str]
    """Block of each window."""
    seed: int
    progress: Progress

    def by(self, name: str, restored: Restore) -> Figures:
        """Return the figures of what ``restored`` gives, with intervals."""
        with self.progress.track(name, len(self.windows), "windows") as advance:

            def counted(few: list[Window]) -> Tensor:
                made = restored(few)
                advance(len(few))
                return made

            figures = judge_each(self.windows, counted)
        return summarise(figures, self.blocks, self.seed)

    def fills(self) -> Figures:
        """Return the figures of cloudy pictures as they are, and of what needs no network.

        The built-in baseline takes the first channel of the radar.
        """
        walk = Baseline(contract=open_bundle("baseline").contract)
        rows: dict[str, Restore] = {
            "cloudy": lambda few: join(few).cloudy,
            "mean_colour": lambda few: fill_without_network(join(few), "mean"),
            "inpainting": lambda few: fill_without_network(join(few), "inpaint"),
            "regression": lambda few: fill_without_network(join(few), "regression"),
            "baseline": lambda few: torch.from_numpy(
                restore(walk, [replace(window, radar=window.radar[:1]) for window in few])
            ),
        }
        return {name: self.by(name, restored) for name, restored in rows.items()}


def restore(model: Model, windows: list[Window]) -> Float32Array:
    """Return candidates (n, band, y, x), from what the walk would give the model.

    A model that is fitted to scenes is fitted to each window: it stands for its scene.
    """
    contract = model.contract
    made = []
    for window in windows:
        assert window.cloudy is not None and window.made is not None
        hidden = window.made.numpy()
        optical = window.cloudy.numpy().copy()
        if not contract.shows_cloud:
            optical[:, hidden[0]] = contract.fill
        masks = Masks(seen=~hidden, made=hidden)
        radar = window.radar.numpy()[None]
        made.append(restore_alone(model, optical[None], radar, masks)[0])
    return np.stack(made)


def translate(model: TwoGans, windows: list[Window]) -> Tensor:
    """Return GAN1's pictures."""
    return torch.cat([model.translate(window.radar[None]) for window in windows])


def keep_seen(candidate: Float32Array, window: Window) -> Float32Array:
    """Return what row 12 of the walk makes of a candidate: seen pixels kept, seams fitted."""
    assert window.cloudy is not None and window.made is not None
    hidden = window.made.numpy()[0]
    top = 10000.0
    numbers = np.rint((window.cloudy.numpy() + 1) / 2 * top + 1).astype(np.uint16)
    limits = np.ones_like(candidate), np.full_like(candidate, top + 1)
    kept = fit_rims(
        numbers,
        Masks(seen=~hidden, made=hidden),
        candidate=((candidate + 1) / 2 * top + 1).astype(np.float32),
        covered=np.ones_like(hidden),
        limits=limits,
        origin=(0, 0),
    )
    picture: Float32Array = ((kept.reflectance - 1.0) / top * 2 - 1).astype(np.float32)
    return picture


def find_blocks(pairs: Sequence[Pair]) -> tuple[str, list[str]]:
    """Return what the bootstrap draws, "scene" or "block", and which one each picture is of.

    With few scenes, pictures that follow each other in a scene make a block: they are neighbours.
    All windows of one larger picture are of one block.
    """
    scenes = [pair.scene for pair in pairs]
    if len(set(scenes)) >= FEW_SCENES:
        return "scene", scenes
    places: dict[str, dict[str, int]] = {}
    blocks = []
    for pair in pairs:
        places.setdefault(pair.scene, {})
        place = places[pair.scene].setdefault(pair.name, len(places[pair.scene]))
        size = pair.radar.shape[1] >= 2 * WINDOW_PX
        blocks.append(f"{pair.scene}/{place if size else place // BLOCK_PICTURES}")
    return "block", blocks


def summarise(figures: Sequence[Mapping[str, float]], blocks: Sequence[str], seed: int) -> Figures:
    """Return the mean of each figure over pictures, and 95 % intervals by blocks drawn anew."""
    means = average(figures)
    names = [name for name in means if name != "n"]
    labels = sorted(set(blocks))
    table = np.array([[each.get(name, np.nan) for name in names] for each in figures])
    table[~np.isfinite(table)] = np.nan
    members = [np.array(blocks) == label for label in labels]
    sums = np.array([np.nansum(table[chosen], axis=0) for chosen in members])
    counts = np.array([np.isfinite(table[chosen]).sum(axis=0) for chosen in members])
    drawn = np.random.default_rng(seed).integers(len(labels), size=(DRAWS, len(labels)))
    total, count = sums[drawn].sum(axis=1), counts[drawn].sum(axis=1)
    resampled = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    interval = {
        name: [round(float(a), 4), round(float(b), 4)]
        for name, a, b in zip(names, low, high, strict=True)
    }
    rounded = {name: round(value, 4) for name, value in means.items()}
    return {**rounded, "n": int(means["n"]), "interval": interval}


def draw_sheet(
    path: Path,
    windows: Sequence[Window],
    candidates: Mapping[int, Float32Array],
    model: Model,
    bands: tuple[str, ...],
) -> None:
    """Write examples, a row each: radar, translated, cloudy, candidate, product, truth."""
    chosen = list(windows[:: max(1, len(windows) // SHEET_ROWS)])[:SHEET_ROWS]
    raw = [candidates[id(window)] for window in chosen]
    product = [keep_seen(each, window) for each, window in zip(raw, chosen, strict=True)]
    batch = join(chosen)
    columns = [batch.radar]
    if isinstance(model, TwoGans) and model.sar2opt is not None:
        columns.append(translate(model, chosen))
    made = [torch.from_numpy(np.stack(pictures)) for pictures in (raw, product)]
    write_sheet(path, [*columns, batch.cloudy, *made, batch.truth], bands)


def as_text(figures: Mapping[str, Figures]) -> str:
    """Return the figures as a table, the paper's beside ours."""
    columns = ("psnr", "ssim", "psnr_cloudy", "psnr_opaque", "psnr_clear", "mae", "sam")
    lines = [f"{'':28}" + "".join(f"{name:>13}" for name in columns)]

    def row(name: str, values: Mapping[str, object]) -> None:
        cells = [values.get(column) for column in columns]
        shown = ("" if cell is None else f"{cell:.3f}" for cell in cells)
        lines.append(f"{name:28}" + "".join(f"{cell:>13}" for cell in shown))

    for task in ("sar2opt", "cloud_removal", "product"):
        if task in figures:
            row(task, figures[task])
        baselines = figures["baselines"].get(task, {})
        assert isinstance(baselines, dict)
        for name, values in baselines.items():
            row(f"  {name}", values)
        if task in PAPER:
            row("  the paper, its own data", PAPER[task])
    data = figures["data"]
    lines.append(
        f"{data['model']} on {data['folder']}: {data['windows']} windows of {data['pairs']} pairs "
        f"and {data['scenes']} scenes, {', '.join(data['bands'])} with {data['radar']}; "
        f"clouds {data['clouds']}, seed {data['seed']}"
    )
    return "\n".join(lines)
