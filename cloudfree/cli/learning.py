"""Commands about models: list and check, train, judge, bundle."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cloudfree.cli.group import main
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import BundleError, RequestError
from cloudfree.core.progress import Progress
from cloudfree.core.tables import build

MODELS_EXAMPLES = """
\b
Example:
  cloudfree models
"""


@main.command("models", epilog=MODELS_EXAMPLES)
def models_command() -> None:
    """List the built-in models; check their contracts, hashes and golden files."""
    from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, built_in, check_golden, open_bundle

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
@click.pass_obj
def evaluate_command(
    progress: Progress,
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
        from cloudfree.train.evaluate import EvaluationSettings, as_text, evaluate
    from cloudfree.synthetic.clouds import CloudSettings

    if suite:
        _run_suite(data, out, clouds, {"width": width, "steps": steps, "seed": seed}, as_json)
        return
    try:
        low, high = (float(part) for part in cover.split(","))
    except ValueError:
        raise RequestError(f"--cover is {cover!r}; give two shares such as 0.2,0.6") from None
    settings = EvaluationSettings(seed=seed, clouds=CloudSettings(cover=(low, high), overcast=0.0))
    figures = evaluate(data, model, settings, progress, clouds=clouds, sheet=sheet)
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
    from cloudfree.restoration.bundle import write_golden

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


PACK_EXAMPLES = """
\b
Example:
  cloudfree pack --data sen12 --data patches --clouds clouds --out pairs.zip
  cloudfree train pipelines/train_sar2opt.toml --data pairs.zip
"""


@main.command("pack", epilog=PACK_EXAMPLES)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="Folder of pairs, or one that holds train and val; may be given several times.",
)
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    help="TOML of the training, for its [channels]; red, green, blue and one channel of radar.",
)
@click.option("--clouds", type=click.Path(path_type=Path), help="Real cloudy/clear pairs.")
@click.option(
    "--quality", type=click.IntRange(1, 100), default=80, show_default=True, help="Of WebP."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
def pack_command(
    data: tuple[Path, ...],
    settings_file: Path | None,
    clouds: Path | None,
    quality: int,
    out: Path,
) -> None:
    """Pack training pairs and clouds into one small file, to train elsewhere."""
    with needs_training_extra():
        from cloudfree.train.pack import write_pack
        from cloudfree.train.settings import TrainSettings
    from cloudfree.core.tables import read_toml

    tables = read_toml(settings_file) if settings_file else {}
    channels = build(TrainSettings, tables, str(settings_file)).channels
    size = write_pack(out, data, channels, clouds=clouds, quality=quality)
    click.echo(f"{out}: {size / 2**20:.1f} MiB; train on it with --data {out}")


@main.command("train", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def train_command(arguments: tuple[str, ...]) -> None:
    """Train one of the two GANs, or go on; see cloudfree train --help."""
    with needs_training_extra():
        from cloudfree.train.__main__ import main as train
    quiet = logging.getLogger("cloudfree").level == logging.ERROR
    sys.exit(train(("--quiet", *arguments) if quiet else arguments))
