"""The product on disk: one shard a chunk, read by others, exported whole."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
import zarr
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from cloudfree.errors import StoreError
from cloudfree.grid import Chunk, GridPlan
from cloudfree.scenes import Step
from cloudfree.store import LAYERS, ChunkPixels, create_cube, export_cog, write_chunk

BANDS = ("B04", "B03", "B02")
SIDE = 512
HEIGHT, WIDTH = 570, 1210
LEFT, TOP = 464640, 3773760


def step(day: int) -> Step:
    time = dt.datetime(2024, 6, day, 10, 20, 31, tzinfo=dt.UTC)
    return Step(time=time, optical=(), radar=(), polarizations=("vv",), radar_age_h=None)


@pytest.fixture
def plan() -> GridPlan:
    geobox = GeoBox((HEIGHT, WIDTH), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32611")
    area = shapely.box(*geobox.boundingbox.bbox)
    return GridPlan(geobox=geobox, area=area, chunk_px=SIDE, halo_px=64)


@pytest.fixture
def cube(tmp_path: Path, plan: GridPlan) -> Path:
    path = tmp_path / "cube.zarr"
    create_cube(path, plan, [step(3), step(8)], BANDS, {"title": "a product"})
    return path


def fill(chunk: Chunk, seed: int) -> ChunkPixels:
    rng = np.random.default_rng(seed)
    shape = chunk.geobox.shape
    return ChunkPixels(
        reflectance=rng.integers(0, 9999, (3, *shape)).astype(np.uint16),
        source=rng.integers(0, 4, shape).astype(np.uint8),
        cloud=rng.integers(0, 4, shape).astype(np.uint8),
        optical_scene=rng.integers(0, 300, shape).astype(np.uint16),
        radar_scene=rng.integers(0, 300, shape).astype(np.uint16),
    )


def stored(cube: Path, name: str) -> np.ndarray:
    return np.asarray(zarr.open_group(cube, mode="r")[name][:])


def shard_files(cube: Path) -> dict[str, float]:
    files = (file for file in cube.rglob("c/**/*") if file.is_file())
    return {str(file.relative_to(cube)): file.stat().st_mtime_ns for file in files}


def test_the_template_is_nodata_everywhere_and_holds_no_pixel(cube: Path) -> None:
    coordinates = {"time", "band", "x", "y", "wavelength", "spatial_ref"}
    assert {name.split("/")[0] for name in shard_files(cube)} <= coordinates
    for name in ("reflectance", *LAYERS):
        assert not stored(cube, name).any()
    with xr.open_zarr(cube, consolidated=False) as product:
        assert product.reflectance.shape == (2, 3, HEIGHT, WIDTH)
        assert product.reflectance[1].isnull().all()
        assert list(product.band.values) == list(BANDS)
        assert product.attrs["title"] == "a product"


def test_the_cube_says_where_and_when_it_is(cube: Path, plan: GridPlan) -> None:
    with xr.open_zarr(cube, consolidated=False, decode_coords="all") as product:
        assert product.time.values[1] == np.datetime64("2024-06-08T10:20:31")
        assert float(product.x[0]) == LEFT + 5
        assert float(product.y[-1]) == TOP - 10 * HEIGHT + 5
        assert product.reflectance.odc.geobox == plan.geobox
        assert product.source.odc.geobox == plan.geobox


def test_one_shard_is_one_chunk_of_256_px_pieces(cube: Path) -> None:
    group = zarr.open_group(cube, mode="r")
    assert group["reflectance"].shards == (1, 3, SIDE, SIDE)
    assert group["reflectance"].chunks == (1, 1, 256, 256)
    for layer in LAYERS:
        assert group[layer].shards == (1, SIDE, SIDE)
        assert group[layer].chunks == (1, 256, 256)


def test_a_chunk_touches_its_own_shards_alone(cube: Path, plan: GridPlan) -> None:
    chunks = list(plan.chunks())
    write_chunk(cube, 0, chunks[0], fill(chunks[0], 1))
    before = shard_files(cube)
    write_chunk(cube, 1, chunks[4], fill(chunks[4], 2))
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
        write_chunk(cube, 1, chunk, pixels)
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


def test_a_chunk_written_twice_is_that_of_the_second_time(cube: Path, plan: GridPlan) -> None:
    chunk = list(plan.chunks())[2]
    for seed in (5, 6):
        write_chunk(cube, 0, chunk, fill(chunk, seed))
    expected = fill(chunk, 6).reflectance
    np.testing.assert_array_equal(stored(cube, "reflectance")[0, :, chunk.y, chunk.x], expected)


@pytest.mark.parametrize("layer", ["reflectance", "source"])
def test_a_cog_holds_the_array_whole(
    cube: Path, plan: GridPlan, tmp_path: Path, layer: str
) -> None:
    for seed, chunk in enumerate(plan.chunks()):
        if seed != 3:
            write_chunk(cube, 0, chunk, fill(chunk, seed))
    target = tmp_path / f"{layer}.tif"
    export_cog(cube, 0, layer, target, plan=plan, bands=BANDS)  # type: ignore[arg-type]
    is_cog, errors, warnings = cog_validate(target, strict=True)
    assert is_cog, (errors, warnings)
    with rasterio.open(target) as file:
        expected = stored(cube, layer)[0]
        np.testing.assert_array_equal(file.read().squeeze(), expected)
        assert (file.nodata, file.dtypes[0]) == (0, expected.dtype.name)
        assert file.transform == plan.geobox.affine
        assert file.crs.to_epsg() == 32611
        assert file.overviews(1) != []
        names = BANDS if layer == "reflectance" else ("source",)
        assert file.descriptions == names
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["cube.zarr", target.name])


def test_a_cog_of_reflectance_has_its_scale_and_colours(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    target = tmp_path / "r.tif"
    export_cog(cube, 0, "reflectance", target, plan=plan, bands=BANDS)
    with rasterio.open(target) as file:
        assert file.scales == (1e-4,) * 3
        assert file.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def test_a_cog_of_classes_has_no_class_that_the_array_lacks(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    for chunk in plan.chunks():
        pixels = fill(chunk, 1)
        two = np.where(pixels.source > 1, 1, 3).astype(np.uint8)
        write_chunk(
            cube,
            0,
            chunk,
            ChunkPixels(
                reflectance=pixels.reflectance,
                source=two,
                cloud=two,
                optical_scene=pixels.optical_scene,
                radar_scene=pixels.radar_scene,
            ),
        )
    target = tmp_path / "source.tif"
    export_cog(cube, 0, "source", target, plan=plan, bands=BANDS)
    with rasterio.open(target, overview_level=0) as overview:
        assert set(np.unique(overview.read())) == {1, 3}


def test_a_failed_template_leaves_no_half_a_cube(tmp_path: Path, plan: GridPlan) -> None:
    path = tmp_path / "cube.zarr"
    with pytest.raises(KeyError):
        create_cube(path, plan, [step(3)], ("B99",), {})
    assert not path.exists()
    (tmp_path / "cube.zarr.tmp").mkdir()
    create_cube(path, plan, [step(3)], BANDS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["cube.zarr"]


def test_a_cube_that_is_gone_is_named_in_one_line(tmp_path: Path, plan: GridPlan) -> None:
    chunk = next(plan.chunks())
    with pytest.raises(StoreError, match=r"gone\.zarr") as caught:
        write_chunk(tmp_path / "gone.zarr", 0, chunk, fill(chunk, 1))
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_take_the_cog_is_named(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    target = tmp_path / "nowhere" / "r.tif"
    with pytest.raises(StoreError, match=r"r\.tif"):
        export_cog(cube, 0, "source", target, plan=plan, bands=BANDS)
