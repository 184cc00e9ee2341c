"""Errors of chunk jobs reach the run as what they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from distributed.core import clean_exception, error_message

from cloudfree.cluster.metrics import CHUNKS
from cloudfree.core.errors import StoreError
from cloudfree.engine.jobs import _counted


class UnsendableError(Exception):
    """Like some of zarr's: pickled, but not to be had back."""

    def __init__(self, *, path: str) -> None:
        super().__init__(path)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return UnsendableError, ()


def fail() -> None:
    try:
        raise UnsendableError(path="cube.zarr")
    except UnsendableError:
        raise StoreError("cannot write cube.zarr: broken") from None


def as_received(work: Callable[[], None]) -> BaseException | None:
    """Return the error as Dask brings it from a worker."""
    with pytest.raises(StoreError) as caught:
        work()
    sent = error_message(caught.value)
    sent["exception"] = sent["exception"].data
    return clean_exception(sent["exception"], None)[1]


def test_dask_alone_would_lose_it() -> None:
    assert type(as_received(fail)) is Exception


def test_an_error_arrives_as_what_it_is_and_counts() -> None:
    def counted() -> None:
        with _counted():
            fail()

    before = CHUNKS.labels("failed")._value.get()
    received = as_received(counted)
    assert type(received) is StoreError
    assert str(received) == "cannot write cube.zarr: broken"
    assert CHUNKS.labels("failed")._value.get() == before + 1
