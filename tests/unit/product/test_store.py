"""The product on disk: one shard a chunk, read by others without help."""

import asyncio
import datetime as dt
import shutil
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  # gives datasets .rio
import xarray as xr
import zarr
from zarr.core.buffer import Buffer

from cloudfree.core.errors import StoreError
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.store import create_cube, read_part, write_chunk
from cloudfree.storage.outputs import Storage, open_storage
from tests.cubes import (
    BANDS,
    HEIGHT,
    LEFT,
    SIDE,
    TOP,
    WIDTH,
    fill,
    fill_of_other_days,
    make_cube,
    make_cube_of_other_days,
    make_grid,
    make_scene,
    make_step,
    stored,
)

LAYERS = ("source", "cloud", "optical_scene", "radar_scene")


@pytest.fixture
def plan() -> GridPlan:
    return make_grid()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


@pytest.fixture
def cube(tmp_path: Path, plan: GridPlan) -> Path:
    return make_cube(tmp_path, plan)


def shard_files(cube: Path) -> dict[str, float]:
    files = (file for file in cube.rglob("c/**/*") if file.is_file())
    return {str(file.relative_to(cube)): file.stat().st_mtime_ns for file in files}


def test_the_template_is_nodata_everywhere_and_holds_no_pixel(cube: Path) -> None:
    coordinates = {"time", "band", "x", "y", "wavelength", "spatial_ref"}
    assert {name.partition("/c")[0].split("/")[-1] for name in shard_files(cube)} <= coordinates
    for name in ("reflectance", *LAYERS):
        assert not stored(cube, name).any()
    with xr.open_zarr(cube, consolidated=False) as product:
        assert product.reflectance.shape == (2, 3, HEIGHT, WIDTH)
        assert product.reflectance[1].isnull().all()
        assert list(product.band.values) == list(BANDS)
        assert product.attrs["title"] == "a product"


def test_the_cube_says_where_and_when_it_is(cube: Path, plan: GridPlan) -> None:
    with xr.open_zarr(cube, decode_coords="all") as product:
        assert product.time.values[1] == np.datetime64("2024-06-08T10:20:31")
        assert float(product.x[0]) == LEFT + 5
        assert float(product.y[-1]) == TOP - 10 * HEIGHT + 5
        assert product.reflectance.odc.geobox == plan.geobox
        assert product.source.odc.geobox == plan.geobox


def test_it_opens_without_an_option_or_a_warning(cube: Path, plan: GridPlan) -> None:
    """As a newcomer opens it; at full resolution, whatever groups lie beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # of affine, in rioxarray
        with xr.open_zarr(cube) as product:
            assert set(product) >= {"reflectance", *LAYERS}
            assert product.reflectance.shape == (2, 3, HEIGHT, WIDTH)
        for option in (True, "all"):
            with xr.open_zarr(cube, decode_coords=option) as product:
                assert "spatial_ref" in product.coords
                assert product.rio.crs.to_epsg() == product.reflectance.rio.crs.to_epsg() == 32611
                assert product.rio.transform() == plan.geobox.affine
                assert product.rio.bounds() == plan.geobox.boundingbox.bbox
        with xr.open_zarr(cube, group="ovr_2x") as small:
            assert small.rio.crs.to_epsg() == 32611
        groups = xr.open_groups(cube, engine="zarr")
        assert set(groups) == {"/", "/ovr_2x", "/ovr_4x"}


def test_moments_between_seconds_are_kept_without_a_warning(
    tmp_path: Path, storage: Storage, plan: GridPlan
) -> None:
    moment = dt.datetime(2024, 6, 15, 10, 20, 31, 24_000, dt.UTC)
    step = replace(make_step(15), time=moment)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_cube(storage, plan, (step,), BANDS, {"title": "a product"})
    with xr.open_zarr(tmp_path / "cube.zarr") as product:
        assert product.time.values[0] == np.datetime64("2024-06-15T10:20:31.024")


def test_it_says_in_the_words_of_cf_what_its_numbers_mean(tmp_path: Path, plan: GridPlan) -> None:
    scene = make_scene(kind="L2A")
    step = replace(make_step(3), optical=(scene,))
    create_cube(open_storage(tmp_path), plan, [step], BANDS, {})
    with xr.open_zarr(tmp_path / "cube.zarr") as product:
        assert product.attrs["Conventions"].startswith("CF-1.")
        light = product.reflectance
        assert light.attrs["standard_name"] == "surface_bidirectional_reflectance"
        assert (light.attrs["units"], light.encoding["scale_factor"]) == ("1", 1e-4)
        assert light.encoding["_FillValue"] == 0
        for name in ("source", "cloud"):
            flags = product[name].attrs
            assert np.asarray(flags["flag_values"]).dtype.kind == "i"
            assert len(flags["flag_values"]) == len(flags["flag_meanings"].split())
        assert product.source.attrs["flag_meanings"].split()[2] == "reconstructed"
        names = {name: product[name].attrs.get("standard_name") for name in product.coords}
        del names["spatial_ref"]
        assert names == {
            "x": "projection_x_coordinate",
            "y": "projection_y_coordinate",
            "time": "time",
            "band": "sensor_band_identifier",
            "wavelength": "sensor_band_central_radiation_wavelength",
        }
        assert dict(zip(product.band.values, product.wavelength.values, strict=True)) == {
            "B04": 0.665,
            "B03": 0.56,
            "B02": 0.49,
        }


@pytest.mark.parametrize("kinds", [("L1C", "L2A"), ("other",), ()])
def test_no_standard_name_where_scenes_differ_or_are_of_no_known_level(
    tmp_path: Path, plan: GridPlan, kinds: tuple[str, ...]
) -> None:
    step = replace(make_step(3), optical=tuple(make_scene(kind=kind) for kind in kinds))
    create_cube(open_storage(tmp_path), plan, [step], BANDS, {})
    with xr.open_zarr(tmp_path / "cube.zarr") as product:
        assert "standard_name" not in product.reflectance.attrs


def test_one_shard_is_one_chunk_of_256_px_pieces(cube: Path) -> None:
    group = zarr.open_group(cube, mode="r")
    assert group["reflectance"].shards == (1, 3, SIDE, SIDE)
    assert group["reflectance"].chunks == (1, 1, 256, 256)
    for layer in LAYERS:
        assert group[layer].shards == (1, SIDE, SIDE)
        assert group[layer].chunks == (1, 256, 256)


def test_a_chunk_touches_its_own_shards_alone(cube: Path, plan: GridPlan) -> None:
    chunks = list(plan.chunks())
    write_chunk(open_storage(cube.parent), 0, chunks[0], fill(chunks[0], 1))
    before = shard_files(cube)
    write_chunk(open_storage(cube.parent), 1, chunks[4], fill(chunks[4], 2))
    after = shard_files(cube)
    assert all(after[name] == stamp for name, stamp in before.items())
    assert set(after) - set(before) == {
        "reflectance/c/1/0/1/1",
        *(f"{layer}/c/1/1/1" for layer in LAYERS),
    }


def test_every_pixel_of_every_chunk_is_read_back(cube: Path, plan: GridPlan) -> None:
    written = {name: np.zeros((HEIGHT, WIDTH), int) for name in LAYERS}
    numbers = np.zeros((3, HEIGHT, WIDTH), int)
    for seed, chunk in enumerate(plan.chunks()):
        pixels = fill(chunk, seed)
        write_chunk(open_storage(cube.parent), 1, chunk, pixels)
        numbers[:, chunk.y, chunk.x] = pixels.reflectance
        for name, layer in written.items():
            layer[chunk.y, chunk.x] = getattr(pixels, name)
    np.testing.assert_array_equal(stored(cube, "reflectance")[1], numbers)
    for name, layer in written.items():
        np.testing.assert_array_equal(stored(cube, name)[1], layer)
        assert not stored(cube, name)[0].any()
    with xr.open_zarr(cube, consolidated=False) as product:
        expected = np.where(numbers == 0, np.nan, numbers * 1e-4)
        np.testing.assert_allclose(product.reflectance[1], expected, rtol=1e-6)
        np.testing.assert_array_equal(product.source[1], written["source"])


def test_days_to_references_are_numbers_and_nothing_where_there_is_none(
    tmp_path: Path, plan: GridPlan
) -> None:
    """0 is a day like others, so that another number stands for none; spans of time they are not"""
    cube = make_cube_of_other_days(tmp_path, plan)
    chunks = list(plan.chunks())
    pixels = fill_of_other_days(chunks[1], 3, references=7)
    days = np.where(pixels.source == 4, pixels.reference_days, np.nan)
    assert (days == 0).any() and (days < 0).any() and np.isnan(days).any()
    write_chunk(open_storage(tmp_path), 1, chunks[1], pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        product = xr.open_zarr(cube)
    with product:
        assert product.reference_days.dtype == np.float32
        assert product.reference_days.attrs["units"] == "day"
        assert product.reference_days[1].notnull().sum() == (pixels.source == 4).sum()
        part = product.isel(time=1, y=chunks[1].y, x=chunks[1].x)
        np.testing.assert_array_equal(part.reference_days, days)
        np.testing.assert_array_equal(part.reference_scene, pixels.reference_scene)
        np.testing.assert_array_equal(part.reference_count, pixels.reference_count)
        assert part.reference_scene.dtype == np.uint16
        assert not product.reference_count[0].any()
    assert (stored(cube, "reference_days")[0] == -32768).all()
    for factor in (2, 4):
        small = zarr.open_group(cube / f"ovr_{factor}x", mode="r")
        assert set(small) >= {"reference_days", "source"}
        assert not {"reference_scene", "reference_count"} & set(small)
        assert (np.asarray(small["reference_days"][:]) == -32768).all()


def test_a_chunk_written_twice_is_that_of_the_second_time(cube: Path, plan: GridPlan) -> None:
    chunk = list(plan.chunks())[2]
    for seed in (5, 6):
        write_chunk(open_storage(cube.parent), 0, chunk, fill(chunk, seed))
    expected = fill(chunk, 6).reflectance
    np.testing.assert_array_equal(stored(cube, "reflectance")[0, :, chunk.y, chunk.x], expected)


def test_half_a_template_is_replaced_whole(storage: Storage, plan: GridPlan) -> None:
    left = Path(storage.address) / "cube.zarr" / "reflectance"
    left.mkdir(parents=True)
    (left / "zarr.json").write_text("{")
    create_cube(storage, plan, [make_step(3)], BANDS, {})
    assert not stored(left.parent, "reflectance").any()


def test_two_writers_on_one_shard_lose_data_and_ours_refuses(
    cube: Path, plan: GridPlan, storage: Storage
) -> None:
    """Each reads the shard, changes its half and writes it whole: the later one wins."""
    chunk = next(plan.chunks())
    array = zarr.open_group(cube, mode="r+")["source"]
    halves = [slice(0, SIDE // 2), slice(SIDE // 2, SIDE)]
    both_have_read = threading.Barrier(2, timeout=30)

    class Slow(zarr.storage.LocalStore):
        """The file system, as slow as another machine is."""

        async def set(self, key: str, value: Buffer) -> None:
            await asyncio.to_thread(both_have_read.wait)
            await super().set(key, value)

    def write(half: slice) -> None:
        slow = zarr.open_group(Slow(cube), mode="r+")["source"]
        slow[0, half, 0:SIDE] = 1

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, halves))
    assert sorted(bool(array[0, half, 0:SIDE].all()) for half in halves) == [False, True]

    part = replace(chunk, y=halves[0])
    with pytest.raises(StoreError, match="reflectance is written in whole shards of 512 px") as no:
        write_chunk(storage, 1, part, fill(chunk, 1))
    assert "\n" not in str(no.value)
    for name in ("reflectance", *LAYERS):
        assert not stored(cube, name)[1].any()


@pytest.mark.parametrize("moved", [slice(256, 768), slice(0, 1024), slice(0, 511)])
def test_every_cut_through_a_shard_is_refused(
    cube: Path, plan: GridPlan, storage: Storage, moved: slice
) -> None:
    chunk = list(plan.chunks())[1]
    with pytest.raises(StoreError, match="whole shards"):
        write_chunk(storage, 0, replace(chunk, x=moved), fill(chunk, 1))


def test_a_cube_that_is_gone_is_named_in_one_line(tmp_path: Path, plan: GridPlan) -> None:
    chunk = next(plan.chunks())
    with pytest.raises(StoreError, match=r"gone/cube\.zarr") as caught:
        write_chunk(open_storage(tmp_path / "gone"), 0, chunk, fill(chunk, 1))
    assert "\n" not in str(caught.value)


def test_a_cube_without_an_array_is_told_in_one_line(cube: Path, plan: GridPlan) -> None:
    """As one that an earlier version began: a run that resumes it cannot end."""
    shutil.rmtree(cube / "radar_scene")
    chunk = next(plan.chunks())
    with pytest.raises(StoreError, match=r"no array radar_scene: .* --overwrite") as caught:
        write_chunk(open_storage(cube.parent), 0, chunk, fill(chunk, 1))
    assert "\n" not in str(caught.value)


def test_a_cube_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cube\.zarr is damaged: .* Use --overwrite"):
        read_part(open_storage(tmp_path / "nothing"), "source", (0, slice(4), slice(4)))
