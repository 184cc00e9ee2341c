"""The command line. Progress goes to stderr, results to stdout.

Exit codes: 0 done; 1 finished with failed chunks, or a server does not answer for now; 2 the
request is wrong; 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cloudfree.config import RunSettings, build, merge, read_toml
from cloudfree.errors import BundleError, CloudfreeError, RequestError, StoreError
from cloudfree.keys import unsigned
from cloudfree.progress import Advance

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLES = """
\b
Examples:
  cloudfree run --aoi aoi.geojson --date 2024-06-15
  cloudfree run --aoi aoi.geojson --date 2024-06-15 --provider earth-search --out out
  cloudfree run --aoi aoi.geojson --date 2024-05-01/2024-06-30 --stac items.json --out out
  cloudfree plan --aoi aoi.geojson --date 2024-06-15 --stac items.json --json
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(package_name="cloudfree")
@click.option("-v", "--verbose", count=True, help="Log the rows of the walk; twice: each chunk.")
def main(verbose: int) -> None:
    """Remove clouds from Sentinel-2 scenes with the help of Sentinel-1 radar."""
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("cloudfree").setLevel(levels[min(verbose, 2)])


def _request_options(command: F) -> F:
    options = [
        click.option(
            "--aoi",
            type=click.Path(path_type=Path),
            required=True,
            help="GeoJSON file with the area, in longitude and latitude.",
        ),
        click.option(
            "--date",
            required=True,
            help="YYYY-MM-DD: the datatake near it that shows most; or A/B: every one between.",
        ),
        click.option(
            "--stac",
            help="Address of a STAC API, or a local ItemCollection or catalog file, to be asked "
            "instead of a provider's own.",
        ),
        click.option(
            "--provider",
            help="Of optical scenes: planetary-computer (default), earth-search, copernicus, local "
            "(default with --stac), or a TOML file like these.",
        ),
        click.option("--radar-provider", help="Of radar scenes, likewise."),
        click.option(
            "--max-scene-cloud",
            type=float,
            help="Leave out scenes with more cloud than this, in percent, by their metadata.",
        ),
        click.option("--model", help="Name of a built-in model or folder of a bundle."),
        click.option("--bands", help="Optical bands of the product, such as B02,B03,B04,B08."),
        click.option("--crs", help="utm (default) or a projected CRS in metres."),
        click.option("--resolution", type=float, help="Side of a pixel in metres."),
        click.option("--chunk-px", type=int, help="Side of a chunk in pixels."),
        click.option(
            "--optical-days", type=float, help="How far from the date the optical may lie."
        ),
        click.option("--sar-days", type=float, help="How far from the optical the radar may lie."),
        click.option(
            "--mask",
            help="auto (default: the scene classification, a detector where there is none), "
            "detector, or a file: a raster that is not 0 where cloud hides the ground, or GeoJSON.",
        ),
        click.option(
            "--min-seen",
            type=float,
            help="Share of the area that a datatake must show; 0 takes any.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="TOML with settings, such as pipelines/run.toml.",
        ),
        click.option("--scheduler", help="Address of a Dask scheduler."),
        click.option("--workers", type=int, help="Local worker processes."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _request(options: dict[str, Any]) -> Any:
    """Return the Request behind the options: flags over --config over defaults."""
    from cloudfree.plan import Request

    config = options["config"]
    bands = options["bands"]
    tables = merge(
        read_toml(config) if config else {},
        {
            "grid": {
                "bands": bands and [name.strip() for name in bands.split(",")],
                "crs": options["crs"],
                "resolution_m": options["resolution"],
                "chunk_px": options["chunk_px"],
            },
            "catalog": {
                "provider": options["provider"],
                "radar_provider": options["radar_provider"],
                "max_cloud_percent": options["max_scene_cloud"],
            },
            "scenes": {
                "optical_days": options["optical_days"],
                "sar_days": options["sar_days"],
                "min_seen": options["min_seen"],
            },
            "masks": {"source": options["mask"]},
            "restoration": {"model": options["model"]},
            "engine": {"scheduler": options["scheduler"], "workers": options["workers"]},
        },
    )
    settings = build(RunSettings, tables, str(config) if config else "options")
    return Request(
        aoi=options["aoi"], date=options["date"], stac=options["stac"], settings=settings
    )


@main.command("plan", epilog=EXAMPLES)
@_request_options
def plan_command(as_json: bool, **options: Any) -> None:
    """Say what a run would do; reads no pixel."""
    from cloudfree.plan import make_plan

    described = make_plan(_request(options)).describe()
    click.echo(json.dumps(described, indent=1) if as_json else _plan_text(described))


@main.command("run", epilog=EXAMPLES)
@_request_options
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

    request = _request(options)
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
        click.echo(_run_text(outcome.summary, out, outcome.chunks_resumed))


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
    click.echo(_run_text(demo.outcome.summary, demo.outcome.out, 0))
    click.echo(
        f"score    {demo.psnr_db:.2f} dB under cloud against the hidden ground; "
        f"mean colour gives {demo.mean_colour_psnr_db:.2f} dB"
    )


@main.command("models")
def models_command() -> None:
    """List the built-in models; check their contracts, hashes and golden files."""
    from cloudfree.bundle import GOLDEN_TOLERANCE, built_in, check_golden, open_bundle

    default, wrong = RunSettings().restoration.model, []
    for name in built_in():
        bundle = open_bundle(name)
        contract, error = bundle.contract, check_golden(bundle)
        bands = ", ".join(contract.bands) or "any"
        if error > GOLDEN_TOLERANCE:
            wrong.append(name)
        click.echo(
            f"{name:12} version {contract.version}  {contract.network}  bands {bands}  "
            f"radar {contract.radar_wanted}  golden file within {error:.1g}  "
            f"{'wrong' if name in wrong else 'ok'}"
            f"{'  (default)' if name == default else ''}"
        )
    if wrong:
        raise BundleError(
            f"{', '.join(wrong)} does not give what its golden file says: do not use it here. "
            "Install cloudfree again, and tell its makers if that does not help"
        )


PATCHES_EXAMPLES = """
\b
Example: patches of two areas, then a training on them:
  cloudfree patches --aoi north.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/train
  cloudfree patches --aoi south.geojson --date 2024-05-01/2024-08-31 --stac items.json --out p/val
  cloudfree train pipelines/train_sar2opt.toml --data p --out runs/mine
"""


@main.command("patches", epilog=PATCHES_EXAMPLES)
@_request_options
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
    counts = cut_patches(_request(options), out, choice, Bars())
    if as_json:
        click.echo(json.dumps(counts, indent=1))
        return
    left = ", ".join(f"{count} {reason}" for reason, count in counts.items() if reason != "kept")
    click.echo(f"{counts['kept']} patches in {out}; left out: {left or 'none'}")


BUNDLE_EXAMPLES = """
\b
Example:
  cloudfree bundle --sar2opt runs/sar2opt/best.safetensors --name mine --version 1 --level L2A \
    --cloud-removal runs/cloud_removal/best.safetensors --out models/mine
"""

EVALUATE_EXAMPLES = """
\b
Examples:
  cloudfree evaluate --data sen12 --clouds clouds
  cloudfree evaluate --data s1s2-1024 --model baseline --cover 0.1,0.3 --json
  cloudfree evaluate --data sen12mscr --sheet examples.png
  cloudfree evaluate --suite paper --data sen12 --clouds clouds --width 8 --steps 300
"""


@main.command("evaluate", epilog=EVALUATE_EXAMPLES)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of pairs with truth, or one that holds val.",
)
@click.option(
    "--model",
    default="small",
    show_default=True,
    help="Name of a built-in model or folder of a bundle.",
)
@click.option(
    "--clouds",
    type=click.Path(path_type=Path),
    help="Real cloudy/clear pairs to clip clouds from; without them clouds are procedural.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the clouds.")
@click.option(
    "--cover",
    default="0.2,0.6",
    show_default=True,
    help="Lowest and highest share of a picture under cloud.",
)
@click.option(
    "--suite",
    type=click.Choice(["paper"]),
    help="Train the rows of the paper's Tables 5 and 6 on data/train and judge them on data/val.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/suite"),
    show_default=True,
    help="Of the suite; what was trained there is not trained again.",
)
@click.option("--width", type=int, help="Of the suite's networks; 64 in the paper.")
@click.option("--steps", type=int, help="Of each of the suite's trainings.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="PNG of examples to write beside the scores."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def evaluate_command(
    data: Path,
    model: str,
    clouds: Path | None,
    seed: int,
    cover: str,
    suite: str | None,
    out: Path,
    width: int | None,
    steps: int | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Score a model on pairs with truth, beside what needs no network and the paper's figures."""
    with needs_training_extra():
        from cloudfree.evaluate import EvaluationSettings, as_text, evaluate
    from cloudfree.clouds import CloudSettings

    if suite:
        _run_suite(data, out, clouds, {"width": width, "steps": steps, "seed": seed}, as_json)
        return
    try:
        low, high = (float(part) for part in cover.split(","))
    except ValueError:
        raise RequestError(f"--cover is {cover!r}; give two shares such as 0.2,0.6") from None
    settings = EvaluationSettings(seed=seed, clouds=CloudSettings(cover=(low, high), overcast=0.0))
    figures = evaluate(data, model, settings, Bars(), clouds=clouds, sheet=sheet)
    click.echo(json.dumps(figures, indent=1) if as_json else as_text(figures))


def _run_suite(
    data: Path, out: Path, clouds: Path | None, size: dict[str, int | None], as_json: bool
) -> None:
    from cloudfree.train.suite import SuiteSettings, as_markdown, run_suite

    given = {name: value for name, value in size.items() if value is not None}
    settings = build(SuiteSettings, given, "options")
    rows = run_suite([data], out, settings, clouds=clouds)
    click.echo(json.dumps(rows, indent=1) if as_json else as_markdown(rows, settings))


@contextmanager
def needs_training_extra() -> Iterator[None]:
    """Turn the lack of a package for training into one clear line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise RequestError(
            f"this needs {error.name}; install it with: pip install 'cloudfree[train]'"
        ) from None


@main.command("bundle", epilog=BUNDLE_EXAMPLES)
@click.option(
    "--cloud-removal",
    type=click.Path(path_type=Path),
    required=True,
    help="best.safetensors of a training of GAN2.",
)
@click.option("--sar2opt", type=click.Path(path_type=Path), help="The same of GAN1.")
@click.option("--name", required=True)
@click.option("--version", required=True)
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=click.Choice(["L1C", "L2A"]),
    help="Product level of the optical pairs; may be given twice. Runs on others warn.",
)
@click.option(
    "--radar-kind",
    "radar_kinds",
    multiple=True,
    help="Backscatter of the pairs, such as gamma0-rtc. Runs on others warn.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
def bundle_command(
    cloud_removal: Path,
    sar2opt: Path | None,
    name: str,
    version: str,
    levels: tuple[str, ...],
    radar_kinds: tuple[str, ...],
    out: Path,
) -> None:
    """Make a bundle of trainings: contract, half-precision weights, golden file."""
    with needs_training_extra():
        from cloudfree.train.ship import ship
    from cloudfree.bundle import write_golden

    ship(
        out,
        name=name,
        version=version,
        cloud_removal=cloud_removal,
        sar2opt=sar2opt,
        levels=levels,
        radar_kinds=radar_kinds,
    )
    write_golden(out)
    click.echo(f"{out}: use it with --model {out}")


@main.command("train", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train_command(arguments: tuple[str, ...]) -> None:
    """Train one of the two GANs, or go on; see cloudfree train --help."""
    with needs_training_extra():
        from cloudfree.train.__main__ import main as train
    sys.exit(train(arguments))


class Bars:
    """Progress bars on stderr, with a real total and the time left."""

    @contextmanager
    def track(self, name: str, total: int, unit: str) -> Iterator[Advance]:
        """Show one bar while the block runs."""
        columns = (
            TextColumn("{task.description:>15}"),
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(name, total=total)
            yield lambda amount: bars.advance(task, amount)


def _plan_text(plan: dict[str, Any]) -> str:
    lines = [
        f"grid     {plan['crs']}, {plan['resolution_m']:g} m, "
        f"{plan['shape'][1]} x {plan['shape'][0]} px, area {plan['area_km2']:,.1f} km2",
        f"model    {plan['model']}",
    ]
    for step in plan["steps"]:
        lines += [
            f"step     {step['time']}",
            f"  optical  {', '.join(step['optical'])}",
            *(f"  offset   {_offset_text(one)}" for one in _unlike(step["offsets"].values())),
            *(f"  {word:8} {_candidate_text(one)}" for word, one in _rated(step["considered"])),
            f"  radar    {_radar_text(step)}",
            *(
                f"  {word:8} {_candidate_text(one)}"
                for word, one in _rated(step["radar_considered"])
            ),
            f"  masks    {_mask_text(plan, step)}",
            f"  gaps     optical {step['gaps_km2']['optical']:g} km2, "
            f"radar {step['gaps_km2']['radar']:g} km2",
        ]
    lines += [
        f"work     {plan['chunks']} chunks of {plan['chunk_px']} px with a halo of "
        f"{plan['halo_px']} px, at most {plan['windows_at_most']} windows",
        f"bytes    read up to {plan['read_bytes'] / 1e6:,.0f} MB, "
        f"stored up to {plan['stored_bytes'] / 1e6:,.0f} MB before compression",
        f"memory   about {plan['memory_bytes'] / 1e9:.1f} GB per process",
        *(f"warning  {warning}" for warning in plan["warnings"]),
    ]
    return "\n".join(lines)


def _mask_text(plan: dict[str, Any], step: dict[str, Any]) -> str:
    names = ", ".join(dict.fromkeys(plan["masks"][scene] for scene in step["optical"]))
    return f"{plan['mask_file']}, over {names}" if plan["mask_file"] else names


def _unlike(offsets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the different ones of some offsets."""
    return list({(one["dn"], one["why"]): one for one in offsets}.values())


def _offset_text(offset: dict[str, Any]) -> str:
    if offset["dn"] is None:
        return f"to be read off the pixels: {offset['why']}"
    return f"{offset['dn']} DN: {offset['why']}"


def _rated(candidates: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return candidates with a word each; a single one needs no comparison."""
    words = ["chosen", *("or" for _ in candidates[1:])]
    return list(zip(words, candidates, strict=True)) if len(candidates) > 1 else []


def _candidate_text(candidate: dict[str, Any]) -> str:
    cloud = candidate.get("cloud_percent")
    return (
        f"{candidate['time'][:16]} covers {candidate['covered']:.0%}"
        + (f", cloud {cloud:.0f} %" if cloud is not None else "")
        + f", {candidate['days']:.1f} days away"
        + (f", score {candidate['score']:.2f}" if cloud is not None else "")
    )


def _radar_text(step: dict[str, Any]) -> str:
    if not step["radar"]:
        return "none in reach: cloudy pixels stay hidden"
    age = step["radar_age_h"]
    polarizations = " and ".join(name.upper() for name in step["polarizations"])
    return (
        f"{', '.join(step['radar'])} ({polarizations}, "
        f"{abs(age):.1f} h {'before' if age < 0 else 'after'})"
    )


def _run_text(summary: dict[str, Any], out: Path, resumed: int) -> str:
    pixels, windows = summary["pixels"], summary["windows"]
    shown = max(pixels["seen"] + pixels["reconstructed"] + pixels["not_restored"], 1)
    seconds = summary["seconds"]
    total = sum(seconds.values())
    lines = [
        *(f"{step['time'][:10]}  radar {_radar_text(step)}" for step in summary["steps"]),
        *(
            f"{step['time'][:10]}  left out: shows {step['seen_share']:.1%} of the area, less than "
            "--min-seen"
            for step in summary["left_out"]
        ),
        f"pixels   {pixels['seen']:,} seen ({pixels['seen'] / shown:.1%}), "
        f"{pixels['reconstructed']:,} reconstructed ({pixels['reconstructed'] / shown:.1%}), "
        f"{pixels['not_restored']:,} not restored",
        f"windows  {windows['computed']} computed, {windows['skipped']} skipped",
        "rows     "
        + ", ".join(f"{row} {value:.1f} s ({value / total:.0%})" for row, value in seconds.items()),
        f"memory   {summary['peak_memory_bytes'] / 1e9:.2f} GB at the peak",
    ]
    if resumed:
        lines.append(f"resumed  {resumed} of {summary['chunks']} chunks were done before")
    lines += [f"picture  {out / 'preview.png'}", f"report   {out / 'report.html'}"]
    lines += [f"COG      {path}" for path in sorted(out.glob("*_reflectance.tif"))[:3]]
    lines.append(f"cube     {out / 'cube.zarr'}")
    return "\n".join(lines)


def entry() -> None:
    """Run the command line; wrong requests end in one line and exit code 2."""
    try:
        main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command resumes", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (RequestError, StoreError) as error:
        _fail(str(error), 2)
    except CloudfreeError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"cloudfree: {' '.join(message.split())}", err=True)
    sys.exit(code)
