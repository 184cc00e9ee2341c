from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cloudfree.check.figures import PlaceCheck, score, summarise, warn
from cloudfree.check.places import Blocks, choose_places, count_blocks

RGB = ("B04", "B03", "B02")


def test_places_are_counted_in_larger_pixels_too() -> None:
    seen = np.zeros((64, 96), bool)
    seen[:32, :32] = True
    hidden = np.zeros_like(seen)
    hidden[:32, 32:48] = True
    blocks = count_blocks(seen, hidden, (512, 768))
    assert blocks.seen.shape == (2, 3)
    np.testing.assert_allclose(blocks.seen, [[1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(blocks.hidden[0, :2], [0, 1])


def blocks(seen: float = 0.9, hidden: float = 0.4, shape: tuple[int, int] = (3, 4)) -> Blocks:
    return Blocks(seen=np.full(shape, seen), hidden=np.full(shape, hidden))


def test_places_are_spread_over_steps_and_drawn_by_the_seed() -> None:
    several = {2: blocks(), 5: blocks(), 9: blocks()}
    places = choose_places(several, 6, seed=3)
    assert [place.step for place in places] == [2, 5, 9, 2, 5, 9]
    assert len({(place.step, place.at) for place in places}) == 6
    assert all(place.cloud_from is not None for place in places)
    assert places == choose_places(several, 6, seed=3)
    assert places != choose_places(several, 6, seed=4)


def test_well_seen_places_come_first_and_unseen_ones_never() -> None:
    one = blocks(seen=0.1, shape=(2, 3))
    one.seen[1, 2], one.seen[0, 0] = 0.8, 0.0
    places = choose_places({0: one}, 5, seed=0)
    assert places[0].at == (1, 2)
    assert (0, 0) not in {place.at for place in places}


def test_a_single_place_is_used_again_under_other_mirrors() -> None:
    places = choose_places({0: blocks(shape=(1, 1))}, 8, seed=0)
    assert [place.mirror for place in places] == [0, 1, 2]


def test_without_a_cloud_of_the_scene_one_is_drawn() -> None:
    assert all(p.cloud_from is None for p in choose_places({0: blocks(hidden=0.0)}, 3, seed=0))
    assert choose_places({0: blocks(seen=0.0)}, 3, seed=0) == []
    assert choose_places({}, 3, seed=0) == []


def test_clouds_are_taken_where_most_hidden_pixels_lie() -> None:
    one = blocks(hidden=0.005, shape=(4, 4))
    one.hidden[1, 2], one.hidden[3, 0], one.hidden[0, 0] = 0.6, 0.02, 0.95
    taken = [place.cloud_from for seed in range(20) for place in choose_places({0: one}, 8, seed)]
    assert set(taken) == {(1, 2), (3, 0)}
    assert taken.count((1, 2)) > 10 * taken.count((3, 0))


def test_scores_are_sums_over_the_pixels_asked_for() -> None:
    rng = np.random.default_rng(0)
    actual = rng.integers(500, 3000, (4, 40, 50)).astype(np.uint16)
    where = np.zeros((40, 50), bool)
    where[10:20, 5:25] = True
    made = actual + np.uint16(100)
    sums = score(made, actual, where, (*RGB, "B08"))
    assert sums["absolute"] == pytest.approx(200 * 100)
    assert sums["squared"] == pytest.approx(200 * 100**2)
    assert 0 < sums["ssim"] < 200
    red, nir = actual[0].astype(float), actual[3].astype(float)
    ndvi = np.abs((nir - red) / (nir + red) - (nir - red) / (nir + red + 200))[where]
    assert sums["ndvi"] == pytest.approx(ndvi.sum(), rel=1e-6)
    same = score(actual, actual, where, RGB)
    assert (same["absolute"], same["squared"]) == (0, 0)
    assert same["ssim"] == pytest.approx(200)
    assert "ndvi" not in same


def test_beyond_white_the_picture_has_no_error_but_the_numbers_have() -> None:
    where = np.ones((12, 12), bool)
    snow = np.full((3, 12, 12), 8000, np.uint16)
    sums = score(np.full_like(snow, 5000), snow, where, RGB)
    assert sums["squared"] == 0
    assert sums["absolute"] == pytest.approx(3000 * 144)


def place(pixels: int, squared: float, seed: int = 0, contrast: float = 200.0) -> PlaceCheck:
    rng = np.random.default_rng(seed)
    signs = rng.random((3, 500)).astype(np.float32) * 100
    sums = {"squared": squared * pixels, "absolute": 50.0 * pixels, "sam_deg": 2.0 * pixels}
    return PlaceCheck(
        pixels=pixels, contrast=contrast, sums={"m": sums}, signs=signs, errors=signs[0] + 5
    )


def test_places_are_pooled_by_their_pixels() -> None:
    check = summarise([place(1000, 100.0**2), place(3000, 300.0**2)], [], seed=0, uncertain=False)
    figures = check.figures["models"]["m"]
    pooled = (1000 * 100.0**2 + 3000 * 300.0**2) / 4000
    assert figures["psnr_db"] == pytest.approx(10 * np.log10(3558**2 / pooled), abs=0.01)
    assert figures["psnr_db_low"] <= figures["psnr_db"] <= figures["psnr_db_high"]
    assert figures["mae"] == pytest.approx(0.005)
    assert figures["ndvi_mae"] is None
    assert check.figures["pixels"] == 4000
    assert check.calibrations == {}


def test_one_place_has_no_interval_and_none_says_why() -> None:
    one = summarise([place(1000, 100.0)], [], seed=0, uncertain=False).figures
    assert one["models"]["m"]["psnr_db_low"] is None
    none = summarise([], [], seed=0, uncertain=True)
    assert none.figures["models"] == {}
    assert "no place" in none.figures["why_not"]
    assert none.calibrations == {}


@pytest.mark.parametrize(("contrast", "says"), [(0, False), (19, False), (21, True), (200, True)])
def test_ground_without_contrast_says_nothing(contrast: float, says: bool) -> None:
    # a quarter of the pixels: pooled, the limit of 10 is reached at 20
    places = [place(3000, 1.0, contrast=0), place(1000, 1.0, contrast=contrast)]
    check = summarise(places, [], seed=0, uncertain=True)
    assert bool(check.figures["models"]) is says
    assert bool(check.calibrations) is says
    assert ("less than the noise of the instrument" in check.figures["why_not"]) is not says


def test_an_uncertainty_is_calibrated_on_the_places() -> None:
    check = summarise([place(900, 100.0, seed) for seed in range(3)], [], seed=0, uncertain=True)
    assert list(check.calibrations) == ["reconstructed"]
    assert check.calibrations["reconstructed"].weights[0] == pytest.approx(1, abs=0.01)
    curve = check.figures["calibration"]
    assert curve["rank_correlation"] > 0.95
    np.testing.assert_allclose(curve["expected"], curve["true"], atol=2e-4)


def test_what_other_days_made_is_told_of_apart() -> None:
    alone = [place(900, 100.0, seed) for seed in range(3)]
    others = [replace(one, pixels=300, signs=2 * one.signs, days=3000.0) for one in alone]
    check = summarise(alone, others, seed=0, uncertain=True)
    assert (check.figures["pixels"], check.figures["other_days"]["pixels"]) == (2700, 900)
    assert check.figures["other_days"]["mean_days"] == 10
    assert "other_days" not in summarise(alone, [], seed=0, uncertain=True).figures
    assert check.calibrations["other_days"].weights[0] == pytest.approx(0.5, abs=0.01)


def test_a_fill_that_is_closer_than_the_model_is_a_warning() -> None:
    def figures(**mae: float) -> dict[str, Any]:
        return {"models": {name: {"mae": one} for name, one in mae.items()}}

    assert warn(None) == []
    assert warn(figures()) == []
    assert warn(figures(small=0.01)) == []
    assert warn(figures(small=0.01, baseline=0.01, inpainting=0.02)) == []
    (said,) = warn(figures(small=0.03, baseline=0.02, inpainting=0.01))
    assert "found inpainting closer to what was seen than small" in said
    assert "by 0.0100 on average, not 0.0300" in said
    worse = {**figures(small=0.01, baseline=0.02), "other_days": figures(fusion=0.03, line=0.02)}
    (said,) = warn(worse)
    assert "found line closer to what was seen than fusion" in said
