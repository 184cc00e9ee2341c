"""The walk on real scenes: Los Angeles (reprojected, with truth), Jiangsu and Finland.

The scenes lie beside the checkout in ../shared and are no part of the project; without them these
tests skip.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr

from tests.integration.products import assert_same_pixels, make, open_raw, read_exactly, summary

DATES = {
    "los-angeles": "2020-11-04",
    "jiangsu": "2018-09-20",
    "finland": "2019-09-01/2020-08-31",
}
BANDS = ("B04", "B03", "B02")
PEAK = 3558.0


def make_place(
    folder: Path, name: str, out: Path, *, chunk_px: int = 2048, workers: int = 1
) -> None:
    make(
        out,
        aoi=folder / f"{name}.geojson",
        date=DATES[name],
        stac=folder / "items.json",
        chunk_px=chunk_px,
        workers=workers,
    )


@pytest.fixture(scope="module")
def los_angeles(real_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("los-angeles") / "out"
    make_place(real_scenes, "los-angeles", out)
    return out


def psnr_db(made: np.ndarray, truth: np.ndarray) -> float:
    error = np.clip(made, 0, PEAK) - np.clip(truth, 0, PEAK)
    return float(10 * np.log10(PEAK**2 / np.mean(error**2)))


def test_seen_pixels_of_a_reprojected_scene_are_exact(los_angeles: Path, real_scenes: Path) -> None:
    cube = open_raw(los_angeles)
    seen = cube.source.to_numpy()[0] == 1
    assert seen.sum() > 3_000_000
    for index, band in enumerate(BANDS):
        stored = read_exactly(real_scenes / f"los-angeles_cloudy_{band}.tif", cube)
        made = cube.reflectance.to_numpy()[0, index]
        assert (made[seen] == np.maximum(stored[seen], 1)).mean() == 1.0


def test_the_baseline_beats_filling_in(los_angeles: Path, real_scenes: Path) -> None:
    cube = open_raw(los_angeles)
    source = cube.source.to_numpy()[0]
    product = cube.reflectance.to_numpy()[0].astype(float)
    with rasterio.open(real_scenes / "truth" / "los-angeles_clear.tif") as file:
        colours, profile = file.read(), {"transform": file.transform, "crs": file.crs}
    truth = []
    for channel in (0, 1, 2):
        band = los_angeles.parent / f"truth{channel}.tif"
        height, width = colours.shape[1:]
        with rasterio.open(
            band, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, **profile
        ) as file:
            file.write(colours[channel], 1)
        truth.append(13.95 * read_exactly(band, cube))
    made, seen = source == 2, source == 1
    mean = product[:, seen].mean(axis=1)[:, None]
    ours = psnr_db(product[:, made], np.stack(truth)[:, made])
    assert ours > psnr_db(np.broadcast_to(mean, (3, int(made.sum()))), np.stack(truth)[:, made])
    assert ours > 17.2


@pytest.mark.parametrize(
    ("name", "steps", "polarization"), [("jiangsu", 1, "VV"), ("finland", 10, "VV")]
)
def test_small_places(
    real_scenes: Path, tmp_path: Path, name: str, steps: int, polarization: str
) -> None:
    make_place(real_scenes, name, tmp_path / "out")
    cube = open_raw(tmp_path / "out")
    facts = summary(tmp_path / "out")
    assert cube.sizes["time"] == steps
    assert {tuple(step["polarizations"]) for step in facts["steps"]} == {(polarization.lower(),)}
    assert (cube.source == 3).sum() == 0
    for step, described in enumerate(facts["steps"]):
        scene = described["optical"][0]
        prefix = scene.removesuffix("-s2").removesuffix("-s2-cloudy")
        infix = "_cloudy" if scene.endswith("-cloudy") else ""
        seen = cube.source.to_numpy()[step] == 1
        assert seen.any()
        for index, band in enumerate(BANDS):
            stored = read_exactly(real_scenes / f"{prefix}{infix}_{band}.tif", cube)
            made = cube.reflectance.to_numpy()[step, index]
            assert (made[seen] == np.maximum(stored[seen], 1)).mean() == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("chunk_px", "workers"), [(512, 1), (1024, 2), (2048, 2)])
def test_cutting_does_not_change_a_reprojected_scene(
    los_angeles: Path, real_scenes: Path, tmp_path: Path, chunk_px: int, workers: int
) -> None:
    make_place(real_scenes, "los-angeles", tmp_path / "out", chunk_px=chunk_px, workers=workers)
    assert_same_pixels(open_raw(los_angeles), open_raw(tmp_path / "out"))


@pytest.mark.slow
def test_another_area_shares_pixels(los_angeles: Path, real_scenes: Path, tmp_path: Path) -> None:
    collection = shapely.from_geojson((real_scenes / "los-angeles.geojson").read_text())
    west, south, east, north = collection.bounds
    box = shapely.box(
        west + 0.53 * (east - west),
        south + 0.21 * (north - south),
        east,
        south + 0.9 * (north - south),
    )
    aoi = tmp_path / "part.geojson"
    aoi.write_text(shapely.to_geojson(box))
    make(
        tmp_path / "out",
        aoi=aoi,
        date=DATES["los-angeles"],
        stac=real_scenes / "items.json",
        chunk_px=1024,
    )
    part, whole = xr.align(open_raw(tmp_path / "out"), open_raw(los_angeles), join="inner")
    shared = (part.source.to_numpy() > 0) & (whole.source.to_numpy() > 0)
    assert (shared & (part.source.to_numpy() == 2)).sum() > 100_000
    np.testing.assert_array_equal(part.source.to_numpy()[shared], whole.source.to_numpy()[shared])
    where = np.broadcast_to(shared[:, None], part.reflectance.shape)
    np.testing.assert_array_equal(
        part.reflectance.to_numpy()[where], whole.reflectance.to_numpy()[where]
    )
