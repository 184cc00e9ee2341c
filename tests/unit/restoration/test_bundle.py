"""Bundles are checked before anything runs."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cloudfree.core.errors import BundleError
from cloudfree.core.types import SceneFitted
from cloudfree.restoration.baseline import Baseline
from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, check_golden, open_bundle, write_golden
from tests.gans import OF_OTHER_DAYS, write_tiny_gans

WEIGHTS = b"not really weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
TOML = 'name = "mine"\nversion = "3"\nnetwork = "baseline"\nstride_px = 128\n'


def write(folder: Path, text: str) -> str:
    (folder / "model.toml").write_text(text)
    return str(folder)


def with_weights(sha256: str) -> str:
    return TOML + f'[[weights]]\nfile = "w.safetensors"\nsha256 = "{sha256}"\n'


def test_the_baseline_is_built_in_and_learns_from_scenes() -> None:
    bundle = open_bundle("baseline")
    model = bundle.load()
    assert isinstance(model, Baseline)
    assert isinstance(model, SceneFitted)
    assert model.contract == bundle.contract
    assert bundle.contract.name == "baseline"


@pytest.mark.parametrize("name", ["bars", "reference"])
def test_the_bars_are_read_under_their_first_name_too(tmp_path: Path, name: str) -> None:
    table = f"[{name}]\nmean_colour = [0.5, -0.25, 0.0]\nregression = [[1, 2, 3]]\n"
    bars = open_bundle(write(tmp_path, TOML + table)).contract.bars
    assert bars is not None
    assert (bars.mean_colour, bars.regression) == ((0.5, -0.25, 0.0), ((1, 2, 3),))


def test_a_folder_is_a_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(write(tmp_path, TOML))
    assert bundle.folder == tmp_path
    assert (bundle.contract.name, bundle.contract.stride_px) == ("mine", 128)


def test_weights_with_their_hash_are_taken(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(WEIGHTS)
    (weights,) = open_bundle(write(tmp_path, with_weights(SHA256))).contract.weights
    assert weights.sha256 == SHA256


def test_weights_with_another_hash_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(WEIGHTS + b"!")
    with pytest.raises(BundleError, match=r"w\.safetensors.*sha256.*fetch"):
        open_bundle(write(tmp_path, with_weights(SHA256)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_weights(SHA256), "cannot read the weights"),
        (with_weights("1234"), "64 hex digits"),
        (TOML.replace('"baseline"', '"oracle"'), "oracle.*runs"),
        (TOML + "strides = 3\n", "strides.*nearest.*stride_px"),
        (TOML + "window_px = 100\n", "multiples of 8"),
        (TOML + 'bands = ["B04", "green"]\n', "bands are B04, green; give different ones of B01"),
        (TOML + 'window_px = "big"\n', "type int"),
        ('network = "baseline"\n', "missing.*name, .*version"),
        ("name = ", "not valid TOML"),
    ],
)
def test_a_bundle_that_is_damaged_is_refused_in_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        open_bundle(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_the_baseline_refuses_a_second_channel_of_radar(tmp_path: Path) -> None:
    bundle = open_bundle(write(tmp_path, TOML + "all_polarizations = true\n"))
    with pytest.raises(BundleError, match="asks for VV and VH; network baseline takes one channel"):
        bundle.load()
    one = open_bundle(write(tmp_path, TOML + 'polarizations = ["vh"]\nall_polarizations = true\n'))
    assert one.load().contract.radar_channels == 1


@pytest.mark.parametrize("name", ["basline", "", "/nowhere/at/all"])
def test_a_bundle_that_is_not_there_names_those_built_in(name: str) -> None:
    with pytest.raises(BundleError, match=r"built in are .*baseline"):
        open_bundle(name)


def test_a_golden_file_tells_other_weights(tmp_path: Path) -> None:
    right, wrong = (write_tiny_gans(tmp_path / str(seed), seed=seed) for seed in (3, 4))
    write_golden(right)
    assert check_golden(open_bundle(str(right))) < GOLDEN_TOLERANCE
    (wrong / "golden.npz").write_bytes((right / "golden.npz").read_bytes())
    assert check_golden(open_bundle(str(wrong))) > 10 * GOLDEN_TOLERANCE


def test_a_golden_file_holds_what_other_days_say_where_a_model_wants_it(tmp_path: Path) -> None:
    folder = write_tiny_gans(tmp_path, inputs=OF_OTHER_DAYS, fill="reference")
    write_golden(folder)
    bundle = open_bundle(str(folder))
    assert check_golden(bundle) < GOLDEN_TOLERANCE
    with np.load(folder / "golden.npz") as file:
        golden = dict(file)
    assert golden["reference"].shape == golden["optical"].shape
    assert 0.1 < golden["reference_seen"].mean() < 0.99
    for name in ("reference", "reference_seen", "reference_error"):
        other = ~golden[name] if golden[name].dtype == bool else 0.5 - golden[name] / 2
        np.savez(folder / "golden.npz", **(golden | {name: other}))
        assert check_golden(bundle) > 10 * GOLDEN_TOLERANCE
    np.savez(folder / "golden.npz", **{k: v for k, v in golden.items() if k != "reference"})
    with pytest.raises(BundleError, match=r"golden file of .*reference"):
        check_golden(bundle)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_broken_golden_file_is_named(tmp_path: Path, damage: str) -> None:
    folder = write_tiny_gans(tmp_path / "b")
    write_golden(folder)
    file = folder / "golden.npz"
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(BundleError, match="golden file of"):
        check_golden(open_bundle(str(folder)))
