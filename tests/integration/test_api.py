"""The Python functions do what the command line does, on folders and object stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
import xarray as xr

import cloudfree
from cloudfree.core.config import GridSettings, RestorationSettings, SceneSettings
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.test_object_stores import environment
from tests.servers.stores import BUCKET, serve_s3

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("api") / "out"
    cloudfree.run(
        scenes.aoi, scenes.date, out, stac=scenes.items, model="baseline", bands=("B04", "B08"),
        check=False,
    )  # fmt: skip
    return out


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("something was computed")


def test_a_cube_is_opened_lazily_and_decoded(product: Path) -> None:
    with dask.config.set(scheduler=refuse):
        cube = cloudfree.open_cube(product)
        assert isinstance(cube.reflectance.data, da.Array)
        assert list(cube) == sorted(cube)
        for array in cube.values():
            assert array.data.chunksize == array.shape  # one shard
    assert cube.reflectance.dims == ("time", "band", "y", "x")
    assert [str(band) for band in cube.band.values] == ["B04", "B08"]
    assert "spatial_ref" in cube.coords
    values = cube.reflectance.load()
    assert np.isnan(values.where(cube.source == 0)).all()
    assert 0.01 < float(values.median()) < 0.6


@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # xarray writes them, and zarr warns
def test_parts_of_a_cube_can_be_copied_however_they_are_cut(product: Path, tmp_path: Path) -> None:
    """The last three are for xarray alone."""
    cube, raw = cloudfree.open_cube(product), {"decode_coords": "all", "mask_and_scale": False}
    some = {"y": slice(11, 150), "x": slice(70, 333)}
    plain = xr.open_zarr(product / "cube.zarr", decode_coords="all")
    stored = xr.open_zarr(product / "cube.zarr", **raw)
    with pytest.raises(ValueError, match="overlap multiple Dask chunks"):
        plain.to_zarr(tmp_path / "refused")  # why this needs words
    for name, part, whole in (
        ("whole", cube, cube),
        ("part", cube.isel(some), cube.isel(some)),
        ("cut", cube.chunk({"y": 50, "x": 70}), cube),
        ("plain", plain.drop_encoding(), cube),
        ("stored", stored.drop_encoding(), cube),
        ("part stored", stored.isel(some).drop_encoding(), cube.isel(some)),
    ):
        part.to_zarr(tmp_path / name)
        copy = xr.open_zarr(tmp_path / name, decode_coords="all")
        single = copy.assign(reflectance=copy.reflectance.astype(np.float32))
        xr.testing.assert_equal(single.load(), whole.load())
        assert copy.spatial_ref.attrs["crs_wkt"] == cube.spatial_ref.attrs["crs_wkt"]
        numbers = copy.reflectance.encoding["dtype"]
        assert numbers == ("float64" if name == "plain" else "uint16")


def test_the_same_call_resumes_and_the_outcome_prints(
    product: Path, scenes: SyntheticScenes
) -> None:
    again = cloudfree.run(
        scenes.aoi, scenes.date, product, stac=scenes.items, model="baseline",
        bands=("B04", "B08"), check=False,
    )  # fmt: skip
    assert again.chunks_resumed == again.chunks_done == 1
    assert "reconstructed" in str(again)
    assert again.summary["check"] is None


def test_a_plan_is_that_of_the_command_line(scenes: SyntheticScenes, cloudfree_: Command) -> None:
    geometry = shapely.from_geojson(json.dumps(json.loads(scenes.aoi.read_text())["geometry"]))
    settings = cloudfree.RunSettings(
        grid=GridSettings(bands=("B02",)), restoration=RestorationSettings(model="baseline")
    )
    plan = cloudfree.plan(geometry, scenes.date, stac=scenes.items, settings=settings)
    code, said, _ = cloudfree_(
        "plan", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--bands", "B02", "--model", "baseline",
    )  # fmt: skip
    assert code == 0
    assert str(plan) == said.strip()


def test_an_area_between_the_centres_is_the_pixel_that_it_touches(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    middle = shapely.from_geojson(scenes.aoi.read_text()).centroid
    outcome = cloudfree.run(
        middle.buffer(1e-8), scenes.date, tmp_path / "out", stac=scenes.items, check=False,
        settings=cloudfree.RunSettings(scenes=SceneSettings(min_seen=0)), model="baseline",
    )  # fmt: skip
    assert outcome.failed == {}
    cube = cloudfree.open_cube(tmp_path / "out")
    there = (cube.source > 0).to_numpy()[0]
    assert there.sum() == 1
    to_metres = pyproj.Transformer.from_crs(4326, cube.spatial_ref.attrs["crs_wkt"], always_xy=True)
    x, y = to_metres.transform(middle.x, middle.y)
    row, col = np.argwhere(there)[0]
    assert abs(cube.x.to_numpy()[col] - x) <= 5
    assert abs(cube.y.to_numpy()[row] - y) <= 5


def test_what_was_left_out_of_an_area_is_a_warning_of_plan_and_run(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    area = shapely.from_geojson(scenes.aoi.read_text())
    file = tmp_path / "area.fgb"
    drawn = shapely.to_wkb([area, area.centroid])
    pyogrio.raw.write(file, drawn, [], [], geometry_type="Unknown", crs="EPSG:4326")
    said = f"left out a Point of {file}: an area is made of polygons"
    plan = cloudfree.plan(file, scenes.date, stac=scenes.items, model="baseline")
    assert plan.aoi.geometry.equals(area)
    assert said in plan.warnings()
    assert f"warning  {said}" in str(plan)


@pytest.fixture
def cloudfree_(request: pytest.FixtureRequest) -> Command:
    """The command line; its fixture has the package's name."""
    command: Command = request.getfixturevalue("cloudfree")
    return command


def test_settings_may_be_a_toml_file(scenes: SyntheticScenes) -> None:
    toml = ROOT / "pipelines" / "run.toml"
    plan = cloudfree.plan(
        scenes.aoi, scenes.date, stac=scenes.items, settings=toml, model="baseline"
    )
    assert plan.bundle.contract.name == "baseline"


def test_wrong_requests_are_one_line(tmp_path: Path, scenes: SyntheticScenes) -> None:
    with pytest.raises(cloudfree.RequestError, match="there is no cube in"):
        cloudfree.open_cube(tmp_path)
    with pytest.raises(cloudfree.RequestError, match="no model bundle 'none'"):
        cloudfree.load_model("none")
    with pytest.raises(cloudfree.RequestError, match="bands are B4"):
        cloudfree.plan(scenes.aoi, scenes.date, stac=scenes.items, bands=["B4"])


def test_a_cube_on_an_object_store(product: Path, scenes: SyntheticScenes) -> None:
    with serve_s3() as server, environment(server.environment):
        url = f"s3://{BUCKET}/some/where"
        cloudfree.run(
            scenes.aoi, scenes.date, url, stac=scenes.items, model="baseline",
            bands=("B04", "B08"), check=False,
        )  # fmt: skip
        xr.testing.assert_equal(
            cloudfree.open_cube(url).load(), cloudfree.open_cube(product).load()
        )
        with pytest.raises(cloudfree.RequestError, match="there is no cube in s3://"):
            cloudfree.open_cube(f"s3://{BUCKET}/elsewhere")
