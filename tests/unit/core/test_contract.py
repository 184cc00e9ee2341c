"""A model's contract is checked where it is born."""

from typing import Any

import pytest

from cloudfree.core.contract import Channels, Contract, RemovalContract, Weights
from cloudfree.core.errors import SettingsError


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
        {"polarizations": ("vv", "vv")},
        {"bands": ("B04", "red")},
        {"bands": ("B04", "B04")},
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Contract(name="m", version="1", network="baseline", **wrong)


def test_one_polarisation_is_the_best_there_is_and_all_are_all_or_none() -> None:
    one, both = (Channels(polarizations=("vh", "vv"), all_polarizations=a) for a in (False, True))
    assert (one.radar_channels, both.radar_channels) == (1, 2)
    assert one.choose_polarizations(["vv", "vh"]) == ("vh",)
    assert one.choose_polarizations(["vv"]) == ("vv",)
    assert both.choose_polarizations(["vv", "vh", "hh"]) == ("vh", "vv")
    assert both.choose_polarizations(["vv"]) is one.choose_polarizations(["hh"]) is None


def test_a_stride_as_long_as_the_window_is_allowed() -> None:
    contract = Contract(name="m", version="1", network="x", window_px=128, stride_px=128)
    assert (contract.window_px, contract.stride_px) == (128, 128)


@pytest.mark.parametrize(
    ("inputs", "fill", "wants"),
    [
        (("cloudy", "observed", "translated", "radar", "made"), "regression", False),
        (("cloudy", "reference"), "regression", True),
        (("cloudy", "reference_seen"), "cloud", True),
        (("cloudy", "reference_error"), "mean", True),
        (("cloudy", "radar"), "reference", True),
    ],
)
def test_inputs_and_fill_say_whether_other_days_are_wanted(
    inputs: tuple[str, ...], fill: str, wants: bool
) -> None:
    gan2 = RemovalContract(generator="drib", width=4, inputs=inputs, fill=fill, residual=True)
    contract = Contract(name="m", version="1", network="gan", cloud_removal=gan2)
    assert contract.wants_other_days is wants
    assert not Contract(name="m", version="1", network="baseline").wants_other_days


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
