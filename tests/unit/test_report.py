"""Pictures of the product."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cloudfree.report import reduced_shape, source_colours, true_colour, write_preview

BANDS = ("B02", "B03", "B04", "B08")
LOW, HIGH = np.zeros(4, np.float32), np.full(4, 1000, np.float32)


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
    picture = true_colour(numbers, ("B08",), LOW[:1], HIGH[:1])
    assert (picture[..., 0] == picture[..., 1]).all()
    assert (picture[..., 1] == picture[..., 2]).all()


def test_every_source_has_its_own_colour() -> None:
    colours = source_colours(np.arange(4, dtype=np.uint8)[None])
    assert len({tuple(colour) for colour in colours[0].tolist()}) == 4


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((400, 900), (400, 900)), ((3000, 1800), (900, 540)), ((9000, 1), (900, 1))],
)
def test_reduced_shape_keeps_proportions(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert reduced_shape(shape, 900) == expected


def test_preview_holds_each_picture_where_it_belongs(tmp_path: Path) -> None:
    shades = [np.full((40, 60, 3), shade, np.uint8) for shade in (30, 90, 150)]
    write_preview(tmp_path / "p.png", [("2024-06-15", shades), ("2024-06-20", shades[::-1])])
    sheet = np.asarray(Image.open(tmp_path / "p.png"))
    middle = sheet[26 + 20]
    for shade in (30, 90, 150):
        assert (middle == shade).all(axis=-1).sum() == 60
    order = [int(np.flatnonzero((middle == s).all(axis=-1))[0]) for s in (30, 90, 150)]
    assert order == sorted(order)
