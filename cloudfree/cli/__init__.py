"""The command line. Progress goes to stderr, results to stdout.

Exit codes: 0 done; 1 finished with failed chunks, or a server does not answer for now; 2 the
request is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys

import click

from cloudfree.cli import learning, walk  # importing them adds their commands to main
from cloudfree.cli.group import main
from cloudfree.errors import CloudfreeError, RequestError, StoreError

__all__ = ["entry", "learning", "main", "walk"]


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
