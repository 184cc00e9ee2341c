"""Grids in CRSs of all kinds: which one a plan takes, and that a run is as exact in each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely
from odc.geo.crs import CRS
from pyproj import Geod
from scipy.ndimage import distance_transform_edt
from shapely.geometry import mapping

from cloudfree.geometry.aoi import cut_at_antimeridian
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, make, open_raw, read_exactly, summary

Command = Callable[..., tuple[int, str, str]]
LAEA = "+proj=laea +lat_0=50 +lon_0=10 +datum=WGS84 +units=m +no_defs"
GEOD = Geod(ellps="WGS84")


def items_over(
    scenes: SyntheticScenes, footprint: shapely.Geometry, *optical: dict[str, Any]
) -> list[Any]:
    """Return the synthetic scenes' items over a footprint; one optical for each of ``optical``."""
    features = json.loads(scenes.items.read_text())["features"]
    radar = next(one for one in features if one["collection"] != "sentinel-2-l2a")
    first = next(one for one in features if one["collection"] == "sentinel-2-l2a")
    optical_items = [
        {**first, "id": f"optical{k}", "properties": first["properties"] | changes}
        for k, changes in enumerate(optical)
    ]
    return [one | {"geometry": mapping(footprint)} for one in (radar, *optical_items)]


def plan_of(
    cloudfree: Command,
    folder: Path,
    area: shapely.Geometry,
    items: list[Any],
    *more: str,
    date: str = "2024-06-15",
) -> Any:
    (folder / "aoi.geojson").write_text(json.dumps(mapping(area)))
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    code, printed, complaint = cloudfree(
        "plan", "--aoi", folder / "aoi.geojson", "--date", date, "--stac", folder / "items.json",
        "--model", "baseline", "--json", *more,
    )  # fmt: skip
    assert (code, complaint) == (0, "")
    return json.loads(printed)


@pytest.mark.parametrize(
    ("area", "said", "crs"),
    [
        ((5.2, 60.3, 5.4, 60.4), {"s2:mgrs_tile": "32VKM", "proj:epsg": 32632}, "EPSG:32632"),
        ((5.2, 60.3, 5.4, 60.4), {"s2:mgrs_tile": "", "proj:epsg": None}, "EPSG:32632"),
        ((15.0, 78.0, 16.0, 78.3), {"s2:mgrs_tile": "33XWG", "proj:epsg": 32633}, "EPSG:32633"),
        ((22.0, 79.0, 23.0, 79.3), {"s2:mgrs_tile": "35XMH", "proj:epsg": 32635}, "EPSG:32635"),
        ((11.9, 48.0, 12.2, 48.1), {"s2:mgrs_tile": "32UQU", "proj:epsg": 32632}, "EPSG:32632"),
        ((11.9, 48.0, 12.2, 48.1), {"s2:mgrs_tile": "33UUP", "proj:epsg": 32633}, "EPSG:32633"),
        ((36.9, -0.05, 37.1, 0.04), {"s2:mgrs_tile": "37NBA", "proj:epsg": 32637}, "EPSG:32637"),
        ((36.9, -0.05, 37.1, 0.04), {"s2:mgrs_tile": "37MBV", "proj:epsg": 32737}, "EPSG:32737"),
        ((18.0, -34.0, 18.2, -33.9), {"s2:mgrs_tile": "32UPU", "proj:epsg": 32632}, "EPSG:32734"),
        ((0.0, 84.5, 20.0, 86.0), {"s2:mgrs_tile": "", "proj:epsg": None}, "EPSG:5041"),
        ((0.0, -86.0, 20.0, -85.0), {"s2:mgrs_tile": "", "proj:epsg": None}, "EPSG:5042"),
    ],
)
def test_a_small_area_lies_in_the_zone_of_its_scenes(
    cloudfree: Command,
    scenes: SyntheticScenes,
    tmp_path: Path,
    area: tuple[float, float, float, float],
    said: dict[str, Any],
    crs: str,
) -> None:
    place = shapely.box(*area)
    items = items_over(scenes, shapely.box(*place.buffer(0.4).bounds), said)
    plan = plan_of(cloudfree, tmp_path, place, items)
    assert (plan["crs"], plan["warnings"]) == (crs, [])
    dense = shapely.segmentize(place, 0.01)
    true_m2 = abs(GEOD.geometry_area_perimeter(dense)[0])
    assert plan["area_km2"] == pytest.approx(true_m2 / 1e6, rel=1e-5)


def test_an_interval_over_two_zones_has_one_grid(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    """The middle's zone as soon as one step has a scene in it."""
    area, footprint = shapely.box(11.95, 48, 12.1, 48.1), shapely.box(11, 47, 13, 49)
    west = {"datetime": "2024-06-13T10:20:00Z", "s2:mgrs_tile": "32UQU", "proj:epsg": 32632}
    east = {"datetime": "2024-06-16T10:20:00Z", "s2:mgrs_tile": "33UUP", "proj:epsg": 32633}
    for found, crs in (((west, east), "EPSG:32633"), ((west,), "EPSG:32632")):
        items = items_over(scenes, footprint, *found)
        plan = plan_of(cloudfree, tmp_path, area, items, date="2024-06-10/2024-06-20")
        assert len(plan["steps"]) == len(found)
        assert plan["crs"] == crs


@pytest.mark.parametrize(
    ("area", "crs", "says"),
    [
        (shapely.box(-125, 25, -67, 49), "EPSG:32615", "measure 8.77 to 10 m on the ground"),
        (shapely.MultiPolygon([shapely.box(28, 45, 180, 75), shapely.box(-180, 65, -169, 72)]),
         "EPSG:32648", "16 % too large"),
        (shapely.MultiPolygon([shapely.box(-76, -56, -66, -17), shapely.box(-110, -28, -109, -27)]),
         "EPSG:32719", "its worst part 52 % too large"),
    ],
)  # fmt: skip
def test_a_wide_area_is_told_of_an_equal_area_grid_and_gets_it(
    cloudfree: Command,
    scenes: SyntheticScenes,
    tmp_path: Path,
    area: shapely.Geometry,
    crs: str,
    says: str,
) -> None:
    items = items_over(scenes, cut_at_antimeridian(area.buffer(0.4)), {})
    few = ("--chunk-px", "65536")
    plan = plan_of(cloudfree, tmp_path, area, items, *few)
    (warning,) = plan["warnings"]
    assert plan["crs"] == crs
    assert says in warning
    cure = warning.rsplit("Give ")[1].split()
    equal = plan_of(cloudfree, tmp_path, area, items, *few, *cure)
    assert equal["crs"].startswith("+proj=laea ")
    assert equal["area_km2"] == plan["area_km2"]
    (warning,) = equal["warnings"]
    assert warning.endswith("areas counted in them are right")


def test_a_crs_named_by_its_definition_may_be_given(
    cloudfree: Command, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    area = shapely.box(10.5, 48.2, 10.6, 48.3)
    items = items_over(scenes, shapely.box(10, 48, 11, 49), {})
    plan = plan_of(cloudfree, tmp_path, area, items, "--crs", LAEA)
    assert plan == plan_of(cloudfree, tmp_path, area, items, "--crs", plan["crs"])
    assert plan == plan_of(cloudfree, tmp_path, area, items, "--crs", "equal-area")


@pytest.fixture(scope="module", params=["EPSG:3857", "equal-area"])
def product(
    request: pytest.FixtureRequest,
    scenes: SyntheticScenes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, crs=request.param, chunk_px=1024)
    return out


def test_seen_pixels_are_exact(product: Path, scenes: SyntheticScenes) -> None:
    cube = open_raw(product)
    dn = read_exactly(scenes.items.parent / "B03.tif", cube).astype(int)
    seen = cube.source.to_numpy()[0] == 1
    assert seen.sum() > 10_000
    stored = cube.reflectance.to_numpy()[0, 1]
    np.testing.assert_array_equal(stored[seen], np.maximum(dn[seen] - 1000, 1))


def test_cutting_does_not_change_a_bit(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    crs = summary(product)["request"]["settings"]["grid"]["crs"]
    out = tmp_path / "out"
    outcome = make(
        out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, crs=crs, chunk_px=256
    )  # fmt: skip
    assert outcome.chunks_done >= 2
    assert_same_pixels(open_raw(product), open_raw(out))


def test_cloud_grows_by_metres_on_the_ground(product: Path) -> None:
    cube = open_raw(product)
    cloud = cube.cloud.to_numpy()[0]
    middle = [cube.x.to_numpy()[cube.sizes["x"] // 2], cube.y.to_numpy()[cube.sizes["y"] // 2]]
    crs = CRS(cube.spatial_ref.attrs["crs_wkt"])
    to_lonlat = crs.transformer_to_crs(CRS("EPSG:4326"))
    west, east = to_lonlat(*middle), to_lonlat(middle[0] + 10, middle[1])
    pixel_m = GEOD.inv(*west, *east)[2]
    far_px = distance_transform_edt(~np.isin(cloud, (1, 2)))
    to_rim_px = distance_transform_edt(np.pad(cube.source.to_numpy()[0] > 0, 1))[1:-1, 1:-1]
    inner = to_rim_px * pixel_m > 110  # what lies outside of the area grows into it, too
    assert far_px[inner & (cloud == 3)].max() * pixel_m == pytest.approx(100, abs=pixel_m)
    assert (cloud[(far_px * pixel_m < 99) & (cube.source.to_numpy()[0] > 0)] > 0).all()


def test_a_crs_without_a_code_is_written_down_everywhere(product: Path) -> None:
    facts = summary(product)
    properties = pystac.Item.from_file(product / "2024-06-15_item.json").properties
    group = json.loads((product / "cube.zarr" / "zarr.json").read_text())["attributes"]
    crs = CRS(facts["crs"])
    for said in (properties, group):
        (name,) = {"proj:code", "proj:wkt2"} & set(said)
        assert CRS(said[name]) == crs
        assert (name == "proj:code") == (crs.epsg is not None)
    with rasterio.open(product / "2024-06-15_reflectance.tif") as file:
        assert file.crs == rasterio.CRS.from_wkt(crs.to_wkt())
    said = [line for line in facts["warnings"] if "on the ground" in line]
    assert len(said) == (facts["crs"] == "EPSG:3857")
