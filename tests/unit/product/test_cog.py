"""COGs: whole, valid, and shown by a viewer as they are meant to be."""

import datetime as dt
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from cloudfree.core.errors import StoreError
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.cog import Cog, export_cog
from cloudfree.product.layers import REFERENCE_DAYS, REFLECTANCE, SOURCE, Layer
from cloudfree.product.store import write_chunk
from cloudfree.storage.outputs import Storage, checksum, open_storage
from tests.cubes import (
    BANDS,
    HEIGHT,
    WIDTH,
    fill,
    fill_of_other_days,
    make_cube,
    make_cube_of_other_days,
    make_grid,
    stored,
)

TIME = dt.datetime(2024, 6, 3, 10, 20, 31, tzinfo=dt.UTC)


@pytest.fixture
def plan() -> GridPlan:
    return make_grid()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


@pytest.fixture
def cube(tmp_path: Path, plan: GridPlan) -> Path:
    return make_cube(tmp_path, plan)


def export(
    cube: Path,
    layer: Layer,
    name: str,
    plan: GridPlan,
    bands: tuple[str, ...] = BANDS,
    shape: tuple[int, int] = (10, 20),
) -> Cog:
    storage = open_storage(cube.parent)
    return export_cog(storage, 0, layer, name, plan=plan, bands=bands, time=TIME, shape=shape)


@pytest.mark.parametrize("layer", [REFLECTANCE, SOURCE], ids=lambda layer: layer.name)
def test_a_cog_holds_the_array_whole(
    cube: Path, plan: GridPlan, tmp_path: Path, layer: Layer
) -> None:
    for seed, chunk in enumerate(plan.chunks()):
        if seed != 3:
            write_chunk(open_storage(cube.parent), 0, chunk, fill(chunk, seed))
    target = tmp_path / f"{layer.name}.tif"
    cog = export(cube, layer, target.name, plan, shape=(57, 121))
    is_cog, errors, warnings = cog_validate(target, strict=True)
    assert is_cog, (errors, warnings)
    with rasterio.open(target) as file:
        expected = stored(cube, layer.name)[0]
        np.testing.assert_array_equal(file.read().squeeze(), expected)
        assert (file.nodata, file.dtypes[0]) == (0, expected.dtype.name)
        assert file.transform == plan.geobox.affine
        assert file.crs.to_epsg() == 32611
        assert file.overviews(1) != []
        names = BANDS if layer.has_bands else ("source",)
        assert file.descriptions == names
        np.testing.assert_array_equal(cog.small, file.read(out_shape=(len(names), 57, 121)))
        assert len(np.unique(cog.small)) > 3
        tags = file.tags()
        assert tags["TIFFTAG_DATETIME"] == "2024:06:03 10:20:31"
        assert tags["TIFFTAG_SOFTWARE"].startswith("cloudfree ")
        assert "Copernicus" in tags["TIFFTAG_COPYRIGHT"]
    content = target.read_bytes()
    assert (cog.file.size, cog.file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    beside = [f"{target.name}.aux.xml"] if layer.classes else []
    assert cog.names == (checksum(tmp_path.joinpath(beside[0]).read_bytes()) if beside else None)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["cube.zarr", target.name, *beside])


def test_a_cog_of_reflectance_has_its_scale_and_statistics_of_what_is_valid(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    for seed, chunk in enumerate(plan.chunks()):
        if seed in (1, 4):
            write_chunk(open_storage(tmp_path), 0, chunk, fill(chunk, seed))
    cog = export(cube, REFLECTANCE, "r.tif", plan)
    with rasterio.open(tmp_path / "r.tif") as file:
        assert file.scales == (1e-4,) * 3
        for index, said in enumerate(cog.statistics, 1):
            valid = file.read(index)
            valid = valid[valid > 0].astype(float)
            assert said is not None
            assert (said.minimum, said.maximum) == (valid.min(), valid.max())
            assert said.mean == pytest.approx(valid.mean())
            assert said.stddev == pytest.approx(valid.std())
            assert said.valid_percent == pytest.approx(100 * valid.size / (HEIGHT * WIDTH))
            tags = file.tags(index)
            assert int(tags["STATISTICS_MAXIMUM"]) == said.maximum
            assert float(tags["STATISTICS_MEAN"]) == pytest.approx(said.mean, rel=1e-5)
            assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(said.stddev, rel=1e-5)


def test_a_cog_of_days_knows_days_before_and_those_that_are_none(
    tmp_path: Path, plan: GridPlan
) -> None:
    cube = make_cube_of_other_days(tmp_path, plan)
    for seed, chunk in enumerate(plan.chunks()):
        if seed in (0, 5):
            write_chunk(open_storage(tmp_path), 0, chunk, fill_of_other_days(chunk, seed, 3))
    cog = export(cube, REFERENCE_DAYS, "days.tif", plan, shape=(57, 121))
    days = stored(cube, "reference_days")[0]
    valid = days[days > -32768].astype(int)
    with rasterio.open(tmp_path / "days.tif") as file:
        assert (file.nodata, file.dtypes[0]) == (-32768, "int16")
        np.testing.assert_array_equal(file.read(1), days)
    (said,) = cog.statistics
    assert said is not None
    assert (said.minimum, said.maximum) == (valid.min(), valid.max()) == (-75, 75)
    assert said.mean == pytest.approx(valid.mean())
    assert said.valid_percent == pytest.approx(100 * valid.size / days.size)
    assert set(np.unique(cog.small)) <= {-32768, *range(-75, 76)}  # no mean of two days


def test_without_a_valid_pixel_there_are_no_statistics(cube: Path, plan: GridPlan) -> None:
    cog = export(cube, REFLECTANCE, "r.tif", plan)
    assert cog.statistics == (None, None, None)
    with rasterio.open(cube.parent / "r.tif") as file:
        assert not any(name.startswith("STATISTICS") for name in file.tags(1))


RED, GREEN, BLUE, NONE = (
    ColorInterp.red,
    ColorInterp.green,
    ColorInterp.blue,
    ColorInterp.undefined,
)


@pytest.mark.parametrize(
    ("bands", "colours"),
    [
        (("B04", "B03", "B02"), (RED, GREEN, BLUE)),
        (("B02", "B03", "B04"), (BLUE, GREEN, RED)),
        (("B02", "B8A", "B03", "B04", "B11"), (BLUE, NONE, GREEN, RED, NONE)),
        (("B08", "B11"), (ColorInterp.gray, NONE)),
    ],
)
def test_bands_say_their_colours_and_wavelengths_in_whatever_order(
    tmp_path: Path, plan: GridPlan, bands: tuple[str, ...], colours: tuple[ColorInterp, ...]
) -> None:
    cube = make_cube(tmp_path, plan, bands)
    chunk = next(plan.chunks())
    write_chunk(open_storage(tmp_path), 0, chunk, fill(chunk, 1, len(bands)))
    export(cube, REFLECTANCE, "r.tif", plan, bands)
    assert cog_validate(tmp_path / "r.tif", strict=True)[0]
    with rasterio.open(tmp_path / "r.tif") as file:
        assert file.colorinterp == colours
        assert file.descriptions == bands
        known = {"B02": 0.49, "B03": 0.56, "B04": 0.665, "B08": 0.842, "B8A": 0.865, "B11": 1.61}
        for index, name in enumerate(bands, 1):
            said = file.tags(index, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]
            assert float(said) == known[name]


def test_a_cog_of_classes_is_drawn_and_named(cube: Path, plan: GridPlan, tmp_path: Path) -> None:
    export(cube, SOURCE, "source.tif", plan)
    with rasterio.open(tmp_path / "source.tif") as file:
        assert file.colorinterp == (ColorInterp.palette,)
        table = file.colormap(1)
        for one in SOURCE.classes:
            assert table[one.value] == (*one.colour, 255 if one.value else 0)  # nodata is clear
        assert [Path(name).name for name in file.files] == ["source.tif", "source.tif.aux.xml"]
    # rasterio has no word for category names, GDAL's own copy of the raster does
    with rasterio.open(tmp_path / "source.tif") as file:
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
    said = (tmp_path / "copy.vrt").read_text()
    assert all(f"<Category>{one.title}</Category>" in said for one in SOURCE.classes)


def test_a_cog_of_classes_has_no_class_that_the_array_lacks(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    for chunk in plan.chunks():
        pixels = fill(chunk, 1)
        two = np.where(pixels.source > 1, 1, 3).astype(np.uint8)
        write_chunk(open_storage(tmp_path), 0, chunk, replace(pixels, source=two))
    export(cube, SOURCE, "source.tif", plan)
    with rasterio.open(tmp_path / "source.tif", overview_level=0) as overview:
        assert set(np.unique(overview.read())) == {1, 3}


def test_no_room_for_the_scratch_is_said_before_anything_is_written(
    cube: Path, plan: GridPlan, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = next(plan.chunks())
    write_chunk(storage, 0, chunk, fill(chunk, 1))
    usage = shutil.disk_usage(cube)
    monkeypatch.setattr(
        "cloudfree.product.cog.shutil.disk_usage", lambda _: usage._replace(free=2**20)
    )  # the real disk is full only by chance
    with pytest.raises(StoreError, match=r"No space left on device: .* needs about 4 MB and 1 MB"):
        export(cube, REFLECTANCE, "r.tif", plan)
    assert [path.name for path in cube.parent.iterdir()] == ["cube.zarr"]


def test_a_folder_that_cannot_take_the_cog_is_named(
    cube: Path, plan: GridPlan, tmp_path: Path
) -> None:
    (tmp_path / "r.tif").mkdir()
    with pytest.raises(StoreError, match=r"r\.tif: Is a directory"):
        export(cube, SOURCE, "r.tif", plan)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.zarr", "r.tif"]
