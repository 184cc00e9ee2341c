"""What was seen spreads over what was not, and over what a model left."""

from dataclasses import replace

import numpy as np

from cloudfree.core.contract import Contract
from cloudfree.core.source import NODATA, NOT_RESTORED, RECONSTRUCTED, SEEN
from cloudfree.core.types import Masks
from cloudfree.restoration.inpainting import Inpainting, inpaint_rest, spread_seen
from cloudfree.restoration.rims import FittedPixels, fit_rims

SHAPE = (40, 56)
CONTRACT = Contract(name="i", version="1", network="auto")
RNG = np.random.default_rng(5)


def test_it_is_the_mean_colour_of_what_was_seen() -> None:
    optical = RNG.uniform(-1, 1, (3, 2, *SHAPE)).astype(np.float32)
    seen = RNG.random((3, *SHAPE)) < 0.4
    masks = Masks(seen=seen, made=~seen)
    model = Inpainting(contract=CONTRACT)
    model = model.fitted(model.fit(optical, optical[:, :1], masks))
    expected = [optical[:, band][seen].mean() for band in range(2)]
    np.testing.assert_allclose(model.colour, expected, rtol=1e-5)
    made = model(optical, optical[:, :1], masks)
    assert made.shape == optical.shape
    np.testing.assert_allclose(made[2, :, 7, 9], expected, rtol=1e-5)


def test_without_a_seen_pixel_it_is_the_middle() -> None:
    optical = np.full((1, 3, *SHAPE), 0.7, np.float32)
    nothing = np.zeros((1, *SHAPE), bool)
    model = Inpainting(contract=CONTRACT)
    assert model.fit(optical, optical, Masks(seen=nothing, made=~nothing)) == [[0, 0, 0]]


def test_what_was_seen_stays_and_spreads() -> None:
    numbers = np.full((2, *SHAPE), 900, np.uint16)
    numbers[:, :, 28:] = 1700
    seen = np.ones(SHAPE, bool)
    seen[10:20, 5:15] = seen[10:20, 40:50] = False
    found = spread_seen(numbers, seen, origin=(3, 5))
    np.testing.assert_array_equal(found[:, seen], numbers[:, seen])
    assert abs(found[:, 10:20, 5:15] - 900).max() < 100
    assert abs(found[:, 10:20, 40:50] - 1700).max() < 100


def parts() -> tuple[np.ndarray, Masks, FittedPixels]:
    """Return numbers, masks, and what a model made of the left half alone."""
    numbers = RNG.integers(900, 1100, (2, *SHAPE)).astype(np.uint16)
    there = np.ones(SHAPE, bool)
    there[-3:] = False
    hidden = np.zeros(SHAPE, bool)
    hidden[8:30, 10:46] = True
    masks = Masks(seen=there & ~hidden, made=there & hidden)
    covered = np.zeros(SHAPE, bool)
    covered[:, :28] = True
    limits = (np.full((2, 1, 1), 1, np.float32), np.full((2, 1, 1), 5000, np.float32))
    done = fit_rims(
        numbers,
        masks,
        candidate=np.full((2, *SHAPE), 3000, np.float32),
        covered=covered,
        limits=limits,
        origin=(0, 0),
    )
    return numbers, masks, done


def inpaint(done: FittedPixels, numbers: np.ndarray, masks: Masks, colour: float) -> FittedPixels:
    return inpaint_rest(
        done,
        numbers,
        masks,
        colour=np.full((2, *SHAPE), colour, np.float32),
        limits=(np.full((2, 1, 1), 1, np.float32), np.full((2, 1, 1), 1050, np.float32)),
        origin=(0, 0),
    )


def test_only_what_was_left_is_inpainted() -> None:
    numbers, masks, done = parts()
    left = done.source == NOT_RESTORED
    assert 0 < left.sum() < masks.made.sum()
    found = inpaint(done, numbers, masks, 1000.0)
    np.testing.assert_array_equal(found.reflectance[:, ~left], done.reflectance[:, ~left])
    assert (found.source[masks.made] == RECONSTRUCTED).all()
    assert (found.source[masks.seen] == SEEN).all()
    assert (found.source[-3:] == NODATA).all()
    made = found.reflectance[:, left].astype(int)
    assert abs(made - 1000).max() < 60
    assert made.max() <= 1050


def test_where_no_scene_shows_a_colour_it_stays_hidden() -> None:
    numbers, masks, done = parts()
    found = inpaint(done, numbers, masks, float("nan"))
    np.testing.assert_array_equal(found.source, done.source)
    np.testing.assert_array_equal(found.reflectance, done.reflectance)


def test_what_is_complete_is_given_back() -> None:
    numbers, masks, done = parts()
    whole = replace(done, source=np.where(masks.made, RECONSTRUCTED, done.source).astype(np.uint8))
    assert inpaint(whole, numbers, masks, 1000.0) is whole
