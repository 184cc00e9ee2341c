"""Pictures of the product."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cloudfree.product.layers import NO_DAYS
from cloudfree.product.report import (
    cloud_legend,
    cloud_map,
    days_legend,
    days_map,
    draw_preview,
    picture_px,
    radar_grey,
    reduced_shape,
    source_colours,
    source_legend,
    source_map,
    true_colour,
)
from tests.reports import make_look, make_looks

BANDS = ("B02", "B03", "B04", "B08")
LOW, HIGH = 0.0, 1000.0


def test_true_colour_is_red_green_blue_and_nodata_is_dark() -> None:
    numbers = np.zeros((4, 3, 5), np.uint16)
    numbers[:, 0, 0] = (1, 500, 2000, 9)
    picture = true_colour(numbers, BANDS, LOW, HIGH)
    assert picture.shape == (3, 5, 3)
    red, green, blue = picture[0, 0].tolist()
    assert red == 255
    assert 130 < green < 145
    assert blue == 20
    assert (picture[1:] == 20).all()


def test_without_true_colour_the_first_band_is_grey() -> None:
    numbers = np.full((1, 2, 3), 700, np.uint16)
    picture = true_colour(numbers, ("B08",), LOW, HIGH)
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (picture[..., 1] == picture[..., 2]).all()


def test_every_source_has_its_own_colour() -> None:
    colours = source_colours(np.arange(5, dtype=np.uint8)[None])
    assert len({tuple(colour) for colour in colours[0].tolist()}) == 5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((400, 900), (400, 900)), ((3000, 1800), (900, 540)), ((9000, 1), (900, 1))],
)
def test_reduced_shape_keeps_proportions(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert reduced_shape(shape, 900) == expected


def test_preview_holds_each_picture_where_it_belongs() -> None:
    shades = [np.full((40, 60, 3), shade, np.uint8) for shade in (30, 90)]
    look = replace(
        make_look("2024-06-15", shape=(40, 60)),
        observed=shades[0],
        product=shades[1],
        source=np.full((40, 60), 2, np.uint8),
    )
    png = draw_preview([look, replace(look, name="2024-06-20")])
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    middle = sheet[26 + 20]
    colours = [(30, 30, 30), (90, 90, 90), tuple(source_colours(look.source)[0, 0])]
    for colour in colours:
        assert (middle == colour).all(axis=-1).sum() == 60
    order = [int(np.flatnonzero((middle == c).all(axis=-1))[0]) for c in colours]
    assert order == sorted(order)


def test_the_preview_of_several_dates_is_small() -> None:
    png = draw_preview(make_looks(2))
    assert Image.open(io.BytesIO(png)).width < 1000


def test_radar_is_grey_between_its_extremes_and_black_where_there_is_none() -> None:
    decibel = np.linspace(-20, 0, 1001, dtype=np.float32).reshape(7, 143)
    decibel[3, 5] = np.nan
    grey, (low, high) = radar_grey(decibel)
    assert (low, high) == pytest.approx((-19.6, -0.4), abs=0.05)
    assert (grey[0, 0], grey[3, 5], grey[-1, -1]) == (0, 0, 255)
    assert 120 < grey[3, 71] < 135
    assert (radar_grey(np.full((2, 3), np.nan, np.float32))[0] == 0).all()


@pytest.mark.parametrize(
    ("draw", "legend", "codes"),
    [(source_map, source_legend, [1, 2, 3, 4, 0]), (cloud_map, cloud_legend, [0, 1, 2, 3, 4, 255])],
)
def test_maps_have_the_colours_of_their_legends(
    draw: Callable[..., str], legend: Callable[[], list[tuple[str, str]]], codes: list[int]
) -> None:
    kind, content = draw(np.array([codes] * 3, np.uint8)).split(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    drawn = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in np.asarray(picture)[1]]
    assert drawn == [colour for _, colour in legend()]
    assert len(set(drawn)) == len(codes)


def test_the_map_of_days_has_a_colour_for_each_class_of_distance_and_side() -> None:
    ends = [-366, -76, -75, -41, -40, -21, -20, -11, -10, -6, -5, -1]
    days = np.array([[*ends, 0, *(-end for end in reversed(ends)), NO_DAYS]] * 3, np.int16)
    picture = Image.open(io.BytesIO(base64.b64decode(days_map(days).split(",")[1])))
    drawn = ["#{:02x}{:02x}{:02x}".format(*c) for c in np.asarray(picture.convert("RGB"))[1]]
    before, same, after, none = drawn[:12], drawn[12], drawn[13:25], drawn[25]
    assert before[::2] == before[1::2] and after[::2] == after[1::2]
    shown = [*before[::2], same, *after[::2], none]
    assert len(set(shown)) == 14
    titles, colours = zip(*days_legend(days), strict=True)
    assert list(colours) == shown
    assert titles[1] == "41 to 75 days before" and titles[-2] == "76 days after, or more"
    few = np.array([[3, NO_DAYS]], np.int16)
    assert [name for name, _ in days_legend(few)] == ["1 to 5 days after", "not made of other days"]


def test_a_map_of_one_code_has_its_colour_too() -> None:
    _, content = cloud_map(np.full((4, 5), 1, np.uint8)).split(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")
    assert "#{:02x}{:02x}{:02x}".format(*picture.getpixel((2, 2))) == dict(cloud_legend())["cloud"]


def test_pictures_of_many_dates_share_the_room_of_two() -> None:
    assert picture_px(1) == picture_px(2) == 900
    assert 20 * picture_px(20) ** 2 == pytest.approx(2 * 900**2, rel=0.01)
    assert picture_px(10_000) > 50
