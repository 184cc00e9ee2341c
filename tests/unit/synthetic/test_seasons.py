"""A year of synthetic scenes: one place, green in summer, the clouds of each day its own."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio

from cloudfree.synthetic.items import BANDS
from cloudfree.synthetic.landscape import LOOK
from cloudfree.synthetic.scenes import SyntheticYear, write_year
from cloudfree.synthetic.seasons import look_on

DAYS = ("2024-01-11", "2024-06-27", "2024-06-29")


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> SyntheticYear:
    return write_year(tmp_path_factory.mktemp("year"), seed=2, size_px=256, days=DAYS)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read().astype(np.float64)


def ndvi(numbers: np.ndarray) -> np.ndarray:
    red, infrared = (numbers[BANDS.index(band)] - 1000 for band in ("B04", "B08"))
    return (infrared - red) / (infrared + red)


def test_what_does_not_grow_looks_the_same_on_every_day() -> None:
    winter, summer = look_on(dt.date(2024, 1, 1)), look_on(dt.date(2024, 7, 1))
    still = (winter == summer).all(axis=1)
    np.testing.assert_array_equal(winter[still], LOOK[still])
    assert 9 <= still.sum() <= 10
    greener = (summer[:, 3] - summer[:, 2]) > (winter[:, 3] - winter[:, 2])
    assert greener[~still].mean() > 0.7


def test_fields_are_green_in_summer_and_the_same_fields_two_days_later(year: SyntheticYear) -> None:
    winter, summer, later = (ndvi(read(year.truths[day])[:, :, :150]) for day in DAYS)
    assert summer.mean() > winter.mean() + 0.15
    assert np.corrcoef(summer.ravel(), later.ravel())[0, 1] > 0.99


def test_clouds_and_speckle_are_others_on_every_day(year: SyntheticYear) -> None:
    first, second = (read(year.truths[day].with_name("SCL.tif")) for day in DAYS[1:])
    assert (first != second).mean() > 0.05
    first, second = (read(year.truths[day].with_name("vv.tif")) for day in DAYS[1:])
    assert (first != second).mean() > 0.99


def test_items_name_files_that_are_there(year: SyntheticYear) -> None:
    items = pystac.ItemCollection.from_file(str(year.items)).items
    assert len({item.id for item in items}) == 2 * len(DAYS)
    for item in items:
        for asset in item.assets.values():
            assert (year.items.parent / asset.href).is_file()
    assert year.interval == "2024-01-11/2024-06-29"
