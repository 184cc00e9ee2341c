"""Commands that walk from scenes to a product, or to patches."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloudfree.cli.group import main
from cloudfree.cli.logs import say
from cloudfree.cli.options import (
    Sectioned,
    engine_options,
    product_options,
    read_request,
    request_options,
)
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import CloudfreeError, RequestError
from cloudfree.core.keys import unsigned
from cloudfree.core.progress import Progress
from cloudfree.core.tables import build, read_toml
from cloudfree.product.printout import plan_text, run_text

if TYPE_CHECKING:
    from cloudfree.engine.pipeline import Outcome
    from cloudfree.planning.plan import Request
    from cloudfree.storage.outputs import Storage


_GRACE_S = 5.0
"""After a second Ctrl-C, what a run has begun elsewhere has so long to be given up."""

PLAN_EXAMPLES = """
\b
Examples:
  cloudfree plan --aoi aoi.geojson --date 2024-06-15
  cloudfree plan --aoi aoi.geojson --date 2024-05-01/2024-06-30 --provider earth-search
  cloudfree plan --aoi aoi.geojson --date 2024-06-15 --stac items.json --json
"""

RUN_EXAMPLES = """
\b
Examples:
  cloudfree run --aoi aoi.geojson --date 2024-06-15
  cloudfree run --aoi aoi.geojson --date 2024-06-15 --provider earth-search --out out
  cloudfree run --aoi aoi.geojson --date 2024-05-01/2024-06-30 --stac items.json --out out
  cloudfree run --aoi aoi.geojson --date 2024-06-15 --workers 4 --out s3://bucket/prefix
  cloudfree run --aoi aoi.geojson --date 2024-06-15 --config pipelines/run.toml --overwrite

Ctrl-C and SIGTERM finish the chunks in flight; the same command goes on from there.
"""


@main.command("plan", cls=Sectioned, epilog=PLAN_EXAMPLES)
@request_options
@product_options
@engine_options
def plan_command(as_json: bool, **options: Any) -> None:
    """Say what a run would do: scenes, gaps, chunks, bytes and memory; reads no pixel."""
    from cloudfree.planning.plan import make_plan

    described = make_plan(read_request(options)).describe()
    click.echo(json.dumps(described, indent=1) if as_json else plan_text(described))


@main.command("run", cls=Sectioned, epilog=RUN_EXAMPLES)
@request_options
@product_options
@engine_options
@click.option(
    "--out",
    default="cloudfree-out",
    show_default=True,
    help="Folder, or s3://, gs:// or az:// prefix; a run that was begun there is resumed.",
)
@click.option("--overwrite", is_flag=True, help="Start anew where --out holds a run.")
@click.option(
    "--catalog",
    help="Local folder of a STAC catalog to list the product in; begun where there is none.",
)
@click.pass_obj
def run_command(
    progress: Progress,
    /,
    out: str,
    overwrite: bool,
    catalog: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a cloud-free cube of an area and date, or go on with one that was begun."""
    from cloudfree.product.catalog import add_to_catalog, check_catalog
    from cloudfree.storage.outputs import open_storage

    storage = open_storage(out)
    folder = None if catalog is None else check_catalog(catalog, storage)
    outcome = _run(read_request(options), storage, overwrite, progress)
    if outcome.interrupted:
        say(f"told to stop; {outcome.chunks_done} chunks are done. Go on with: {_same_command()}")
        sys.exit(130)
    if outcome.failed:
        for name, reason in outcome.failed.items():
            say(f"chunk {name} failed: {reason}")
        say(
            f"{len(outcome.failed)} chunks failed, {outcome.chunks_done} are done. "
            f"Resume with: {_same_command()}"
        )
        sys.exit(1)
    if folder is not None:
        add_to_catalog(folder, storage)
    if as_json:
        click.echo(json.dumps(outcome.summary, indent=1))
    else:
        click.echo(run_text(outcome.summary, storage, outcome.chunks_resumed))
        if folder is not None:
            click.echo(f"catalog  {folder / 'catalog.json'}")


def _run(request: Request, storage: Storage, overwrite: bool, progress: Progress) -> Outcome:
    """Run; whatever ends it early says with which command to go on."""
    from cloudfree.engine.pipeline import run

    try:
        with _stop_when_told() as stop:
            return run(request, storage, overwrite=overwrite, progress=progress, stop=stop)
    except RequestError:
        raise
    except CloudfreeError as error:
        raise type(error)(f"{str(error).rstrip('.')}. Go on with: {_same_command()}") from None
    except KeyboardInterrupt:
        os._exit(130)  # threads that still read or restore are not waited for


@contextmanager
def _stop_when_told() -> Iterator[threading.Event]:
    """Yield an event that is set once this process is told to end; a second Ctrl-C ends it."""
    stop = threading.Event()

    def interrupt(*_: Any) -> None:
        if not stop.is_set():
            stop.set()
            say("stopping once the chunks in flight are finished; Ctrl-C again to stop now")
            return
        say(f"stopped; what is marked done is safe. Go on with: {_same_command()}")
        threading.Timer(_GRACE_S, os._exit, [130]).start()
        raise KeyboardInterrupt

    handlers = {signal.SIGTERM: lambda *_: stop.set(), signal.SIGINT: interrupt}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _same_command() -> str:
    """Return the command that was given, without what would start anew, or a signature."""
    words = [word for word in sys.argv[1:] if word != "--overwrite"]
    return shlex.join(["cloudfree", *(unsigned(w) if "://" in w else w for w in words)])


DEMO_EXAMPLES = """
\b
Examples:
  cloudfree demo
  cloudfree demo --out somewhere --seed 7
"""


@main.command("demo", epilog=DEMO_EXAMPLES)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder for the scenes and the product.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the synthetic scenes.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML with settings.")
@click.pass_obj
def demo_command(progress: Progress, out: Path, seed: int, config: Path | None) -> None:
    """Run on a synthetic place of several days and score it against what the clouds hide."""
    from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED
    from cloudfree.demo import run_demo

    settings = build(RunSettings, read_toml(config) if config else {}, str(config))
    demo = run_demo(out, seed=seed, settings=settings, progress=progress)
    click.echo(run_text(demo.outcome.summary, demo.outcome.storage, 0))
    click.echo(
        f"score    {demo.psnr_db:.2f} dB under cloud against the hidden ground; "
        f"mean colour gives {demo.mean_colour_psnr_db:.2f} dB"
    )
    kinds = {OTHER_DAYS: "made of other days", RECONSTRUCTED: "reconstructed"}
    if OTHER_DAYS in demo.psnr_db_by_source:
        parts = (f"{kinds[code]} {psnr:.2f} dB" for code, psnr in demo.psnr_db_by_source.items())
        click.echo(f"         {', '.join(parts)}")


PATCHES_EXAMPLES = """
\b
Example: patches of two areas, then a training on them:
  cloudfree patches --aoi north.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/train
  cloudfree patches --aoi south.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/val
  cloudfree train pipelines/train_sar2opt.toml --data p --out runs/mine
"""


@main.command("patches", cls=Sectioned, epilog=PATCHES_EXAMPLES)
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
@click.pass_obj
def patches_command(
    progress: Progress,
    /,
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
    counts = cut_patches(read_request(options), out, choice, progress)
    if as_json:
        click.echo(json.dumps(counts, indent=1))
        return
    left = ", ".join(f"{count} {reason}" for reason, count in counts.items() if reason != "kept")
    click.echo(f"{counts['kept']} patches in {out}; left out: {left or 'none'}")
