"""What runs differently on CUDA. Needs a device; imports no geospatial library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfree.core.tables import build
from cloudfree.core.types import Masks
from cloudfree.gan.batches import Batches, CudaMemory
from cloudfree.gan.pair import TwoGans
from cloudfree.restoration.bundle import open_bundle
from cloudfree.train.batches import PatchSource
from cloudfree.train.loop import Trainer
from cloudfree.train.pairs import Pair
from cloudfree.train.settings import TrainSettings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SIDE = 256
ROUNDING = 1e-4
"""Of pictures in [-1, 1]; 2e-6 was measured on an H200. tf32 would be 5e-4 off, bf16 4e-2."""


def load_small() -> TwoGans:
    """Return the shipped model: untrained weights amplify rounding without limit."""
    model = open_bundle("small").load()
    assert isinstance(model, TwoGans)
    return model


@pytest.fixture(scope="module")
def on_cuda() -> TwoGans:
    return load_small().on_accelerator()


def windows(count: int) -> tuple[np.ndarray, np.ndarray, Masks]:
    rng = np.random.default_rng(count)
    made = np.kron(rng.random((count, 8, 8)) < 0.4, np.ones((SIDE // 8, SIDE // 8))).astype(bool)
    optical = rng.uniform(-1, 1, (count, 3, SIDE, SIDE)).astype(np.float32)
    radar = rng.uniform(-1, 1, (count, 1, SIDE, SIDE)).astype(np.float32)
    return optical, radar, Masks(seen=~made, made=made)


def test_the_device_gives_what_the_processor_gives(on_cuda: TwoGans) -> None:
    assert on_cuda.device.type == "cuda"
    expected = load_small()(*windows(6))
    assert expected.std() > 0.1
    np.testing.assert_allclose(on_cuda(*windows(6)), expected, atol=ROUNDING)


def test_a_window_depends_on_its_company_by_rounding_only(on_cuda: TwoGans) -> None:
    optical, radar, masks = windows(9)
    together = on_cuda(optical, radar, masks)
    for index in range(9):
        one = slice(index, index + 1)
        alone = on_cuda(optical[one], radar[one], Masks(seen=masks.seen[one], made=masks.made[one]))
        np.testing.assert_allclose(alone, together[one], atol=ROUNDING)


def test_the_same_batch_gives_the_same_bits(on_cuda: TwoGans) -> None:
    on_cuda(*windows(1))  # batches have their size from now on
    np.testing.assert_array_equal(on_cuda(*windows(7)), on_cuda(*windows(7)))


def test_a_batch_that_memory_does_not_hold_is_halved(on_cuda: TwoGans) -> None:
    expected = on_cuda(*windows(128))
    batches = Batches(CudaMemory())
    tight = replace(on_cuda, batches=batches)
    tight(*windows(1))
    batches.most = 128  # as if another process had taken memory since
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    left = torch.cuda.memory_reserved() + 400 * 2**20
    torch.cuda.set_per_process_memory_fraction(left / total)
    try:
        restored = tight(*windows(128))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert batches.most < 128
    np.testing.assert_allclose(restored, expected, atol=ROUNDING)


def make_trainer(folder: Path, readers: int) -> Trainer:
    rng = np.random.default_rng(1)
    pairs = [
        Pair(
            name=str(index),
            scene=str(index),
            kind="sen12",
            radar=layers[:1],
            optical=layers[1:],
            low_dn=np.full(3, 500, np.float32),
            high_dn=np.full(3, 3000, np.float32),
        )
        for index, layers in enumerate(rng.uniform(-1, 1, (4, 4, 96, 96)).astype(np.float16))
    ]
    settings = build(
        TrainSettings,
        {
            "patches": {"size_px": 64},
            "generator": {"width": 4},
            "loss": {"discriminator_width": 4},
            "optimiser": {"batch": 4, "steps": 6, "precision": "fp32"},
            "log": {"curve_every": 2, "save_every": 3, "norm_batches": 2},
        },
        "test",
    )
    return Trainer(settings, PatchSource(pairs, settings.patches), [], folder, readers=readers)


def test_a_training_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    whole = make_trainer(tmp_path / "whole", readers=0)
    assert next(whole.generator.parameters()).is_cuda
    whole.run()
    make_trainer(tmp_path / "parts", readers=2).run(until=3)
    resumed = make_trainer(tmp_path / "parts", readers=2)
    assert resumed.step == 3
    resumed.run()
    for name, value in whole.average.network.state_dict().items():
        other = resumed.average.network.state_dict()[name]
        torch.testing.assert_close(other, value, atol=1e-3, rtol=1e-3, msg=name)
