"""Overviews of the cube: what they hold, who may write them, and how others find them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  # gives datasets .rio
import shapely
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cloudfree.core.errors import StoreError
from cloudfree.geometry.grid import GridPlan
from cloudfree.product.layers import LAYERS, REFERENCE_DAYS, REFLECTANCE, SOURCE
from cloudfree.product.overviews import OverviewJob, overview_jobs, shrink, write_overview
from cloudfree.product.store import write_chunk
from cloudfree.storage.outputs import open_storage
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
    stored,
)

SHRUNK = [layer.name for layer in LAYERS if layer.shrinks_by]


@pytest.fixture
def plan() -> GridPlan:
    return make_grid()


@pytest.fixture
def cube(tmp_path: Path, plan: GridPlan) -> Path:
    """Filled but for one chunk of its second step."""
    cube = make_cube(tmp_path, plan)
    for step in (0, 1):
        for seed, chunk in enumerate(plan.chunks()):
            if (step, seed) != (1, 2):
                write_chunk(open_storage(tmp_path), step, chunk, fill(chunk, 10 * step + seed))
    return cube


def write_all(cube: Path, plan: GridPlan, factor: int) -> list[OverviewJob]:
    jobs = list(overview_jobs(plan, 2, factor))
    for job in reversed(jobs):  # no order among them
        write_overview(open_storage(cube.parent), job)
    return jobs


def expected(pixels: np.ndarray, average: bool) -> np.ndarray:
    """Pixel by pixel, as slowly as it is said."""
    height, width = pixels.shape
    small = np.zeros(((height + 1) // 2, (width + 1) // 2), pixels.dtype)
    for row, col in np.ndindex(small.shape):
        four = pixels[2 * row : 2 * row + 2, 2 * col : 2 * col + 2]
        if average:
            valid = four[four > 0].astype(int)
            small[row, col] = int(valid.mean() + 0.5) if valid.size else 0
        else:
            small[row, col] = four[0, 0]
    return small


@given(
    arrays.arrays(
        np.uint16,
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=7),
        elements=st.integers(0, 65535) | st.sampled_from([0, 0, 1, 65535]),
    )
)
def test_a_mean_is_that_of_what_is_valid_and_a_class_is_one_of_four(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(shrink(pixels, REFLECTANCE), expected(pixels, average=True))
    np.testing.assert_array_equal(shrink(pixels, SOURCE), expected(pixels, average=False))


def test_every_pixel_of_every_overview_comes_from_the_one_above(cube: Path, plan: GridPlan) -> None:
    above = ""
    for factor in plan.overview_factors:
        write_all(cube, plan, factor)
        for layer in LAYERS:
            if layer.shrinks_by is not None:
                large, small = (
                    stored(cube, above + layer.name),
                    stored(cube, f"ovr_{factor}x/{layer.name}"),
                )
                for index in np.ndindex(large.shape[:-2]):
                    np.testing.assert_array_equal(small[index], shrink(large[index], layer))
                assert len(np.unique(small)) > 3
        above = f"ovr_{factor}x/"
    assert (stored(cube, "ovr_2x/source")[1, :256, 512:] == 0).all()  # the chunk that is not there


def test_days_in_an_overview_are_those_of_a_pixel(tmp_path: Path, plan: GridPlan) -> None:
    cube = make_cube_of_other_days(tmp_path, plan)
    for seed, chunk in enumerate(plan.chunks()):
        if seed != 2:
            write_chunk(open_storage(tmp_path), 0, chunk, fill_of_other_days(chunk, seed, 3))
    write_all(cube, plan, 2)
    days, small = (stored(cube, f"{group}reference_days")[0] for group in ("", "ovr_2x/"))
    np.testing.assert_array_equal(small, days[::2, ::2])
    np.testing.assert_array_equal(shrink(days, REFERENCE_DAYS), small)
    assert (small[:256, 512:] == -32768).all()  # the chunk that is not there


def test_they_do_not_depend_on_how_the_cube_was_cut(tmp_path: Path, plan: GridPlan) -> None:
    ground = np.random.default_rng(5).integers(0, 9999, (3, HEIGHT, WIDTH)).astype(np.uint16)
    cubes = []
    for side in (256, SIDE):
        cut = replace(plan, chunk_px=side)
        cubes.append(make_cube(tmp_path / str(side), cut))
        for chunk in cut.chunks():
            pixels = replace(fill(chunk, 1), reflectance=ground[:, chunk.y, chunk.x])
            write_chunk(open_storage(cubes[-1].parent), 0, chunk, pixels)
        for factor in cut.overview_factors:
            write_all(cubes[-1], cut, factor)
    for factor in plan.overview_factors:
        one, other = (stored(cube, f"ovr_{factor}x/reflectance") for cube in cubes)
        np.testing.assert_array_equal(one, other)


def test_no_shard_has_two_writers_and_a_job_done_twice_changes_nothing(
    cube: Path, plan: GridPlan
) -> None:
    written: set[str] = set()
    for job in overview_jobs(plan, 2, 2):
        before = _shards(cube)
        write_overview(open_storage(cube.parent), job)
        mine = {name for name, stamp in _shards(cube).items() if before.get(name) != stamp}
        assert len(mine) == len(SHRUNK) and not mine & written
        written |= mine
    assert all("ovr_2x/" in name for name in written)
    content = {name: (cube / name).read_bytes() for name in written}
    write_all(cube, plan, 2)
    assert content == {name: (cube / name).read_bytes() for name in written}


def _shards(cube: Path) -> dict[str, int]:
    names = (path for path in cube.rglob("c/*/**/*") if path.is_file())
    return {path.relative_to(cube).as_posix(): path.stat().st_mtime_ns for path in names}


def test_jobs_cover_what_touches_the_area_and_no_more(plan: GridPlan) -> None:
    corner = replace(plan, area=shapely.box(LEFT, TOP - 100, LEFT + 100, TOP))
    assert len(list(overview_jobs(plan, 2, 2))) == 2 * 2
    jobs = list(overview_jobs(corner, 2, 2))
    assert [(job.step, job.chunk.x) for job in jobs] == [(0, slice(0, SIDE)), (1, slice(0, SIDE))]


def test_an_overview_is_a_dataset_of_its_own_in_the_right_place(cube: Path, plan: GridPlan) -> None:
    for factor in plan.overview_factors:
        write_all(cube, plan, factor)
        with xr.open_zarr(cube, group=f"ovr_{factor}x", decode_coords="all") as small:
            assert set(small.data_vars) == set(SHRUNK)
            assert small.rio.crs.to_epsg() == 32611
            assert small.rio.resolution() == (10 * factor, -10 * factor)
            assert (small.rio.bounds()[0], small.rio.bounds()[3]) == (LEFT, TOP)
            assert list(small.band.values) == list(BANDS)
            assert 0 < float(small.reflectance.mean()) < 1


def test_what_the_conventions_say_is_so(cube: Path, plan: GridPlan) -> None:
    """By the words of the specifications: paths, scales and transforms against the arrays."""
    group = zarr.open_group(cube, mode="r")
    said = json.loads((cube / "zarr.json").read_text())["attributes"]
    assert said["proj:code"] == "EPSG:32611"
    assert said["spatial:shape"] == [HEIGHT, WIDTH]
    layout = {one["asset"]: one for one in said["multiscales"]["layout"]}
    assert set(layout) == {
        f"{group}{name}" for group in ("", "ovr_2x/", "ovr_4x/") for name in SHRUNK
    }
    for name, one in layout.items():
        array = group[name]
        assert one["spatial:shape"] == list(array.shape[-2:])
        assert array.metadata.dimension_names[-2:] == tuple(said["spatial:dimensions"])
        a, _, c, _, e, f = one["spatial:transform"]
        parent = group[name.rpartition("/")[0]] if "/" in name else group
        np.testing.assert_allclose(parent["x"][:], c + a * (np.arange(array.shape[-1]) + 0.5))
        np.testing.assert_allclose(parent["y"][:], f + e * (np.arange(array.shape[-2]) + 0.5))
        if "derived_from" in one:
            scales = np.array(one["transform"]["scale"])
            above = layout[one["derived_from"]]["spatial:transform"]
            assert (above[0] * scales[-1], above[4] * scales[-2]) == (a, e)
            sizes = np.ceil(np.array(group[one["derived_from"]].shape) / scales)
            np.testing.assert_array_equal(sizes, array.shape)
    registered = {one["name"] for one in said["zarr_conventions"]}
    assert registered == {"proj", "spatial", "multiscales"}


def test_a_small_product_has_no_overview_and_says_nothing_of_one(
    tmp_path: Path, plan: GridPlan
) -> None:
    small = replace(plan, geobox=plan.geobox[:512, :300])
    assert small.overview_factors == ()
    cube = make_cube(tmp_path, small)
    attributes = json.loads((cube / "zarr.json").read_text())["attributes"]
    assert "multiscales" not in attributes
    assert [one["name"] for one in attributes["zarr_conventions"]] == ["proj", "spatial"]


def test_a_cube_that_is_gone_is_named_in_one_line(tmp_path: Path, plan: GridPlan) -> None:
    job = next(overview_jobs(plan, 1, 2))
    with pytest.raises(StoreError, match=r"gone/cube\.zarr") as caught:
        write_overview(open_storage(tmp_path / "gone"), job)
    assert "\n" not in str(caught.value)
