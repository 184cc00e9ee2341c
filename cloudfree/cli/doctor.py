"""The command that says what works on this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from cloudfree.cli.group import main

DOCTOR_EXAMPLES = """
\b
Examples:
  cloudfree doctor
  cloudfree doctor --out s3://bucket/prefix --provider earth-search
  cloudfree doctor --offline --json
"""

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@main.command("doctor", epilog=DOCTOR_EXAMPLES)
@click.option("--out", help="Folder or store: writes, reads and removes a small object there.")
@click.option(
    "--provider", help="Ask only this one's STAC API, by name or TOML file; else every built-in's."
)
@click.option("--offline", is_flag=True, help="Ask nobody.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor_command(out: str | None, provider: str | None, offline: bool, as_json: bool) -> None:
    """Say what works here: versions, GDAL, device, memory, disk, models, network, store access.

    Exit code 1 where something fails, 0 otherwise.
    """
    from cloudfree.doctor import FAIL, examine

    findings = []
    for finding in examine(out=out, provider=provider, offline=offline):
        findings.append(finding)
        if not as_json:
            state = click.style(f"{finding.state:4}", fg=_COLOURS[finding.state])
            cure = f". Do: {finding.cure}" if finding.cure else ""
            click.echo(f"{state}  {finding.topic:15}  {finding.found}{cure}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    sys.exit(1 if any(finding.state == FAIL for finding in findings) else 0)
