"""What must not come through from other days, and what must: through whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy.ndimage import binary_dilation, minimum_filter

from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED
from cloudfree.synthetic.items import BANDS
from cloudfree.synthetic.scenes import Pass, SyntheticScenes, read_reflectance, write_scenes
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.zones import cut_in_zones

pytestmark = pytest.mark.slow

SHARE = 0.15
SIDE = 20
"""Of a field that changes."""
DAYS = (-20, -10, 5, 15)
USUAL = tuple(Pass(days=days, cloud_share=SHARE) for days in DAYS)
Made = Callable[..., xr.Dataset]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what a run makes of a place whose passes are as given; each is made once."""
    products: dict[tuple[Pass, ...], xr.Dataset] = {}

    def run(*passes: Pass) -> xr.Dataset:
        if passes not in products:
            folder = tmp_path_factory.mktemp("place")
            scenes = write_scenes(folder / "scenes", size_px=512, passes=passes)
            products[passes] = run_on(scenes, folder / "out")
        return products[passes]

    return run


def run_on(scenes: SyntheticScenes, out: Path, chunk_px: int = 2048) -> xr.Dataset:
    """Return the product with the ground as it would be without clouds, in reflectance numbers."""
    make(
        out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, bands=BANDS,
        references={"days": 75}, chunk_px=chunk_px,
    )  # fmt: skip
    cube = open_raw(out).isel(time=0)
    truth = read_reflectance(scenes.items.parent, cube) * 1e4
    return cube.assign(truth=truth)


def changed(passes: tuple[Pass, ...], days: int, **oddity: object) -> tuple[Pass, ...]:
    """Return passes of which one is odd."""
    return tuple(
        Pass(days=one.days, cloud_share=one.cloud_share, **oddity) if one.days == days else one
        for one in passes
    )


def rmse(one: xr.DataArray, other: xr.DataArray, where: xr.DataArray) -> float:
    error = (one.astype(np.float64) - other).where(where)
    return float(np.sqrt((error**2).mean()))


def of_other_days(cube: xr.Dataset) -> xr.DataArray:
    return cube.source == OTHER_DAYS


def test_a_reference_that_is_the_scene_itself_gives_it_back(tmp_path: Path) -> None:
    scenes = write_scenes(
        tmp_path / "scenes", size_px=512, passes=(Pass(days=5, cloud_share=SHARE),)
    )
    folder = scenes.items.parent / "2024-06-20"
    with rasterio.open(scenes.truth) as file:
        clear, profile = file.read(), file.profile
    profile |= {"driver": "GTiff", "count": 1}
    for band, pixels in zip(BANDS, clear, strict=True):
        with rasterio.open(folder / f"{band}.tif", "w", **profile) as file:
            file.write(pixels, 1)
    with rasterio.open(folder / "SCL.tif") as file:
        classes, profile = file.read(1), file.profile
    profile |= {"driver": "GTiff"}
    with rasterio.open(folder / "SCL.tif", "w", **profile) as file:
        file.write(np.where(classes > 0, 4, 0).astype(np.uint8), 1)
    cube = run_on(scenes, tmp_path / "out")
    where = of_other_days(cube)
    assert int(where.sum()) > 20_000
    assert rmse(cube.reflectance, cube.truth, where) <= 10
    bright = where & (cube.truth.sel(band="B04") > 2500)
    assert int(bright.sum()) > 50
    assert rmse(cube.reflectance, cube.truth, bright) <= 10


def test_gain_and_offset_of_a_pass_change_nothing(made: Made) -> None:
    usual = made(*USUAL)
    other = made(*changed(USUAL, 5, gain=1.3, offset_dn=500.0))
    where = of_other_days(usual) & of_other_days(other)
    assert int(where.sum()) > 20_000
    assert rmse(usual.reflectance, other.reflectance, where) <= 5


@pytest.mark.parametrize("oddity", [{"cloud_missed": True}, {"snow": True}], ids=str)
def test_missed_cloud_and_lone_snow_do_not_come_through(
    made: Made, oddity: dict[str, object]
) -> None:
    usual, other = made(*USUAL), made(*changed(USUAL, -10, **oddity))
    where = of_other_days(usual) & of_other_days(other) & (usual.reference_count >= 3)
    assert int(where.sum()) > 10_000
    least = rmse(usual.reflectance, usual.truth, where)
    assert rmse(other.reflectance, usual.truth, where) < 1.25 * least + 10


def test_ground_that_radar_saw_change_is_not_filled_with_the_old(
    made: Made, tmp_path: Path
) -> None:
    """A field under the cloud scatters eightfold on the day itself: it was cut, or flooded."""
    watched = tuple(Pass(days=one.days, cloud_share=SHARE, radar=True) for one in USUAL)
    usual = made(*watched)
    field = find_square(of_other_days(usual).to_numpy())
    scenes = write_scenes(tmp_path / "scenes", size_px=512, passes=watched)
    for channel in ("vv", "vh"):
        with rasterio.open(scenes.items.parent / f"{channel}.tif") as file:
            power, profile = file.read(1), file.profile
            row, col = file.index(float(usual.x[field[1]]), float(usual.y[field[0]]))
        power[row : row + SIDE, col : col + SIDE] *= 8
        with rasterio.open(
            scenes.items.parent / f"{channel}.tif", "w", **profile | {"driver": "GTiff"}
        ) as file:
            file.write(power, 1)
    other = run_on(scenes, tmp_path / "out")
    inner = np.zeros(usual.source.shape, bool)
    inner[field[0] + 3 : field[0] + SIDE - 3, field[1] + 3 : field[1] + SIDE - 3] = True
    assert (other.source.to_numpy()[inner] == RECONSTRUCTED).mean() > 0.95
    far = ~binary_dilation(inner, iterations=12)
    was = of_other_days(usual).to_numpy() & far
    assert (other.source.to_numpy()[was] == OTHER_DAYS).mean() > 0.99


def find_square(where: np.ndarray) -> tuple[int, int]:
    """Return the first row and column of a square that is True throughout."""
    whole = minimum_filter(where, SIDE, mode="constant")
    row, col = np.argwhere(whole)[0]
    return int(row) - SIDE // 2, int(col) - SIDE // 2


def test_where_scenes_of_two_zones_meet_there_is_no_step(tmp_path: Path) -> None:
    passes = tuple(Pass(days=one.days, cloud_share=SHARE, radar=True) for one in USUAL)
    scenes = write_scenes(tmp_path / "scenes", size_px=512, passes=passes)
    both = replace(scenes, items=cut_in_zones(scenes))
    cube = run_on(both, tmp_path / "out")
    assert len(np.unique(cube.optical_scene)) == 3
    made = of_other_days(cube).to_numpy()
    tiles = cube.optical_scene.to_numpy()
    meet = (tiles[:, 1:] != tiles[:, :-1]) & made[:, 1:] & made[:, :-1]
    assert meet.sum() > 100
    picture, truth = (
        one.transpose("band", "y", "x").to_numpy().astype(np.float64)
        for one in (cube.reflectance, cube.truth)
    )
    steps, true = (np.abs(np.diff(one, axis=2))[:, meet].mean() for one in (picture, truth))
    assert steps < 1.15 * true
    over = np.diff(picture - truth, axis=2)[:, meet].mean(axis=1)
    assert np.abs(over).max() < 25
    run_on(both, tmp_path / "chunks", chunk_px=256)
    assert_same_pixels(open_raw(tmp_path / "out"), open_raw(tmp_path / "chunks"))
