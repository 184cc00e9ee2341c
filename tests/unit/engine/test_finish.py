"""Steps are called by their date, and by the time of day where that does not tell them apart."""

from __future__ import annotations

import datetime as dt

import pytest

from cloudfree.engine.finish import name_steps

FIRST = dt.datetime(2024, 6, 15, 10, 20, 31, 24000, dt.UTC)


@pytest.mark.parametrize(
    ("later", "names"),
    [
        (dt.timedelta(days=5), ["2024-06-15", "2024-06-20"]),
        (dt.timedelta(minutes=30), ["2024-06-15T1020", "2024-06-15T1050"]),
        (dt.timedelta(seconds=7), ["2024-06-15T102031", "2024-06-15T102038"]),
        (dt.timedelta(milliseconds=9), ["2024-06-15T102031.024000", "2024-06-15T102031.033000"]),
    ],
)
def test_a_name_has_what_tells_it_apart(later: dt.timedelta, names: list[str]) -> None:
    third = FIRST + dt.timedelta(days=40)
    assert name_steps([FIRST, FIRST + later, third]) == [*names, "2024-07-25"]
