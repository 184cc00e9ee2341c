"""The command that all others belong to."""

from __future__ import annotations

import logging
import sys

import click

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
