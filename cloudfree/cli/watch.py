"""The command that says how far a run is."""

from __future__ import annotations

import json
import time

import click

from cloudfree.cli.group import main
from cloudfree.product.printout import status_text

_POLL_S = 5.0


STATUS_EXAMPLES = """
\b
Examples:
  cloudfree status out
  cloudfree status s3://bucket/prefix --follow
  cloudfree status out --json
"""


@main.command("status", epilog=STATUS_EXAMPLES)
@click.argument("out")
@click.option("--follow", is_flag=True, help="Say it again until nobody is at work there.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON each time.")
def status_command(out: str, follow: bool, as_json: bool) -> None:
    """Say how far the run in a folder or at a URL is; from any machine, while it runs or after."""
    from cloudfree.engine.status import read_status
    from cloudfree.storage.outputs import open_storage

    storage = open_storage(out)
    while True:
        status = read_status(storage).describe()
        click.echo(json.dumps(status) if as_json else status_text(status))
        if not follow or status["holder"] is None:
            return
        time.sleep(_POLL_S)
