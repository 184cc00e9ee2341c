"""One fit a scene: what it makes of hidden pixels, what it is not misled by, and to the bit."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cloudfree.restoration.other_days import References, Sample, SceneFit, fit_scene, make_pixels
from cloudfree.restoration.other_days.evidence import OBSERVATIONS
from cloudfree.restoration.other_days.experts import DESIGNS, EXPERTS
from cloudfree.restoration.other_days.scene_fit import BLOCK_PX, MadePixels, ask_experts
from tests.other_days import BANDS, DAYS, HEIGHT, NOISE_DN, WIDTH, paint

PLACE = paint(DAYS)
NEAREST = int(np.argmin(np.abs(DAYS)))
"""Five days before; five days after is as near."""


def restore(sample: Sample) -> MadePixels:
    return make_pixels(fit_scene(sample), sample.references)


@cache
def fitted() -> tuple[SceneFit, MadePixels]:
    fit = fit_scene(PLACE.sample)
    return fit, make_pixels(fit, PLACE.sample.references)


def assert_same(one: MadePixels, other: MadePixels) -> None:
    for field in fields(MadePixels):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def some(made: MadePixels, where: Any) -> MadePixels:
    return MadePixels(**{f.name: getattr(made, f.name)[..., where] for f in fields(MadePixels)})


# what it makes


def test_fields_that_grow_are_made_almost_to_the_noise() -> None:
    _, made = fitted()
    assert PLACE.error(made.reflectance) < 3 * NOISE_DN


def test_the_fusion_is_no_worse_than_any_expert() -> None:
    fit, made = fitted()
    answers = ask_experts(fit, PLACE.sample.references)
    errors = {expert: PLACE.error(answer) for expert, answer in answers.items()}
    assert tuple(errors) == EXPERTS
    assert PLACE.error(made.reflectance) < 1.03 * min(errors.values())
    assert errors["closest"] > 2 * min(errors.values())


def test_the_referee_foresees_the_error_of_hidden_pixels() -> None:
    fit, made = fitted()
    foreseen = np.sqrt(np.mean(fit.judged[-1] ** 2))
    assert PLACE.error(made.reflectance) == pytest.approx(foreseen, rel=0.3)
    error = np.abs(made.reflectance - PLACE.target).mean(axis=0)[PLACE.hidden]
    assert made.expected_error[PLACE.hidden].mean() == pytest.approx(error.mean(), rel=0.3)
    assert (fit.judged[-1] <= fit.judged[:-1].min(axis=0) * 1.02).all()


def test_weights_are_shares() -> None:
    fit, _ = fitted()
    assert (fit.weights >= 0).all()
    np.testing.assert_allclose(fit.weights.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("index", [NEAREST, 0])
def test_a_reference_equal_to_the_target_gives_it_back(index: int) -> None:
    refs = PLACE.sample.references
    numbers = refs.reflectance.copy()
    numbers[index] = np.rint(PLACE.target)
    clear = refs.clear.copy()
    if index != NEAREST:
        clear[NEAREST] = False
    made = restore(PLACE.given(reflectance=numbers, clear=clear))
    assert PLACE.error(made.reflectance) <= 10
    roofs = PLACE.hidden & (PLACE.target[0] > 6000)
    assert roofs.sum() >= 5
    assert PLACE.error(made.reflectance, roofs) <= 10


def test_gain_and_offset_of_a_reference_make_no_difference() -> None:
    refs = PLACE.sample.references
    numbers = refs.reflectance.astype(np.float64)
    numbers[[1, NEAREST]] = numbers[[1, NEAREST]] * 1.3 + 500
    made = restore(PLACE.given(reflectance=np.rint(numbers).astype(np.uint16)))
    _, plain = fitted()
    difference = (made.reflectance - plain.reflectance)[:, PLACE.hidden]
    assert np.sqrt(np.mean(difference**2)) <= 5


# what it is not misled by


@pytest.mark.parametrize("brightness", [1500, 4000])
@pytest.mark.parametrize("index", [0, 2, NEAREST, 5])
def test_a_cloud_left_in_one_reference_does_not_come_through(index: int, brightness: int) -> None:
    cloud = np.zeros((HEIGHT, WIDTH), bool)
    cloud[22:40, 30:50] = True
    numbers = PLACE.sample.references.reflectance.copy()
    numbers[index][:, cloud.ravel()] += np.uint16(brightness)
    made = restore(PLACE.given(reflectance=numbers))
    _, plain = fitted()
    before = PLACE.error(plain.reflectance, cloud.ravel())
    assert PLACE.error(made.reflectance, cloud.ravel()) < before + 25


def test_a_shadow_left_in_one_reference_does_not_come_through() -> None:
    shadow = np.zeros((HEIGHT, WIDTH), bool)
    shadow[22:40, 30:50] = True
    numbers = PLACE.sample.references.reflectance.copy()
    numbers[NEAREST][:, shadow.ravel()] //= 3
    made = restore(PLACE.given(reflectance=numbers))
    bright = shadow.ravel() & (PLACE.target[3] > 2200)
    assert PLACE.error(made.reflectance, bright) < PLACE.error(fitted()[1].reflectance, bright) + 25


def test_cloud_left_in_the_target_teaches_nothing() -> None:
    cloud = np.zeros((HEIGHT, WIDTH), bool)
    cloud[2:10, 4:24] = True
    target = PLACE.sample.reflectance.copy()
    target[:, cloud.ravel()] += 3000
    made = restore(replace(PLACE.sample, reflectance=target))
    assert PLACE.error(made.reflectance) < PLACE.error(fitted()[1].reflectance) + 5


def test_snow_on_one_side_only_is_no_reference() -> None:
    refs = PLACE.sample.references
    snow = np.zeros(refs.clear.shape, bool)
    snow[DAYS < 0] = PLACE.hidden
    numbers = refs.reflectance.copy()
    numbers[snow.nonzero()[0], :, snow.nonzero()[1]] = 7000
    without = replace(PLACE.sample, references=replace(refs, clear=refs.clear & ~snow))
    made = restore(PLACE.given(reflectance=numbers, snow=snow))
    assert_same(made, restore(without))
    assert set(made.nearest[PLACE.hidden]) == {int(np.flatnonzero(DAYS > 0)[0])}
    assert PLACE.error(made.reflectance) < 60


def test_ground_that_radar_saw_change_is_not_filled_with_the_old() -> None:
    swapped = np.zeros((HEIGHT, WIDTH), bool)
    swapped[24:32, 32:48] = True
    refs = PLACE.sample.references
    rng = np.random.default_rng(8)
    change = rng.normal(1.5, 0.4, (len(DAYS), 2, HEIGHT * WIDTH)).astype(np.float32)
    change[:, 0, swapped.ravel()] += 6
    change[:, :, ::17] = np.nan
    made = restore(PLACE.given(radar_change_db=change))
    told = swapped.ravel() & np.isfinite(change[0, 0])
    assert (made.count[told] == 0).all()
    assert (made.count[~swapped.ravel()] == 2 * OBSERVATIONS).mean() > 0.99
    change[DAYS > 0, 0, :] -= 6 * swapped.ravel()
    after = restore(PLACE.given(radar_change_db=change))
    assert (DAYS[after.nearest[told]] > 0).all()
    assert (after.count[told] == (DAYS > 0).sum()).all()
    assert refs.radar_change_db is None


# little to go by


def test_without_references_nothing_is_made() -> None:
    none = PLACE.sample.references.take_references(np.zeros(0, np.int64))
    made = restore(replace(PLACE.sample, references=none))
    assert (made.count == 0).all()
    assert (made.nearest == -1).all()
    assert (made.reflectance == 0).all()
    assert np.isnan(made.expected_error).all()


def test_what_no_other_day_saw_is_not_made() -> None:
    clear = PLACE.sample.references.clear.copy()
    clear[:, 2400:2700] = False
    made = restore(PLACE.given(clear=clear))
    nothing = np.zeros(HEIGHT * WIDTH, bool)
    nothing[2400:2700] = True
    np.testing.assert_array_equal(made.count == 0, nothing)
    assert (made.reflectance[:, nothing] == 0).all()
    assert (made.nearest[nothing] == -1).all()
    assert PLACE.error(made.reflectance, PLACE.hidden & ~nothing) < 3 * NOISE_DN


def test_one_reference_serves() -> None:
    after = NEAREST + 1
    one = PLACE.sample.references.take_references(np.array([after]))
    sample = replace(PLACE.sample, references=one)
    made = restore(sample)
    assert set(made.count) == {1}
    assert set(made.nearest) == {0}
    assert set(made.nearest_days) == {DAYS[after]}
    raw = one.reflectance[0].astype(np.float64)
    assert PLACE.error(made.reflectance) < PLACE.error(raw)


def test_two_references_on_one_day() -> None:
    twice = np.array([3, 3, 4, 4])
    refs = PLACE.sample.references.take_references(twice)
    made = restore(replace(PLACE.sample, references=refs))
    single = PLACE.sample.references.take_references(np.array([3, 4]))
    expected = restore(replace(PLACE.sample, references=single))
    assert set(made.count) == {4}
    assert PLACE.error(made.reflectance) == pytest.approx(PLACE.error(expected.reflectance), abs=5)


def test_a_reference_on_the_targets_own_day_counts_as_after() -> None:
    days = DAYS.copy()
    days[4] = 0
    made = restore(PLACE.given(days=days))
    assert set(made.nearest) == {4}
    assert set(made.nearest_days) == {0}


@pytest.mark.parametrize("band", [0, 3])
def test_a_band_that_one_reference_does_not_have_comes_from_its_others(band: int) -> None:
    numbers = PLACE.sample.references.reflectance.copy()
    numbers[NEAREST, band] = 0
    made = restore(PLACE.given(reflectance=numbers))
    assert (made.count == 2 * OBSERVATIONS).mean() > 0.8
    assert PLACE.error(made.reflectance) < PLACE.error(fitted()[1].reflectance) + 15


def test_with_few_seen_pixels_the_line_makes_all() -> None:
    seen = np.zeros(HEIGHT * WIDTH, bool)
    seen[:150] = True
    fit = fit_scene(replace(PLACE.sample, seen=seen))
    assert not fit.learnt
    assert np.isnan(fit.judged).all()
    made = make_pixels(fit, PLACE.sample.references)
    refs = PLACE.sample.references.reflectance.astype(np.float64)
    middle = (refs[NEAREST] + refs[NEAREST + 1]) / 2
    np.testing.assert_allclose(made.reflectance, middle, atol=0.01)


def test_with_no_more_seen_than_needed_experts_that_know_too_little_get_no_say() -> None:
    seen = np.zeros((HEIGHT, WIDTH), bool)
    seen[:32, :8] = seen[:12, 8:16] = seen[:, 70:73] = True
    fit = fit_scene(replace(PLACE.sample, seen=seen.ravel() & PLACE.sample.seen))
    made = make_pixels(fit, PLACE.sample.references)
    line = ask_experts(fit, PLACE.sample.references)["line"]
    assert fit.learnt
    assert PLACE.error(made.reflectance) < 1.1 * PLACE.error(line)


def test_nothing_seen_at_all_is_no_error() -> None:
    made = restore(replace(PLACE.sample, seen=np.zeros(HEIGHT * WIDTH, bool)))
    assert np.isfinite(made.reflectance).all()
    assert PLACE.error(made.reflectance) < 600


def test_made_pixels_that_have_less_are_practised() -> None:
    """Seen pixels have eight observations, the hidden ones two that say little."""
    clear = PLACE.sample.references.clear.copy()
    clear[1:7, PLACE.hidden] = False
    made = restore(PLACE.given(clear=clear))
    unaware = replace(PLACE.given(clear=clear), made=np.zeros(HEIGHT * WIDTH, bool))
    fit = fit_scene(unaware)
    plain = make_pixels(fit, unaware.references)
    assert PLACE.error(made.reflectance) < 0.9 * PLACE.error(plain.reflectance)


def test_what_counts_only_where_a_nearer_one_is_missing_is_practised() -> None:
    """The oldest day shows the truth; seen pixels have four nearer ones before, hidden three."""
    place = paint(np.insert(DAYS, 0, -50))
    numbers = place.sample.references.reflectance.copy()
    numbers[0] = np.rint(place.target)
    clear = np.ones(numbers[:, 0].shape, bool)
    clear[3, place.hidden] = False
    made = restore(place.given(reflectance=numbers, clear=clear))
    assert place.error(made.reflectance) < NOISE_DN


# what a pixel says of itself


def test_pixels_say_what_they_are_made_of() -> None:
    refs = PLACE.sample.references
    rng = np.random.default_rng(2)
    clear = rng.random(refs.clear.shape) < 0.4
    order = rng.permutation(len(DAYS))
    sample = PLACE.given(
        clear=clear[order], days=DAYS[order].astype(np.int64), reflectance=refs.reflectance[order]
    )
    made = restore(sample)
    some_left = clear.any(axis=0)
    np.testing.assert_array_equal(made.count > 0, some_left)
    assert (made.count <= clear.sum(axis=0)).all()
    days = DAYS[order][made.nearest]
    np.testing.assert_array_equal(made.nearest_days, np.where(some_left, days, 0))
    assert clear[order][made.nearest, np.arange(clear.shape[1])][some_left].all()
    distance = np.where(clear, np.abs(DAYS)[:, None], 999).min(axis=0)
    assert (np.abs(days) == distance)[some_left].mean() > 0.97


def test_the_expected_error_is_large_where_the_error_is() -> None:
    """A third of the place has one observation, a month old."""
    clear = PLACE.sample.references.clear.copy()
    poor = np.zeros((HEIGHT, WIDTH), bool)
    poor[:, ::3] = True
    clear[1:, poor.ravel()] = False
    made = restore(PLACE.given(clear=clear))
    error = np.abs(made.reflectance - PLACE.target).mean(axis=0)
    for where in (PLACE.hidden & poor.ravel(), PLACE.hidden & ~poor.ravel()):
        assert made.expected_error[where].mean() == pytest.approx(error[where].mean(), rel=0.35)
    told, error = made.expected_error[PLACE.hidden], error[PLACE.hidden]
    hard = told > np.quantile(told, 0.8)
    assert error[hard].mean() > 2 * error[~hard].mean()


def test_disagreement_is_how_far_learning_experts_lie_from_the_fusion() -> None:
    fit, made = fitted()
    answers = ask_experts(fit, PLACE.sample.references)
    apart = np.stack([answers[name] - made.reflectance for name in DESIGNS])
    expected = np.sqrt(np.mean(apart**2, axis=0)).mean(axis=0)
    np.testing.assert_allclose(made.disagreement, expected, rtol=1e-3, atol=1e-2)


# to the bit


def test_any_cutting_and_order_gives_the_same_bits() -> None:
    fit, whole = fitted()
    refs = PLACE.sample.references
    assert refs.pixels > BLOCK_PX
    rng = np.random.default_rng(1)
    for where in (
        slice(0, 1), slice(4095, 4098), slice(123, 5001), rng.permutation(refs.pixels),
        rng.choice(refs.pixels, 77), np.zeros(0, np.int64),
    ):  # fmt: skip
        assert_same(make_pixels(fit, refs.take_pixels(where)), some(whole, where))


def test_single_pixels_give_the_same_bits() -> None:
    fit, whole = fitted()
    for pixel in (0, 17, 4096, 5119):
        one = slice(pixel, pixel + 1)
        assert_same(make_pixels(fit, PLACE.sample.references.take_pixels(one)), some(whole, one))


def test_the_order_of_references_makes_no_difference() -> None:
    order = np.array([5, 2, 7, 0, 1, 6, 4, 3])
    refs = PLACE.sample.references.take_references(order)
    fit = fit_scene(replace(PLACE.sample, references=refs))
    assert fit.to_bytes() == fitted()[0].to_bytes()
    made = make_pixels(fit, refs)
    np.testing.assert_array_equal(made.reflectance, fitted()[1].reflectance)
    np.testing.assert_array_equal(order[made.nearest], fitted()[1].nearest)


def test_a_fit_is_kept_as_bytes() -> None:
    fit, made = fitted()
    content = fit.to_bytes()
    assert fit_scene(PLACE.sample).to_bytes() == content
    again = SceneFit.from_bytes(content)
    assert again.to_bytes() == content
    assert_same(make_pixels(again, PLACE.sample.references), made)


def test_threads_make_no_difference() -> None:
    code = """
import hashlib, sys, torch
torch.set_num_threads(int(sys.argv[1]))
from cloudfree.restoration.other_days import fit_scene, make_pixels
from tests.other_days import DAYS, paint
sample = paint(DAYS).sample
fit = fit_scene(sample)
made = make_pixels(fit, sample.references)
assert torch.get_num_threads() == int(sys.argv[1])
print(hashlib.sha256(fit.to_bytes() + made.reflectance.tobytes()).hexdigest())
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", code, threads],
            capture_output=True, text=True, check=True, timeout=200,
        ).stdout
        for threads in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


# wrong input


def test_bytes_that_are_no_fit_are_refused() -> None:
    content = fitted()[0].to_bytes()
    for wrong in (b"", b"PK", content[:-40]):
        with pytest.raises(ValueError, match=f"^{len(wrong)} bytes are no fit of a scene: "):
            SceneFit.from_bytes(wrong)


def test_references_that_the_fit_does_not_know_are_refused() -> None:
    fit, _ = fitted()
    other = PLACE.sample.references.take_references(np.arange(3))
    with pytest.raises(ValueError, match=r"days \[-35, -20, -15\] .* fit the scene to these"):
        make_pixels(fit, other)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clear", np.ones((2, 5), bool)),
        ("days", np.zeros(7, np.int64)),
        ("snow", np.ones((8, 4), bool)),
        ("radar_change_db", np.zeros((8, 5), np.float32)),
        ("radar_change_db", np.zeros((8, 2, 4), np.float32)),
    ],
)
def test_shapes_that_do_not_fit_are_named(field: str, value: np.ndarray) -> None:
    given = {
        "reflectance": np.ones((8, BANDS, 5), np.uint16),
        "clear": np.ones((8, 5), bool),
        "days": np.arange(8),
        field: value,
    }
    with pytest.raises(ValueError, match=f"^{field} has the shape"):
        References(**given)


def test_samples_that_do_not_fit_their_references_are_named() -> None:
    with pytest.raises(ValueError, match=r"^seen has the shape \(3,\), not \(5120,\)"):
        replace(PLACE.sample, seen=np.ones(3, bool))
