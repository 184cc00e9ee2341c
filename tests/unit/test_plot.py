"""Pictures for the notebooks: what they show, not how they look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from cloudfree import plot

mpl.use("Agg")
HEIGHT, WIDTH = 30, 40


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def picture(seed: int = 0) -> xr.DataArray:
    values = np.random.default_rng(seed).uniform(0.02, 0.4, (4, HEIGHT, WIDTH))
    values[:, :5, :5] = np.nan
    return xr.DataArray(values, {"band": ["B02", "B03", "B04", "B08"]}, ("band", "y", "x"))


def sources() -> xr.DataArray:
    codes = np.ones((HEIGHT, WIDTH), np.uint8)
    codes[:5, :5] = 0
    codes[10:20, 10:30] = 2
    codes[25:, 35:] = 3
    codes[22:24, 10:30] = 4
    return xr.DataArray(codes, dims=("y", "x"))


def test_true_colour_shows_red_green_blue_and_nodata_in_grey() -> None:
    given = picture()
    shown = plot.true_colour(given, white=0.4)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert np.ptp(shown[:5, :5]) == 0
    order = np.argsort(given.sel(band=["B04", "B03", "B02"]).to_numpy()[:, 12, 12])
    np.testing.assert_array_equal(np.argsort(shown[12, 12]), order)
    assert plot.true_colour(given * 0, white=0.4)[10:].max() == 0


def test_ndvi_is_the_index() -> None:
    given = picture()
    red, infrared = given.sel(band="B04"), given.sel(band="B08")
    expected = (infrared - red) / (infrared + red)
    np.testing.assert_allclose(plot.ndvi(given), expected)
    assert plot.ndvi(given).dims == ("y", "x")


def test_the_legend_names_the_sources_that_occur_with_their_shares() -> None:
    figure = plot.draw_before_after(picture(), picture(1), sources())
    said = [text.get_text() for text in figure.axes[2].get_legend().get_texts()]
    assert said == ["seen (77%)", "reconstructed (17%)", "not restored (2%)", "of other days (3%)"]


def test_every_source_has_a_colour_of_its_own() -> None:
    _, axes = plt.subplots()
    codes = xr.DataArray(np.arange(5, dtype=np.uint8)[None], dims=("y", "x"))
    plot.draw_source(axes, codes)
    image = axes.get_images()[0]
    assert len({tuple(colour) for colour in image.cmap(image.norm(codes.to_numpy()))[0]}) == 5


@pytest.mark.parametrize("days", [[[-35.0, 10.0, np.nan]], [[np.nan] * 3], [[0.0] * 3]])
def test_days_before_and_after_have_colours_as_far_from_the_middle(days: Any) -> None:
    _, axes = plt.subplots()
    plot.draw_reference_days(axes, xr.DataArray(np.array(days), dims=("y", "x")))
    image = axes.get_images()[0]
    low, high = image.get_clim()
    assert low == -high < 0
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), days)
    assert np.nanmax(np.abs([days[0], [0, 0, 0]])) <= high


def test_a_series_tells_seen_from_made() -> None:
    time = xr.date_range("2024-01-01", periods=4, freq="MS")
    values = xr.DataArray([0.1, 0.5, 0.6, 0.2], {"time": time}, ("time",))
    seen = values.copy(data=[True, False, True, True])
    _, axes = plt.subplots()
    plot.draw_series(axes, values, seen, truth=values + 0.01)
    drawn = {line.get_label(): len(line.get_xdata()) for line in axes.get_lines()}
    assert drawn["seen"] == 3
    assert drawn["made"] == 1
    assert drawn["hidden truth"] == 4


def test_an_area_is_drawn_from_seen_pixels_and_from_all() -> None:
    time = xr.date_range("2024-01-01", periods=2, freq="MS")
    index = plot.ndvi(xr.concat([picture(), picture(1)], xr.Variable("time", time)))
    source = xr.concat([sources(), sources()], xr.Variable("time", time))
    top, below = plot.draw_area_course(index, source).axes
    lines = {line.get_label(): line.get_ydata() for line in top.get_lines()}
    expected = index.where(source == 1).mean(("y", "x"))
    np.testing.assert_allclose(lines["seen pixels only"], expected)
    assert below.patches[0].get_height() == pytest.approx(float((source[0] == 1).sum()) / 1175)


def test_errors_are_drawn_where_pixels_were_made() -> None:
    left, right, *_ = plot.draw_errors(picture(), picture() + 0.03, sources()).axes
    shown = left.get_images()[0].get_array()
    assert np.isfinite(np.ma.filled(shown, np.nan)).sum() == 200 + 40
    medians: Any = next(line for line in right.get_lines() if line.get_label() == "median")
    np.testing.assert_allclose(medians.get_ydata(), 0.03)


def test_a_calibrated_product_lies_on_the_line() -> None:
    stated = xr.DataArray(np.random.default_rng(0).uniform(0, 0.1, (60, 50)), dims=("y", "x"))
    axes = plot.draw_calibration(stated, stated).axes[0]
    medians: Any = next(line for line in axes.get_lines() if line.get_label() == "median")
    np.testing.assert_allclose(medians.get_xdata(), medians.get_ydata(), rtol=0.05)


def test_pictures_share_one_stretch_and_scores_are_ordered() -> None:
    figure = plot.draw_pictures({"a": picture(), "b": picture() * 0.5, "c": picture()}, columns=2)
    shown = [ax.get_images()[0].get_array() for ax in figure.axes[:3]]
    assert shown[1][10:].mean() < shown[0][10:].mean()
    bars = plot.draw_scores({"good": 0.1, "bad": 0.9}, "off").axes[0].patches
    assert [bar.get_width() for bar in bars] == [0.1, 0.9]
