"""The two GANs as one model of the walk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cloudfree.core.errors import BundleError
from cloudfree.core.types import Masks, Model, OtherDaysPicture
from cloudfree.gan.pair import TwoGans
from cloudfree.restoration.bundle import open_bundle
from tests.gans import OF_OTHER_DAYS, write_tiny_gans

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


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> TwoGans:
    """A model that is told what other days say."""
    folder = write_tiny_gans(tmp_path_factory.mktemp("told"), inputs=OF_OTHER_DAYS)
    model = open_bundle(str(folder)).load()
    assert isinstance(model, TwoGans)
    return model


def other_days(optical: np.ndarray) -> OtherDaysPicture:
    rng = np.random.default_rng(2)
    known = rng.random((len(optical), *optical.shape[2:])) < 0.7
    picture = rng.uniform(-1, 1, optical.shape).astype(np.float32)
    error = rng.uniform(0, 1, known.shape).astype(np.float32)
    return OtherDaysPicture(
        picture=np.where(known[:, None], picture, np.float32(-1)),
        known=known,
        error=np.where(known, error, np.float32(1)),
    )


def test_each_thing_that_other_days_say_matters(told: TwoGans) -> None:
    optical, radar, masks = windows(2)
    others = other_days(optical)
    made = told.fuse(optical, radar, masks, others)
    assert made.shape == optical.shape
    for change in (
        {"picture": -others.picture},
        {"known": ~others.known},
        {"error": others.error / 2},
    ):
        assert (told.fuse(optical, radar, masks, replace(others, **change)) != made).any()


def test_without_other_days_a_model_takes_them_to_know_nothing(told: TwoGans) -> None:
    optical, radar, masks = windows(2)
    nothing = OtherDaysPicture.empty(optical, fill=-1)
    assert (nothing.picture == -1).all()
    assert (nothing.error == 1).all()
    assert not nothing.known.any()
    alone = told(optical, radar, masks)
    np.testing.assert_array_equal(told.fuse(optical, radar, masks, nothing), alone)
    assert (told.fuse(optical, radar, masks, other_days(optical)) != alone).any()


def test_a_model_that_does_not_want_other_days_is_not_moved_by_them(model: Model) -> None:
    assert isinstance(model, TwoGans)
    optical, radar, masks = windows(2)
    told = model.fuse(optical, radar, masks, other_days(optical))
    np.testing.assert_array_equal(told, model(optical, radar, masks))


def test_other_days_do_not_mix_windows(told: TwoGans) -> None:
    optical, radar, masks = windows(3)
    others = other_days(optical)
    together = told.fuse(optical, radar, masks, others)
    for index in range(3):
        one = slice(index, index + 1)
        alone = told.fuse(
            optical[one],
            radar[one],
            Masks(seen=masks.seen[one], made=masks.made[one]),
            OtherDaysPicture(
                picture=others.picture[one], known=others.known[one], error=others.error[one]
            ),
        )
        np.testing.assert_array_equal(alone, together[one])


def test_an_estimate_moves_nothing_beyond_the_networks_reach(told: TwoGans) -> None:
    reach_px = 27 * 8 + 21  # of a DRIB network: at an eighth of the size, and between sizes
    rng = np.random.default_rng(4)
    shape = (1, 3, 32, 640)
    optical = rng.uniform(-1, 1, shape).astype(np.float32)
    radar, made = optical[:, :1], rng.random((1, 32, 640)) < 0.4
    masks, others = Masks(seen=~made, made=made), other_days(optical)
    other = others.picture.copy()
    other[0, :, 10:20, 100] += 0.5
    moved = told.fuse(optical, radar, masks, others) != told.fuse(
        optical, radar, masks, replace(others, picture=other)
    )
    columns = np.flatnonzero(moved.any(axis=(0, 1, 2)))
    assert {90, 100, 110} <= set(columns.tolist())
    assert columns.max() <= 100 + reach_px
