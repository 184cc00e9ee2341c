"""The report of a real run, opened from a file in a browser, by keyboard, light and dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, sync_playwright

from cloudfree.synthetic.scenes import SyntheticScenes
from tests import needs
from tests.integration.products import make, open_raw, summary

_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)

_PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product in nine chunks."""
    out = tmp_path_factory.mktemp("report") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=256)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window; skips where this machine has none."""
    chromium = needs.program("chromium", "chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=_FLAGS.split(), timeout=_PATIENCE_MS
        )
        yield browser
        browser.close()


def photograph(where: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(where.screenshot())).convert("RGB"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_slider_moves_by_keyboard_and_the_page_asks_for_nothing(
    product: Path, browser: Browser, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1100, "height": 900})
    context.set_default_timeout(_PATIENCE_MS)
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = (product / "report.html").as_uri()
    page.goto(address)
    slider, picture = page.locator("input[type=range]"), page.locator(".slider")
    for _ in range(20):
        page.keyboard.press("Tab")
        if slider.evaluate("element => element === document.activeElement"):
            break
    assert slider.get_attribute("aria-valuetext") == "50 % observed, 50 % product"
    page.keyboard.press("End")
    observed = photograph(picture)
    page.keyboard.press("Home")
    product_shown = photograph(picture)
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "30 % observed, 70 % product"
    both = photograph(picture)
    width = both.shape[1]
    left, right = np.s_[60:-60, 60 : width // 4], np.s_[60:-60, width * 2 // 5 : -60]
    middle = both.shape[0] // 2  # where the thumb may lie
    clear = np.s_[60 : middle - 40]
    np.testing.assert_array_equal(both[left][clear], observed[left][clear])
    np.testing.assert_array_equal(both[right][clear], product_shown[right][clear])
    assert (observed[left][clear] != product_shown[left][clear]).any(axis=-1).mean() > 0.1
    assert (observed[right][clear] != product_shown[right][clear]).any(axis=-1).mean() > 0.1
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = int(re.findall(r"\d+", ground)[0])
    assert brightness > 200 if scheme == "light" else brightness < 60
    images = page.locator("img")
    assert images.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [address]
    context.close()


@pytest.mark.parametrize("width", [360, 1300])
def test_nothing_sticks_out_of_the_page(product: Path, browser: Browser, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.set_default_timeout(_PATIENCE_MS)
    page.goto((product / "report.html").as_uri())
    sizes = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert sizes[0] <= sizes[1]
    page.close()


def test_counts_are_those_of_the_cube_however_it_was_cut(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    make(tmp_path / "whole", aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=1024)
    pages = [(out / "report.html").read_text() for out in (product, tmp_path / "whole")]
    assert summary(product)["chunks"] > summary(tmp_path / "whole")["chunks"]
    charts = [re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL) for page in pages]
    assert len(charts[0]) == 4
    assert charts[0] == charts[1]
    cube = open_raw(product)
    source = cube.source.to_numpy()[0]
    for band, name in (("B04", "red"), ("B03", "green"), ("B02", "blue")):
        numbers = cube.reflectance.sel(band=band).to_numpy()[0]
        medians = [
            (np.floor(np.percentile(numbers[source == kind], 50, method="lower") / 50) + 0.5) * 5e-3
            for kind in (1, 2)
        ]
        said = f"{band} ({name}): median {medians[0]:.3f} seen, {medians[1]:.3f} made"
        assert said in pages[0]
    across = [
        np.abs(np.diff(cube.reflectance.to_numpy()[0].astype(int), axis=axis + 1)).mean(axis=0)[
            np.take(source, range(source.shape[axis] - 1), axis)
            * np.take(source, range(1, source.shape[axis]), axis)
            == 2
        ]
        for axis in (0, 1)
    ]
    assert f"differ by {np.concatenate(across).mean() / 1e4:.4f} on average" in pages[0]


def test_the_map_of_clouds_is_that_of_the_cube(product: Path) -> None:
    cube = open_raw(product)
    source, cloud = cube.source.to_numpy()[0], cube.cloud.to_numpy()[0]
    page = (product / "report.html").read_text()
    (said,) = re.findall(r'alt="Map of the mask: ([^"]*)"', page)
    shares = [float(share) for share in re.findall(r"([\d.]+) % (?:clear|cloudy|shadow)", said)]
    expected = [100 * (cloud[source > 0] == code).mean() for code in (0, 1, 2)]
    np.testing.assert_allclose(shares, expected, atol=0.06)
