"""Errors cross process borders whole."""

import inspect
import pickle

import pytest

from cloudfree.core import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling(kind: type[errors.CloudfreeError]) -> None:
    sent = kind("asked for A, found B; do C")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind
    assert str(received) == "asked for A, found B; do C"


def test_there_is_one_tree_split_by_what_a_handler_does() -> None:
    assert all(issubclass(kind, errors.CloudfreeError) for kind in CLASSES)
    wrong_request = {kind for kind in CLASSES if issubclass(kind, errors.RequestError)}
    assert set(CLASSES) - wrong_request == {
        errors.CloudfreeError,
        errors.ReadError,
        errors.UnreachableError,
        errors.StoreError,
        errors.ClusterError,
        errors.DeviceError,
    }
