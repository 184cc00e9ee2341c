"""A model's contract is checked where it is born."""

from typing import Any

import pytest

from cloudfree.contract import Contract, Weights
from cloudfree.errors import SettingsError


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_px": 100},
        {"window_px": 0},
        {"stride_px": 100},
        {"stride_px": -8},
        {"window_px": 128, "stride_px": 136},
        {"polarizations": ()},
        {"polarizations": ("vv", "hh")},
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Contract(name="m", version="1", network="baseline", **wrong)


def test_a_stride_as_long_as_the_window_is_allowed() -> None:
    contract = Contract(name="m", version="1", network="x", window_px=128, stride_px=128)
    assert (contract.window_px, contract.stride_px) == (128, 128)


@pytest.mark.parametrize(
    ("file", "sha256"),
    [
        ("w.safetensors", "0" * 63),
        ("w.safetensors", "G" * 64),
        ("w.pt", "0" * 64),
        ("../w.safetensors", "0" * 64),
    ],
)
def test_weights_are_safetensors_inside_the_bundle_with_a_hash(file: str, sha256: str) -> None:
    with pytest.raises(SettingsError):
        Weights(file=file, sha256=sha256)
    Weights(file="w.safetensors", sha256="0" * 64)
