"""The ablations of the paper's Tables 5 and 6, trained at a stated size and budget.

Figures are no test of the paper at a hundredth of its data and steps; their order is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from safetensors import safe_open

from cloudfree.train.prepare import prepare
from cloudfree.train.scoring import Scores
from cloudfree.train.settings import (
    FoldSettings,
    GeneratorSettings,
    LogSettings,
    LossSettings,
    OptimiserSettings,
    PatchSettings,
    TrainSettings,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a row says of one of the two GANs."""

    network: str = "drib"
    objective: str = "l1+ssim"

    @property
    def name(self) -> str:
        """Name of its training's folder."""
        return f"{self.network}_{self.objective.replace('+', '_')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table of the paper."""

    table: int
    cloud_removal: Choice
    sar2opt: Choice | None
    """None: GAN2 sees the radar itself."""
    paper_psnr: float
    """In dB."""


PAPER = (
    Row(table=5, cloud_removal=Choice(), sar2opt=None, paper_psnr=16.54),
    Row(
        table=5,
        cloud_removal=Choice(network="unet"),
        sar2opt=Choice(network="unet"),
        paper_psnr=21.37,
    ),
    Row(table=5, cloud_removal=Choice(), sar2opt=Choice(network="unet"), paper_psnr=21.89),
    Row(table=5, cloud_removal=Choice(network="unet"), sar2opt=Choice(), paper_psnr=22.66),
    Row(table=5, cloud_removal=Choice(), sar2opt=Choice(), paper_psnr=23.09),
    Row(
        table=6,
        cloud_removal=Choice(objective="l1"),
        sar2opt=Choice(objective="l1"),
        paper_psnr=20.42,
    ),
    Row(table=6, cloud_removal=Choice(), sar2opt=Choice(objective="l1"), paper_psnr=21.34),
    Row(
        table=6,
        cloud_removal=Choice(objective="ssim"),
        sar2opt=Choice(objective="ssim"),
        paper_psnr=21.85,
    ),
    Row(table=6, cloud_removal=Choice(objective="l1"), sar2opt=Choice(), paper_psnr=22.09),
    Row(table=6, cloud_removal=Choice(), sar2opt=Choice(), paper_psnr=23.09),
)
"""Networks and losses of both GANs, all else as in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteSettings:
    """Size and budget, the same for every row."""

    width: int = 8
    """Filters of the first layer of every network; 64 in the paper."""
    steps: int = 300
    """Of each training."""
    batch: int = 4
    learning_rate: float = 4e-4
    """2e-4 in the paper; fewer, larger steps for a small budget."""
    seed: int = 0


def run_suite(
    folders: Sequence[Path],
    out: Path,
    settings: SuiteSettings,
    *,
    clouds: Path | None = None,
    rows: Sequence[Row] = PAPER,
) -> list[dict[str, object]]:
    """Return the rows with their scores per set, and write them to ``out/suite.json`` and ``.md``.

    GAN1 learns on one half of the scenes and GAN2 on the other, so that GAN2 sees GAN1's mistakes
    as they are on new scenes. Trainings that ``out`` holds are loaded, begun ones go on.
    """
    results: list[dict[str, object]] = []
    for row in rows:
        translators = []
        if row.sar2opt is not None:
            translators = [_train_gan1(row.sar2opt, folders, out, settings)]
        name = f"{row.sar2opt.name if row.sar2opt else 'radar'}-{row.cloud_removal.name}"
        inputs = ("cloudy", "translated" if row.sar2opt else "radar")
        task = _settings(row.cloud_removal, "cloud_removal", settings)
        task = replace(task, generator=replace(task.generator, inputs=inputs))
        weights = _train(task, folders, out / name, clouds=clouds, translators=translators)
        results.append({**asdict(row), "scores": _read_scores(weights)})
        log.info("table %d, %s: %s", row.table, name, results[-1]["scores"])
        report = {"size": asdict(settings), "rows": results}
        (out / "suite.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
        (out / "suite.md").write_text(as_markdown(results, settings), encoding="utf-8")
    return results


def as_markdown(results: Sequence[dict[str, object]], settings: SuiteSettings) -> str:
    """Return the rows as a Markdown table, the paper's figure beside ours."""
    lines = [
        f"Width {settings.width}, {settings.steps} steps of {settings.batch} patches, seed "
        f"{settings.seed}. PSNR in dB / SSIM of the last weights on validation scenes.",
        "",
        "| table | cloud removal | SAR2OPT | set | PSNR / SSIM | under cloud | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        gan2, gan1, scores = result["cloud_removal"], result["sar2opt"], result["scores"]
        assert isinstance(gan2, dict) and isinstance(scores, dict)
        first = "none, radar itself"
        if isinstance(gan1, dict):
            first = f"{gan1['network']}, {gan1['objective']}"
        for group, named in scores.items():
            lines.append(
                f"| {result['table']} | {gan2['network']}, {gan2['objective']} | {first} | {group} "
                f"| {named['psnr']:.2f} / {named['ssim']:.3f} | {named['psnr_cloudy']:.2f} "
                f"| {result['paper_psnr']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _train_gan1(
    choice: Choice, folders: Sequence[Path], out: Path, settings: SuiteSettings
) -> Path:
    task = _settings(choice, "sar2opt", settings)
    return _train(task, folders, out / f"sar2opt-{choice.name}")


def _settings(choice: Choice, task: str, settings: SuiteSettings) -> TrainSettings:
    """Return the paper's settings at the suite's size; GAN1 leaves out the half that GAN2 has."""
    return TrainSettings(
        task=task,
        patches=PatchSettings(colour_share=1.0, large_share=1.0),
        folds=FoldSettings(count=2, without=1 if task == "sar2opt" else 0),
        generator=GeneratorSettings(network=choice.network, width=settings.width),
        loss=LossSettings(objective=choice.objective, discriminator_width=settings.width),
        optimiser=OptimiserSettings(
            learning_rate=settings.learning_rate,
            batch=settings.batch,
            steps=settings.steps,
            ema_decay=0.99,
            seed=settings.seed,
        ),
        log=LogSettings(score_every=settings.steps, save_every=100),
    )


def _train(
    settings: TrainSettings,
    folders: Sequence[Path],
    out: Path,
    *,
    clouds: Path | None = None,
    translators: Sequence[Path] = (),
) -> Path:
    """Return the weights of a training, after training what is left of it."""
    weights = out / "best.safetensors"
    if not weights.exists():
        prepare(settings, folders, out, clouds=clouds, translators=translators).run()
    return weights


def _read_scores(weights: Path) -> Scores:
    with safe_open(weights, framework="pt") as file:
        scores: Scores = json.loads(file.metadata()["scores"])
    return scores
