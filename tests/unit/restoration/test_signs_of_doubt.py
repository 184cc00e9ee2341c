from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.contract import Contract
from cloudfree.core.types import Float32Array, Masks, OtherDaysPicture
from cloudfree.restoration.signs_of_doubt import MEMBERS, read_signs

CONTRACT = Contract(name="made", version="1", network="baseline")


@dataclass(frozen=True)
class Add:
    """Adds a fixed picture, whichever way the window is turned."""

    picture: Float32Array
    contract: Contract = CONTRACT

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        return optical + self.picture


@dataclass(frozen=True)
class AddAndTranslate(Add):
    """Also has a picture of the radar alone."""

    def translate_windows(self, radar: Float32Array) -> Float32Array:
        return np.repeat(radar, 3, axis=1)


def windows(seed: int = 0) -> tuple[Float32Array, Float32Array, Masks]:
    rng = np.random.default_rng(seed)
    seen = rng.random((2, 6, 8)) > 0.5
    optical = rng.random((2, 3, 6, 8)).astype(np.float32)
    return optical, rng.random((2, 1, 6, 8)).astype(np.float32), Masks(seen=seen, made=~seen)


def test_a_model_that_does_not_mind_being_turned_has_no_spread() -> None:
    optical, radar, masks = windows()
    model = Add(np.full((6, 8), 0.25, np.float32))
    signs = read_signs(model, optical, radar, masks, model(optical, radar, masks))
    assert signs.shape == (2, 2, 6, 8)
    np.testing.assert_allclose(signs, 0, atol=1e-6)


def test_the_spread_is_that_of_the_answers_to_mirrored_windows() -> None:
    optical, radar, masks = windows()
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (6, 8))
    model = Add(ramp)
    spread = read_signs(model, optical, radar, masks, model(optical, radar, masks))[:, 0]
    members = [ramp, ramp[:, ::-1], ramp, ramp[:, ::-1]]
    assert len(members) == MEMBERS
    np.testing.assert_allclose(spread, np.broadcast_to(np.std(members, axis=0), (2, 6, 8)), 1e-4)


def test_the_disagreement_is_between_the_radars_picture_and_the_answer() -> None:
    optical, radar, masks = windows()
    model = AddAndTranslate(np.zeros((6, 8), np.float32))
    signs = read_signs(model, optical, radar, masks, optical)
    np.testing.assert_allclose(signs[:, 1], np.abs(radar - optical).mean(axis=1), rtol=1e-5)


@dataclass(frozen=True)
class AddOtherDays(Add):
    """Also adds what other days say."""

    def fuse(
        self,
        optical: Float32Array,
        radar: Float32Array,
        masks: Masks,
        other_days: OtherDaysPicture | None,
    ) -> Float32Array:
        assert other_days is not None
        sure = np.where(other_days.known, 1 - other_days.error, 0)
        return self(optical, radar, masks) + sure[:, None] * other_days.picture


def test_what_other_days_say_is_mirrored_with_the_windows() -> None:
    optical, radar, masks = windows()
    rng = np.random.default_rng(1)
    other_days = OtherDaysPicture(
        picture=rng.uniform(-1, 1, optical.shape).astype(np.float32),
        known=rng.random((2, 6, 8)) > 0.4,
        error=rng.random((2, 6, 8)).astype(np.float32),
    )
    model = AddOtherDays(np.full((6, 8), 0.25, np.float32))
    candidate = model.fuse(optical, radar, masks, other_days)
    signs = read_signs(model, optical, radar, masks, candidate, other_days)
    np.testing.assert_allclose(signs, 0, atol=1e-6)
    alone = read_signs(model, optical, radar, masks, candidate)
    assert (alone[:, 0] > 0.1).any()
