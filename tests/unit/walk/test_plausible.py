"""Numbers that can be no reflectance, or no backscatter, are told in one line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cloudfree.core.errors import RequestError
from cloudfree.core.types import Masks
from cloudfree.pixels.observation import Observation
from cloudfree.walk.plausible import check_optical, check_radar
from tests.unit.pixels.test_observe import scene

SHAPE = (48, 60)
BANDS = ("B04", "B02")


def sample(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    seen = rng.random(SHAPE) < 0.7
    return Observation(
        reflectance=rng.integers(1, 6000, (2, *SHAPE)).astype(np.uint16),
        masks=Masks(seen=seen, made=~seen),
        decibel=rng.normal(-12, 4, (1, *SHAPE)).astype(np.float32),
        optical_scene=np.ones(SHAPE, np.uint16),
        radar_scene=np.ones(SHAPE, np.uint16),
    )


def test_ground_and_cloud_and_single_defects_pass() -> None:
    one = sample()
    one.reflectance[0, :2, :10] = 40_000
    check_optical(scene("s", {}), [one, sample(1)], BANDS)
    check_radar(scene("r", {}), [one, sample(1)], floor_db=-35)


def test_more_than_twice_the_light_is_impossible() -> None:
    one = sample()
    one.reflectance[1, :5] = 65_500
    with pytest.raises(
        RequestError, match=r"\d+% of the valid pixels in a sample of B02 of scene s"
    ):
        check_optical(scene("s", {}), [one], BANDS)
    # outside the swath nothing is said
    one.optical_scene[:5] = 0
    check_optical(scene("s", {}), [one], BANDS)


def test_ground_of_one_value_is_impossible() -> None:
    one = replace(sample(), reflectance=np.ones((2, *SHAPE), np.uint16))
    with pytest.raises(RequestError, match=r"same reflectance, 0.0001, 0.0001"):
        check_optical(scene("s", {}), [one], BANDS)
    one.reflectance[1, 0, 0] = 2
    check_optical(scene("s", {}), [one], BANDS)


@pytest.mark.parametrize(("decibel", "says"), [(-35, "not above -35 dB"), (38, "at 38 dB")])
def test_radar_that_is_no_linear_power_is_told(decibel: float, says: str) -> None:
    one = sample()
    one.decibel[0, : SHAPE[0] * 3 // 5] = decibel
    with pytest.raises(RequestError, match=f"sample of radar scene r lie {says}: .*decibel"):
        check_radar(scene("r", {}), [one], floor_db=-35)


def test_a_few_pixels_say_nothing() -> None:
    one = replace(sample(), optical_scene=np.zeros(SHAPE, np.uint16))
    one.reflectance[:] = 65_500
    one.decibel[:] = np.nan
    one.decibel[0, :4] = -35
    check_optical(scene("s", {}), [one], BANDS)
    check_radar(scene("r", {}), [one], floor_db=-35)
