"""Which failure is of which kind, and how long to wait."""

import http.client

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from cloudfree.pixels.retry import (
    PERMANENT,
    Kind,
    backoff_s,
    kind_of_error,
    kind_of_status,
    retry_after_s,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Kind.EXPIRED),
        (403, Kind.EXPIRED),
        (404, Kind.MISSING),
        (410, Kind.MISSING),
        (429, Kind.THROTTLED),
        (500, Kind.THROTTLED),
        (503, Kind.THROTTLED),
        (400, Kind.REFUSED),
        (416, Kind.REFUSED),
    ],
)
def test_a_status_has_its_kind(status: int, kind: Kind) -> None:
    assert kind_of_status(status) is kind


def caused(error: Exception, *causes: Exception) -> Exception:
    outer = error
    for cause in causes:
        error.__cause__ = cause
        error = cause
    return outer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (caused(requests.ConnectionError(), ConnectionResetError()), Kind.RESET),
        (caused(requests.ConnectTimeout(), TimeoutError()), Kind.HANGING),
        (caused(requests.ConnectionError(), Exception(), TimeoutError()), Kind.HANGING),
        (
            caused(requests.exceptions.ChunkedEncodingError(), http.client.IncompleteRead(b"")),
            Kind.TRUNCATED,
        ),
        (requests.exceptions.InvalidURL("no host"), Kind.REFUSED),
        (requests.exceptions.TooManyRedirects("31"), Kind.REFUSED),
    ],
)
def test_the_cause_tells_the_kind(error: Exception, kind: Kind) -> None:
    assert kind_of_error(error) is kind


def test_what_is_permanent_is_what_nothing_helps_against() -> None:
    assert {Kind.MISSING, Kind.REFUSED} == PERMANENT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 0), ("7", 7), ("0", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-3", 0)],
)
def test_retry_after_in_seconds_counts(header: str | None, seconds: float) -> None:
    assert retry_after_s(header) == seconds


@given(st.integers(1, 60), st.floats(0.01, 5), st.floats(0, 90), st.text(max_size=8))
def test_waits_double_up_to_a_minute_and_never_undercut_the_server(
    attempt: int, first_s: float, at_least_s: float, seed: str
) -> None:
    wait = backoff_s(attempt, first_s, at_least_s=at_least_s, seed=seed)
    longest = min(first_s * 2 ** (attempt - 1), 60)
    assert max(at_least_s, longest / 2) <= wait <= max(at_least_s, longest)
    assert wait == backoff_s(attempt, first_s, at_least_s=at_least_s, seed=seed)


def test_who_fails_together_does_not_come_back_together() -> None:
    waits = {backoff_s(3, 1.0, at_least_s=0, seed=f"B{n:02d}.tif 0") for n in range(20)}
    assert len(waits) == 20
