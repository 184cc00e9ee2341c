"""The command that all others belong to."""

from __future__ import annotations

import logging
import os

import click

from cloudfree.cli.bars import bars_or_lines
from cloudfree.cli.logs import set_up_logging
from cloudfree.core.progress import Progress, Silent

EXAMPLES = """
\b
Examples:
  cloudfree demo
  cloudfree plan --aoi aoi.geojson --date 2024-06-15
  cloudfree run --aoi aoi.geojson --date 2024-06-15 --out out
  cloudfree -v run --aoi aoi.geojson --date 2024-06-15 --out out
  cloudfree status out
  cloudfree doctor

cloudfree COMMAND --help has more, with examples.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXAMPLES)
@click.version_option(package_name="cloudfree")
@click.option("-q", "--quiet", is_flag=True, help="Only errors and results; no progress.")
@click.option("-v", "--verbose", count=True, help="Log the rows of the walk; -vv: each chunk.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line on stderr; no progress.")
@click.pass_context
def main(context: click.Context, quiet: bool, verbose: int, log_json: bool) -> None:
    """Remove clouds from Sentinel-2 scenes with the help of other days and radar.

    Progress and log go to stderr, results to stdout. The options below stand before the command.
    """
    if quiet and verbose:
        raise click.UsageError("-q and -v contradict each other; give one of them")
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    set_up_logging(logging.ERROR if quiet else levels[min(verbose, 2)], as_json=log_json)
    if os.environ.get("NO_COLOR"):
        context.color = False
    progress: Progress = Silent() if quiet or log_json else bars_or_lines()
    context.obj = progress
