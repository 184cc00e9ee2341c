"""What may go wrong when a server is asked for bytes, and how long to wait before asking again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from http.client import IncompleteRead


class Kind(StrEnum):
    """Kinds of failure, by what helps; the value is the word in run.json."""

    THROTTLED = "throttled"
    """The server is too busy, or out of order for a while: wait."""
    EXPIRED = "expired"
    """The link's signature is not good any more: sign again."""
    TRUNCATED = "truncated"
    """Fewer bytes came than were asked for: ask again."""
    RESET = "reset"
    """There is no connection, or it broke: ask again."""
    HANGING = "hanging"
    """Nothing came for too long: ask again."""
    MISSING = "missing"
    """There is no such file: nothing helps."""
    REFUSED = "refused"
    """The server does not do what was asked: nothing helps."""


PERMANENT = frozenset({Kind.MISSING, Kind.REFUSED})

_OF_STATUS = {
    401: Kind.EXPIRED,
    403: Kind.EXPIRED,
    404: Kind.MISSING,
    408: Kind.HANGING,
    410: Kind.MISSING,
    429: Kind.THROTTLED,
}
_LONGEST_WAIT_S = 60.0


def kind_of_status(status: int) -> Kind:
    """Return the kind of an HTTP status that is no success."""
    return _OF_STATUS.get(status, Kind.THROTTLED if status >= 500 else Kind.REFUSED)


def kind_of_error(error: BaseException) -> Kind:
    """Return the kind of an error that broke off a request; what caused it tells most."""
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return Kind.HANGING
    if any(isinstance(cause, IncompleteRead) for cause in causes):
        return Kind.TRUNCATED
    return Kind.RESET if any(isinstance(c, OSError) for c in causes[1:]) else Kind.REFUSED


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after_s(header: str | None) -> float:
    """Return the seconds that a Retry-After header asks for; 0 without one, and for a date."""
    return float(header) if header is not None and header.isdecimal() else 0.0


def backoff_s(attempt: int, first_s: float, *, at_least_s: float, seed: str) -> float:
    """Return the seconds to wait after a failed attempt; the first attempt is 1.

    They double from ``first_s``, up to a minute, less up to half of it, drawn from ``seed``:
    requests that failed together do not come back together. Never below ``at_least_s``.
    """
    longest = min(first_s * 2.0 ** (attempt - 1), _LONGEST_WAIT_S)
    return max(at_least_s, longest * random.Random(f"{seed} {attempt}").uniform(0.5, 1.0))
