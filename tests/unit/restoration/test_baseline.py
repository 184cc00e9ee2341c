"""The model without weights: what it learns and what it keeps."""

import numpy as np
import pytest

from cloudfree.core.contract import Contract
from cloudfree.core.types import Masks, SceneFitted
from cloudfree.restoration.baseline import N_FEATURES, Baseline
from cloudfree.restoration.smoothing import gaussian

CONTRACT = Contract(name="b", version="1", network="baseline", window_px=64, stride_px=48)
MODEL = Baseline(contract=CONTRACT)
SHAPE = (3, 64, 64)
RNG = np.random.default_rng(12)
RADAR = np.clip(gaussian(RNG.normal(0, 3, SHAPE), 6.0), -1, 1)[:, None]
SEEN = np.kron(RNG.random((3, 4, 4)) < 0.5, np.ones((16, 16))).astype(bool)
MASKS = Masks(seen=SEEN, made=~SEEN)
TRUTH = np.stack(
    [0.1 + 0.5 * gaussian(RADAR[:, 0], 2.0), -0.3 - 0.4 * gaussian(RADAR[:, 0], 8.0)], axis=1
)
OPTICAL = np.where(SEEN[:, None], TRUTH, np.float32(-1)).astype(np.float32)


def fit(masks: Masks = MASKS) -> list[list[float]]:
    return MODEL.fit(OPTICAL, RADAR, masks)


def test_colour_that_follows_the_radar_is_found_where_it_is_hidden() -> None:
    found = MODEL.fitted(fit())(OPTICAL, RADAR, MASKS)
    assert np.abs(found - TRUTH)[:, 0][~SEEN].max() < 0.05
    assert np.abs(found - TRUTH)[:, 1][~SEEN].max() < 0.05


def test_only_seen_pixels_are_learnt_from() -> None:
    other = np.where(SEEN[:, None], OPTICAL, np.float32(1))
    assert MODEL.fit(other, RADAR, MASKS) == fit()


def test_with_nothing_seen_the_colour_is_the_middle_of_the_picture() -> None:
    nothing = Masks(seen=np.zeros(SHAPE, bool), made=np.ones(SHAPE, bool))
    numbers = fit(nothing)
    assert numbers == [[0.0] * N_FEATURES] * 2
    np.testing.assert_array_equal(MODEL.fitted(numbers)(OPTICAL, RADAR, nothing), 0 * TRUTH)


def test_a_fit_of_uniform_radar_is_finite() -> None:
    numbers = MODEL.fit(OPTICAL, np.full_like(RADAR, 0.25), MASKS)
    assert np.isfinite(numbers).all()


def test_the_answer_is_a_picture_like_the_one_given() -> None:
    steep = MODEL.fitted([[9.0] + [0.0] * 6, [-9.0] + [0.0] * 6])
    nothing = Masks(seen=np.zeros(SHAPE, bool), made=np.ones(SHAPE, bool))
    found = steep(OPTICAL, RADAR, nothing)
    assert (found.shape, found.dtype) == (OPTICAL.shape, np.float32)
    assert (found.min(), found.max()) == (-1, 1)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_window_does_not_depend_on_the_others_of_its_batch(index: int) -> None:
    model = MODEL.fitted(fit())
    together = model(OPTICAL, RADAR, MASKS)
    part = slice(index, index + 1)
    alone = model(OPTICAL[part], RADAR[part], Masks(seen=SEEN[part], made=~SEEN[part]))
    np.testing.assert_array_equal(together[part], alone)


def test_a_second_channel_of_radar_is_refused() -> None:
    with pytest.raises(ValueError, match="one channel of radar, not 2"):
        MODEL.fit(OPTICAL, RADAR.repeat(2, axis=1), MASKS)


def test_it_is_fitted_to_scenes() -> None:
    assert isinstance(MODEL, SceneFitted)
    assert MODEL.fitted([[1.0, 2.0]]).coefficients == ((1.0, 2.0),)
    assert MODEL.coefficients == ()
