"""What a step shows of a place: overlaps decided, harmonised, masked; from files on disk."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.config import GridSettings, MaskSettings, RunSettings
from cloudfree.core.errors import ReadError
from cloudfree.core.types import UInt8Array, Unsigned
from cloudfree.pixels.masks import CLEAR, CLOUDY, DILATED
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import observe
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene, Step

LEFT, TOP = 464640, 3773760
HEIGHT, WIDTH = 24, 36
BOX = GeoBox((HEIGHT, WIDTH), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32611")
BANDS = ("B04", "B02")
NOON = dt.datetime(2024, 6, 15, 18, tzinfo=dt.UTC)
PLAIN = MaskSettings(dilation_m=10, min_area_m2=0)
SETTINGS = RunSettings(grid=GridSettings(bands=BANDS), masks=PLAIN)
RNG = np.random.default_rng(31)


class NoClock:
    """Measures nothing."""

    @contextlib.contextmanager
    def row(self, name: str) -> Iterator[None]:
        yield


def save(path: Path, pixels: np.ndarray, nodata: float | None = None) -> str:
    height, width = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype=pixels.dtype,
        crs="EPSG:32611", transform=BOX.affine, nodata=nodata,
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    return str(path)


def scene(name: str, hrefs: dict[str, str], baseline: str = "") -> Scene:
    corners = BOX.geographic_extent.boundingbox.bbox
    return Scene(
        id=name,
        collection="c",
        time=NOON,
        platform="s",
        footprint=shapely.box(*corners),
        hrefs=hrefs,
        datatake="",
        tile="",
        orbit_state="",
        baseline=baseline,
        kind="L2A",
        offset=Offset(dn=-1000 if baseline >= "04" else 0, why="test"),
        cloud_percent=None,
        assets={},
    )


def optical(
    folder: Path, name: str, dn: np.ndarray, classes: np.ndarray | None, baseline: str
) -> Scene:
    hrefs = {
        band: save(folder / f"{name}_{band}.tif", layer.astype(np.uint16))
        for band, layer in zip(BANDS, dn, strict=True)
    }
    if classes is not None:
        hrefs["SCL"] = save(folder / f"{name}_SCL.tif", classes.astype(np.uint8))
    return scene(name, hrefs, baseline)


def radar(folder: Path, name: str, power: np.ndarray) -> Scene:
    return scene(name, {"vv": save(folder / f"{name}.tif", power.astype(np.float32), np.nan)})


def look(
    optical: tuple[Scene, ...], radar: tuple[Scene, ...], masks: MaskSettings = PLAIN
) -> tuple[Observation, UInt8Array]:
    step = Step(time=NOON, optical=optical, radar=radar, polarizations=("vv",), radar_age_h=None)
    settings = replace(SETTINGS, masks=masks)
    return observe(step, BOX, settings, Fetcher(SETTINGS.cube, Unsigned()), NoClock())


DN = RNG.integers(1500, 9000, (2, HEIGHT, WIDTH))
OTHER = RNG.integers(1500, 9000, (2, HEIGHT, WIDTH))
CLEAR_SKY = np.full((HEIGHT, WIDTH), 4)


def test_seen_in_any_tile_goes_before_cloudy_in_the_first(tmp_path: Path) -> None:
    cloudy, other = CLEAR_SKY.copy(), CLEAR_SKY.copy()
    cloudy[8:12, 10:20] = 9
    other[:, 16:] = 0
    first = optical(tmp_path, "a", DN, cloudy, "03.01")
    second = optical(tmp_path, "b", OTHER, other, "05.10")
    seen, cloud = look((first, second), ())
    helped = np.zeros((HEIGHT, WIDTH), bool)
    helped[8:12, 9:16] = helped[7:13, 10:16] = True
    helped[8:12, 15] = False  # the first's cloud goes on where the second ends, and grows into it
    np.testing.assert_array_equal(seen.optical_scene, np.where(helped, 2, 1))
    np.testing.assert_array_equal(seen.reflectance, np.where(helped, OTHER - 1000, DN))
    left = np.zeros_like(helped)
    left[8:12, 15:20] = True
    np.testing.assert_array_equal(cloud == CLOUDY, left)
    assert (cloud[helped] == CLEAR).all()
    np.testing.assert_array_equal(seen.masks.made, cloud != CLEAR)
    np.testing.assert_array_equal(seen.masks.seen, cloud == CLEAR)


def test_every_scene_has_its_own_offset_and_dark_ground_stays(tmp_path: Path) -> None:
    dn = DN.copy()
    dn[:, 3, 5], dn[0, 3, 6] = 700, 0
    seen, _ = look((optical(tmp_path, "a", dn, CLEAR_SKY, "04.00"),), ())
    expected = np.maximum(dn - 1000, 1)
    expected[:, 3, 6] = 0  # below the offset in one band: the end of that band's strip
    np.testing.assert_array_equal(seen.reflectance, expected)
    assert seen.masks.seen.sum() == seen.masks.seen.size - 1


def test_nodata_is_neither_seen_nor_made(tmp_path: Path) -> None:
    classes = CLEAR_SKY.copy()
    classes[:, :7] = 0
    classes[5, 7] = 8
    seen, cloud = look((optical(tmp_path, "a", DN, classes, ""),), ())
    assert not (seen.masks.seen | seen.masks.made)[:, :7].any()
    assert (seen.reflectance[:, :, :7] == 0).all()
    assert (cloud[:, :7] == CLEAR).all()
    assert (cloud[5, 7], cloud[5, 8]) == (CLOUDY, DILATED)


def hazy(dn: np.ndarray, offset: int) -> np.ndarray:
    """Where B02 - 0.5 B04 is above 0.12; an independent reckoning of the detector's test."""
    red, blue = (dn + offset) / 10_000
    return blue - 0.5 * red > 0.12


def test_without_a_classification_a_detector_finds_the_clouds(tmp_path: Path) -> None:
    dn = DN.copy()
    dn[:, :4] = 0
    undilated = MaskSettings(dilation_m=0, min_area_m2=0)
    seen, cloud = look((optical(tmp_path, "a", dn, None, "05.10"),), (), undilated)
    valid = (dn != 0).any(axis=0)
    assert 0.2 < hazy(dn, -1000)[valid].mean() < 0.8
    assert (hazy(dn, -1000) != hazy(dn, 0))[valid].any()
    np.testing.assert_array_equal(cloud == CLOUDY, valid & hazy(dn, -1000))
    np.testing.assert_array_equal(seen.masks.seen, valid & ~hazy(dn, -1000))


def test_a_detector_reads_bands_that_the_product_has_not(tmp_path: Path) -> None:
    dark = np.full((2, HEIGHT, WIDTH), 500)
    cirrus = np.full((HEIGHT, WIDTH), 20)
    cirrus[4:9, 11:19] = 300
    bare = optical(tmp_path, "a", dark, None, "")
    high = save(tmp_path / "a_B10.tif", cirrus.astype(np.uint16))
    _, cloud = look((scene("a", {**bare.hrefs, "B10": high}),), ())
    np.testing.assert_array_equal(cloud == CLOUDY, cirrus == 300)
    _, cloud = look((bare,), ())
    assert not cloud.any()


def test_a_detectors_bands_are_read_only_where_it_is_asked(tmp_path: Path) -> None:
    whole = optical(tmp_path, "a", DN, CLEAR_SKY, "")
    named = scene("a", {**whole.hrefs, "B10": str(tmp_path / "gone.tif")})
    _, cloud = look((named,), ())
    assert not cloud.any()
    with pytest.raises(ReadError, match=r"gone\.tif"):
        look((named,), (), MaskSettings(source="detector"))


def test_a_mask_file_is_laid_over_every_scene(tmp_path: Path) -> None:
    classes = CLEAR_SKY.copy()
    classes[2:8, 3:9] = 9
    drawn = np.full((HEIGHT, WIDTH), 255)
    drawn[:12], drawn[15:20, 20:30] = 0, 1
    file = tmp_path / "own.tif"
    save(file, drawn.astype(np.uint8), 255)
    settings = MaskSettings(source=str(file), dilation_m=0)
    _, cloud = look((optical(tmp_path, "a", DN, classes, ""),), (), settings)
    np.testing.assert_array_equal(cloud == CLOUDY, drawn == 1)


def test_radar_is_taken_from_the_first_scene_that_has_it(tmp_path: Path) -> None:
    one, two = RNG.uniform(0.01, 0.5, (2, HEIGHT, WIDTH)).astype(np.float32)
    one[:, 20:] = np.nan
    two[:10] = np.nan
    clear = optical(tmp_path, "o", DN, CLEAR_SKY, "")
    seen, _ = look((clear,), (radar(tmp_path, "r1", one), radar(tmp_path, "r2", two)))
    power = np.where(np.isnan(one), two, one)
    np.testing.assert_allclose(seen.decibel[0], 10 * np.log10(power), atol=1e-4)
    expected = np.where(~np.isnan(one), 1, np.where(~np.isnan(two), 2, 0))
    np.testing.assert_array_equal(seen.radar_scene, expected)


def test_a_pixel_has_radar_only_where_every_channel_has(tmp_path: Path) -> None:
    """The first scene lacks VV in the north and VH in the west; the second has the rest."""
    power = RNG.uniform(0.01, 0.5, (2, 2, HEIGHT, WIDTH)).astype(np.float32)
    power[0, 0, :6] = np.nan
    power[0, 1, :, :9] = np.nan
    power[1, 0, -4:] = np.nan
    scenes = tuple(
        scene(
            f"r{number}",
            {
                name: save(tmp_path / f"{number}_{name}.tif", layer, np.nan)
                for name, layer in zip(("vv", "vh"), layers, strict=True)
            },
        )
        for number, layers in enumerate(power)
    )
    step = Step(
        time=NOON, optical=(optical(tmp_path, "o", DN, CLEAR_SKY, ""),), radar=scenes,
        polarizations=("vh", "vv"), radar_age_h=None,
    )  # fmt: skip
    seen, _ = observe(step, BOX, SETTINGS, Fetcher(SETTINGS.cube, Unsigned()), NoClock())
    first, second = (np.isfinite(layers).all(axis=0) for layers in power)
    taken = np.where(first, 1, np.where(second, 2, 0))
    assert set(np.unique(taken)) == {0, 1, 2}
    np.testing.assert_array_equal(seen.radar_scene, taken)
    np.testing.assert_array_equal(seen.has_radar, taken > 0)
    expected = np.where(first, power[0], np.where(second, power[1], np.nan))[::-1]
    np.testing.assert_allclose(seen.decibel, 10 * np.log10(expected), atol=1e-4)


def test_without_radar_there_is_no_decibel(tmp_path: Path) -> None:
    seen, _ = look((optical(tmp_path, "o", DN, CLEAR_SKY, ""),), ())
    assert np.isnan(seen.decibel).all()
    assert not seen.radar_scene.any()


def test_a_file_that_is_gone_is_named_in_one_line_once(tmp_path: Path) -> None:
    whole = optical(tmp_path, "o", DN, CLEAR_SKY, "")
    gone = scene("S2_gone", {**whole.hrefs, "B02": str(tmp_path / "Süd #1?.tif")})
    with pytest.raises(ReadError, match=r"S2_gone.*Süd #1\?\.tif") as caught:
        look((gone,), ())
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(tmp_path)) == 1
