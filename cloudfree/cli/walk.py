"""Commands that walk from scenes to a product, or to patches."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from cloudfree.cli.bars import Bars
from cloudfree.cli.group import EXAMPLES, main
from cloudfree.cli.options import read_request, request_options
from cloudfree.cli.text import plan_text, run_text
from cloudfree.config import RunSettings, build, read_toml
from cloudfree.keys import unsigned


@main.command("plan", epilog=EXAMPLES)
@request_options
def plan_command(as_json: bool, **options: Any) -> None:
    """Say what a run would do; reads no pixel."""
    from cloudfree.plan import make_plan

    described = make_plan(read_request(options)).describe()
    click.echo(json.dumps(described, indent=1) if as_json else plan_text(described))


@main.command("run", epilog=EXAMPLES)
@request_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("cloudfree-out"),
    show_default=True,
    help="Output folder; a run that was begun there is resumed.",
)
@click.option("--overwrite", is_flag=True, help="Start anew where the folder holds a run.")
def run_command(out: Path, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Make a cloud-free cube of an area and date."""
    from cloudfree.pipeline import run

    request = read_request(options)
    outcome = run(request, out, overwrite=overwrite, progress=Bars())
    if outcome.failed:
        for name, reason in outcome.failed.items():
            click.echo(f"cloudfree: chunk {name} failed: {reason}", err=True)
        click.echo(
            f"cloudfree: {len(outcome.failed)} chunks failed, {outcome.chunks_done} are done. "
            f"Resume with: {_same_command()}",
            err=True,
        )
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(outcome.summary, indent=1))
    else:
        click.echo(run_text(outcome.summary, out, outcome.chunks_resumed))


def _same_command() -> str:
    """Return the command that was given, without what would start anew, or a signature."""
    words = [word for word in sys.argv[1:] if word != "--overwrite"]
    return shlex.join(["cloudfree", *(unsigned(w) if "://" in w else w for w in words)])


@main.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the scenes and the product.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the synthetic scenes.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML with settings.")
def demo_command(out: Path, seed: int, config: Path | None) -> None:
    """Run on a synthetic pair of scenes and score the result against what the clouds hide."""
    from cloudfree.demo import run_demo

    settings = build(RunSettings, read_toml(config) if config else {}, str(config))
    demo = run_demo(out, seed=seed, settings=settings, progress=Bars())
    click.echo(run_text(demo.outcome.summary, demo.outcome.out, 0))
    click.echo(
        f"score    {demo.psnr_db:.2f} dB under cloud against the hidden ground; "
        f"mean colour gives {demo.mean_colour_psnr_db:.2f} dB"
    )


PATCHES_EXAMPLES = """
\b
Example: patches of two areas, then a training on them:
  cloudfree patches --aoi north.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/train
  cloudfree patches --aoi south.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/val
  cloudfree train pipelines/train_sar2opt.toml --data p --out runs/mine
"""


@main.command("patches", epilog=PATCHES_EXAMPLES)
@request_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option(
    "--size-px",
    type=int,
    default=256,
    show_default=True,
    help="Side of a patch; a multiple of 8, not below what the training cuts.",
)
@click.option(
    "--max-cloud",
    type=float,
    default=0.0,
    show_default=True,
    help="Largest hidden share of a patch; where above 0, cloud passes for ground.",
)
@click.option(
    "--all-polarizations",
    is_flag=True,
    help="Radar of VV and VH, for trainings that take both; without it what the model takes.",
)
def patches_command(
    out: Path,
    size_px: int,
    max_cloud: float,
    all_polarizations: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Cut clear pairs of radar and optical patches for training, as a run reads scenes."""
    from cloudfree.patches import PatchChoice, cut_patches

    if options["model"] is None and options["config"] is None:
        options["model"] = "baseline"  # patches are for models to come: any bands will do
    choice = PatchChoice(size_px=size_px, max_cloud=max_cloud, all_polarizations=all_polarizations)
    counts = cut_patches(read_request(options), out, choice, Bars())
    if as_json:
        click.echo(json.dumps(counts, indent=1))
        return
    left = ", ".join(f"{count} {reason}" for reason, count in counts.items() if reason != "kept")
    click.echo(f"{counts['kept']} patches in {out}; left out: {left or 'none'}")
