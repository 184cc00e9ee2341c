"""Backscatter as files store it; for reflectance see tests/property/test_stored_numbers.py."""

from __future__ import annotations

import numpy as np
import pytest

from cloudfree.pixels.numbers import FileNumbers, to_digital_numbers, to_power
from cloudfree.scenes.stored import Stored, read_stored

PLAIN = FileNumbers(nodata=None, scale=1, offset=0)


def test_power_is_kept_and_what_marks_nothing_is_nan() -> None:
    stored = np.array([[0.25, 0, -9999], [np.nan, np.inf, 3.5]], np.float32)
    power = to_power(stored, Stored(nodata=3.5), FileNumbers(nodata=-9999, scale=1, offset=0))
    expected = np.array([[0.25, 0, np.nan], [np.nan, np.nan, np.nan]], np.float32)
    np.testing.assert_array_equal(power, expected)
    assert power.dtype == np.float32


@pytest.mark.parametrize("unit", ["dB", "decibel"])
def test_decibel_that_are_named_become_power(unit: str) -> None:
    stored = np.array([[-20, 0, 3.0103], [-np.inf, -999, np.nan]], np.float32)
    item = read_stored({"href": "vv.tif", "raster:bands": [{"unit": unit, "nodata": -999}]})
    power = to_power(stored, item, PLAIN)
    np.testing.assert_allclose(power[0], [0.01, 1, 2], rtol=1e-4)
    assert power[1, 0] == 0  # no echo at all
    assert np.isnan(power[1, 1:]).all()


def test_scaled_decibel_are_scaled_first() -> None:
    stored = np.array([[-2000, 100]], np.int16)
    file = FileNumbers(nodata=None, scale=0.01, offset=0)
    power = to_power(stored, Stored(unit="db"), file)
    np.testing.assert_allclose(power, [[0.01, 10 ** (1 / 10)]], rtol=1e-4)


def test_what_is_no_number_is_refused() -> None:
    stored = np.zeros((2, 3), np.complex64)
    with pytest.raises(ValueError, match="complex64"):
        to_power(stored, Stored(), PLAIN)
    with pytest.raises(ValueError, match="complex64"):
        to_digital_numbers(stored, Stored(), PLAIN, 0)


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ({}, Stored()),
        ({"raster:bands": [{"offset": -0.1, "scale": 1e-4, "nodata": 0}]},
         Stored(scale=1e-4, offset=-0.1, nodata=0)),
        ({"bands": [{"name": "B02", "raster:scale": 1e-4, "raster:offset": 0}], "nodata": 0},
         Stored(scale=1e-4, offset=0, nodata=0)),
        ({"bands": [{"raster:offset": 0}], "raster:bands": [{"offset": -0.1}]}, Stored(offset=0)),
        ({"raster:scale": 1e-4, "raster:offset": -0.1}, Stored(scale=1e-4, offset=-0.1)),
        ({"raster:bands": [], "bands": None, "scale": True}, Stored()),
        ({"unit": "dB", "nodata": "inf"}, Stored(unit="db")),
        ({"scale": "nan", "offset": "-inf"}, Stored()),
    ],
)  # fmt: skip
def test_an_item_says_it_in_any_place(asset: dict[str, object], expected: Stored) -> None:
    assert read_stored({"href": "x.tif", **asset}) == expected


def test_an_offset_is_in_numbers_of_the_product() -> None:
    assert read_stored({"raster:bands": [{"scale": 5e-5, "offset": -0.1}]}).offset_dn == -1000
