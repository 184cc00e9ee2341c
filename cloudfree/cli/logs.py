"""What the command line says on stderr beside progress: log lines, and its own last word."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

import click

_PLAIN = "%(levelname)s %(name)s %(message)s"


class JsonLines(logging.Formatter):
    """Formats each record as one JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger and message, and the traceback where there is one."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(level: int, *, as_json: bool) -> None:
    """Let the package log to stderr from ``level`` on; everything else from WARNING on at least."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(_PLAIN))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))
    logging.getLogger("cloudfree").setLevel(level)
    if level >= logging.WARNING:  # each request that is tried again; what fails in the end is told
        logging.getLogger("urllib3").setLevel(logging.ERROR)


def say(message: str) -> None:
    """Say something in one line on stderr, whatever level is logged."""
    line = " ".join(message.split())
    handlers = logging.getLogger().handlers
    if any(isinstance(handler.formatter, JsonLines) for handler in handlers):
        logging.getLogger("cloudfree").error("%s", line)
    else:
        click.echo(f"cloudfree: {line}", err=True)
