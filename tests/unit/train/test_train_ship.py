"""A bundle made of trainings runs like any other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cloudfree.core.errors import BundleError
from cloudfree.core.types import Masks
from cloudfree.restoration.bundle import GOLDEN_TOLERANCE, check_golden, open_bundle
from cloudfree.train.networks import build_network
from cloudfree.train.settings import GeneratorSettings, TrainSettings
from cloudfree.train.ship import ship

TASKS = ("sar2opt", "cloud_removal")


def train(
    folder: Path, task: str, fill: str = "inpaint", inputs: tuple[str, ...] = ("cloudy", "radar")
) -> Path:
    """Write what a training of no steps leaves."""
    torch.manual_seed(5)
    generator = GeneratorSettings(width=4, fill=fill, inputs=inputs, residual=True)
    settings = TrainSettings(task=task, generator=generator)
    state = build_network(settings).eval().state_dict()
    file = folder / f"{task}-best.safetensors"
    facts = {"settings": json.dumps(dataclasses.asdict(settings))}
    save_file({name: value.contiguous() for name, value in state.items()}, file, metadata=facts)
    return file


def test_a_shipped_bundle_loads_and_is_half_the_size(tmp_path: Path) -> None:
    sar2opt, cloud_removal = (train(tmp_path, task) for task in TASKS)
    ship(tmp_path / "b", name="b", version="7", cloud_removal=cloud_removal, sar2opt=sar2opt)
    bundle = open_bundle(str(tmp_path / "b"))
    assert bundle.contract.bands == ("B04", "B03", "B02")
    assert bundle.contract.stride_px == 128
    assert bundle.contract.cloud_removal is not None
    assert bundle.contract.cloud_removal.fill == "inpaint"
    kept = load_file(tmp_path / "b" / "sar2opt.safetensors")
    assert {v.dtype for k, v in kept.items() if k.endswith("weight")} == {torch.float16}
    assert {v.dtype for k, v in kept.items() if k.endswith("running_var")} == {torch.float32}
    assert (tmp_path / "b" / "sar2opt.safetensors").stat().st_size < 0.6 * sar2opt.stat().st_size
    optical = np.full((1, 3, 32, 32), -1, np.float32)
    hidden = np.ones((1, 32, 32), bool)
    made = bundle.load()(optical, optical[:, :1], Masks(seen=~hidden, made=hidden))
    assert made.shape == optical.shape
    assert np.isfinite(made).all()


def test_roles_are_not_mixed_up(tmp_path: Path) -> None:
    sar2opt = train(tmp_path, "sar2opt")
    with pytest.raises(BundleError, match="of task sar2opt; give one of cloud_removal"):
        ship(tmp_path / "b", name="b", version="1", cloud_removal=sar2opt, sar2opt=None)


@pytest.mark.parametrize(
    ("fill", "inputs", "shows_cloud"),
    [
        ("cloud", ("cloudy", "radar"), True),
        ("inpaint", ("cloudy", "radar"), False),
        ("inpaint", ("cloudy", "observed", "radar"), True),
    ],
)
def test_a_bundle_is_shown_cloud_only_if_it_looks_at_it(
    tmp_path: Path, fill: str, inputs: tuple[str, ...], shows_cloud: bool
) -> None:
    sar2opt = train(tmp_path, "sar2opt")
    cloud_removal = train(tmp_path, "cloud_removal", fill, inputs)
    ship(tmp_path / "b", name="b", version="1", cloud_removal=cloud_removal, sar2opt=sar2opt)
    assert open_bundle(str(tmp_path / "b")).contract.shows_cloud is shows_cloud


def test_the_command_writes_a_whole_bundle(
    tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    sar2opt, cloud_removal = (train(tmp_path, task) for task in TASKS)
    reference = {"mean_colour": [0.1, 0.2, 0.3], "regression": [[0.5, 0.25, 0.125]] * 7}
    (tmp_path / "reference.json").write_text(json.dumps(reference))
    out = tmp_path / "b"
    code, printed, _ = cloudfree(
        "bundle", "--sar2opt", sar2opt, "--cloud-removal", cloud_removal,
        "--name", "b", "--version", "2", "--level", "L1C", "--radar-kind", "grd", "--out", out,
    )  # fmt: skip
    assert code == 0
    assert f"--model {out}" in printed
    bundle = open_bundle(str(out))
    assert (bundle.contract.levels, bundle.contract.radar_kinds) == (("L1C",), ("grd",))
    assert bundle.contract.bars is not None
    assert bundle.contract.bars.mean_colour == (0.1, 0.2, 0.3)
    assert bundle.contract.bars.regression[6] == (0.5, 0.25, 0.125)
    assert check_golden(bundle) < GOLDEN_TOLERANCE


def test_the_command_names_a_file_that_is_no_training(
    tmp_path: Path, cloudfree: Callable[..., tuple[int, str, str]]
) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    code, _, error = cloudfree(
        "bundle", "--cloud-removal", tmp_path / "no.safetensors",
        "--name", "b", "--version", "2", "--out", tmp_path / "b",
    )  # fmt: skip
    assert code == 2
    assert len(error.strip().splitlines()) == 1
    assert "not the result of a training" in error
    assert not (tmp_path / "b").exists()
