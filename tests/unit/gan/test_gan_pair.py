"""The two GANs as one model of the walk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfree.core.errors import BundleError
from cloudfree.core.types import Masks, Model
from cloudfree.gan.pair import TwoGans
from cloudfree.restoration.bundle import open_bundle
from tests.gans import write_tiny_gans

SIDE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_bundle(str(write_tiny_gans(tmp_path_factory.mktemp("tiny")))).load()


def windows(count: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray, Masks]:
    rng = np.random.default_rng(count)
    made = np.zeros((count, side, side), bool)
    made[:, 10:40, 20:50] = True
    optical = rng.uniform(-1, 1, (count, 3, side, side)).astype(np.float32)
    optical[np.broadcast_to(made[:, None], optical.shape)] = -1
    radar = rng.uniform(-1, 1, (count, 1, side, side)).astype(np.float32)
    return optical, radar, Masks(seen=~made, made=made)


def test_candidates_are_pictures(model: Model) -> None:
    optical, radar, masks = windows(2)
    made = model(optical, radar, masks)
    assert made.shape == optical.shape
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    assert made.std() > 0.01


def test_a_window_does_not_depend_on_its_company(model: Model) -> None:
    optical, radar, masks = windows(5)
    together = model(optical, radar, masks)
    for index in range(5):
        one = slice(index, index + 1)
        alone = model(optical[one], radar[one], Masks(seen=masks.seen[one], made=masks.made[one]))
        np.testing.assert_array_equal(alone, together[one])


def test_a_picture_does_not_depend_on_the_number_of_threads(model: Model) -> None:
    assert isinstance(model, TwoGans)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)  # what the caller's own thread would use
            made.append(replace(model, threads=threads)(*windows(2, side=256)))
    finally:
        torch.set_num_threads(before)
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)


def test_models_at_work_at_the_same_time_leave_torch_its_threads(model: Model) -> None:
    assert isinstance(model, TwoGans)
    before = torch.get_num_threads()
    two, alone = replace(model, threads=2), model(*windows(2, side=128))
    try:
        with ThreadPoolExecutor(3) as chunks:
            for made in chunks.map(lambda _: two(*windows(2, side=128)), range(24)):
                np.testing.assert_array_equal(made, alone)
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_radar_matters_and_what_is_hidden_does_not(model: Model) -> None:
    optical, radar, masks = windows(1)
    made = model(optical, radar, masks)
    assert (model(optical, -radar, masks) != made).any()
    other = optical.copy()
    other[np.broadcast_to(masks.made[:, None], other.shape)] = 0.5
    np.testing.assert_array_equal(model(other, radar, masks), made)


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("width = 4\ninputs", "width = 8\ninputs", "do not fit"),
        ('role = "sar2opt"', 'role = "other"', "has no weights"),
        ('fill = "regression"', 'fill = "magic"', "magic"),
        ('generator = "drib"\nwidth = 4\n[cloud', 'generator = "x"\nwidth = 4\n[cloud', "'x'"),
    ],
)
def test_bundles_that_do_not_fit(tmp_path: Path, old: str, new: str, hint: str) -> None:
    folder = write_tiny_gans(tmp_path / "tiny")
    contract = (folder / "model.toml").read_text()
    assert old in contract
    (folder / "model.toml").write_text(contract.replace(old, new))
    with pytest.raises(BundleError, match=hint):
        open_bundle(str(folder)).load()
