"""The command line. Progress goes to stderr, results to stdout.

Imports what a command needs when it runs, so that ``--help`` waits for nothing. Nobody imports it.

Exit codes: 0 done; 1 finished with failed chunks, or a server does not answer for now; 2 the
request is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

# importing them adds their commands to main
from cloudfree.cli import completion, doctor, learning, walk, watch
from cloudfree.cli.group import main
from cloudfree.cli.logs import say
from cloudfree.core.errors import CloudfreeError, RequestError, StoreError

__all__ = ["completion", "doctor", "entry", "learning", "main", "walk", "watch"]

_LONGEST = 1200
"""Characters of a message."""


def entry() -> None:
    """Run the command line; wrong requests end in one line and exit code 2."""
    try:
        main(prog_name="cloudfree", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", 130)
    except click.UsageError as error:
        _fail(f"{_crop(error.format_message().rstrip('.'))}. {_advise(error)}", 2)
    except click.ClickException as error:
        _fail(_crop(error.format_message()), 2)
    except RequestError as error:
        _fail(_crop(str(error)), 2)
    except StoreError as error:
        _fail(str(error), 2)
    except CloudfreeError as error:
        _fail(str(error), 1)
    except ImportError as error:
        _fail(
            f"a library does not load: {error}. cloudfree doctor says more; install cloudfree "
            "anew, in an environment of its own",
            1,
        )


def _advise(error: click.UsageError) -> str:
    """Return where the right usage is told; options of the group are often given too late."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        if any(name in parameter.opts for parameter in main.params):
            return f"It stands before the command: cloudfree {name} COMMAND"
    path = error.ctx.command_path if error.ctx else "cloudfree"
    return f"See {path} --help"


def _crop(message: str) -> str:
    """Return a message that may quote what was given, without the middle where it has no end."""
    half = _LONGEST // 2
    return message if len(message) <= _LONGEST else f"{message[:half]} ... {message[-half:]}"


def _fail(message: str, code: int) -> NoReturn:
    say(message)
    sys.exit(code)
