"""Items from local files: links, filters, and what is no catalog. APIs: tests/integration."""

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import pystac
import pytest
import shapely
from pyproj import Geod
from shapely.geometry import mapping

from cloudfree.core.config import CatalogSettings, SceneSettings
from cloudfree.core.errors import CatalogError
from cloudfree.scenes.catalog import read_scenes, search, widen
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.scene import parse_period

AREA = shapely.box(10.0, 47.0, 10.4, 47.2)
OVER = shapely.box(9.5, 46.5, 10.5, 47.5)
ELSEWHERE = shapely.box(20.0, 46.5, 21.0, 47.5)
GEOD = Geod(ellps="WGS84")


def item(
    name: str,
    moment: str = "2024-06-15T10:20:00Z",
    collection: str = "sentinel-2-l2a",
    footprint: shapely.Geometry = OVER,
    href: str = "./B04.tif",
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "geometry": mapping(footprint),
        "bbox": list(footprint.bounds),
        "properties": {"datetime": moment},
        "links": [],
        "assets": {"B04": {"href": href}},
    }


def write(folder: Path, *items: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def ask(
    path: Path | str, date: str = "2024-06-15", *, strict: bool = False, **scenes: Any
) -> list[dict[str, Any]]:
    catalog = CatalogSettings(strict=strict)
    return search(
        find_sources(catalog, str(path)),
        area=AREA,
        period=parse_period(date),
        catalog=catalog,
        scenes=SceneSettings(**scenes),
    )


def names(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


@pytest.mark.parametrize(
    "href",
    ["https://x.org/a/B04.tif?sig=1", "s3://bucket/B04.tif", "/vsis3/bucket/B04.tif"],
)
def test_absolute_links_stay(tmp_path: Path, href: str) -> None:
    (found,) = ask(write(tmp_path, item("a", href=href)))
    assert found["assets"]["B04"]["href"] == href


@pytest.mark.parametrize("folder", ["scenes", "my scenes", "Gebüsch", "50%20"])
@pytest.mark.parametrize("href", ["B04.tif", "./tile/B04.tif", "../other/B04.tif"])
def test_relative_links_lead_from_the_file_to_the_asset(
    tmp_path: Path, folder: str, href: str
) -> None:
    path = write(tmp_path / folder, item("a", href=href))
    asset = path.parent / href
    asset.parent.mkdir(exist_ok=True)
    asset.write_bytes(b"pixels")
    (found,) = ask(path)
    assert Path(found["assets"]["B04"]["href"]).read_bytes() == b"pixels"


def test_relative_links_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "scenes", item("a"))
    monkeypatch.chdir(tmp_path)
    (found,) = ask("scenes/items.json")
    assert found["assets"]["B04"]["href"] == str(path.with_name("B04.tif"))


def test_only_items_over_the_area_count(tmp_path: Path) -> None:
    assert names(ask(write(tmp_path, item("far", footprint=ELSEWHERE), item("near")))) == ["near"]


def test_only_the_named_collections_count(tmp_path: Path) -> None:
    path = write(tmp_path, item("landsat", collection="landsat-c2-l2"), item("s2"))
    assert names(ask(path)) == ["s2"]


def test_radar_may_lie_farther_off_than_optical(tmp_path: Path) -> None:
    radar = [
        item(f"r{day}", f"2024-06-{day:02d}T05:00:00Z", "sentinel-1-rtc") for day in (8, 11, 22, 23)
    ]
    optical = [item(f"o{day}", f"2024-06-{day:02d}T10:00:00Z") for day in (12, 13, 17, 19)]
    found = ask(write(tmp_path, *radar, *optical), optical_days=2, sar_days=4)
    assert names(found) == ["r11", "o13", "o17"]


def test_an_interval_takes_optical_items_inside_it_alone(tmp_path: Path) -> None:
    optical = [item(f"o{day}", f"2024-06-{day}T10:00:00Z") for day in (14, 15, 20, 22)]
    radar = [item(f"r{day}", f"2024-06-{day}T05:00:00Z", "sentinel-1-rtc") for day in (12, 14, 24)]
    found = ask(write(tmp_path, *optical, *radar), "2024-06-15/2024-06-21", sar_days=2)
    assert names(found) == ["r14", "o15", "o20"]


def test_items_come_once_in_a_fixed_order(tmp_path: Path) -> None:
    items = [item("b"), item("a"), item("b"), item("r", collection="sentinel-1-rtc")]
    assert names(ask(write(tmp_path, *items))) == ["r", "a", "b"]
    assert names(ask(write(tmp_path, *items[::-1]))) == ["r", "a", "b"]


def test_one_item_is_a_catalog_too(tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("a")))
    (found,) = ask(path)
    assert found["assets"]["B04"]["href"] == str(tmp_path / "B04.tif")


@pytest.mark.parametrize("folder", ["static", "my catalog"])
def test_a_static_catalog_is_walked_to_its_items(tmp_path: Path, folder: str) -> None:
    root = pystac.Catalog("root", "A catalog of two floors")
    extent = pystac.Extent(
        pystac.SpatialExtent([list(OVER.bounds)]),
        pystac.TemporalExtent([[dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]]),
    )
    collection = pystac.Collection("sentinel-2-l2a", "Scenes", extent)
    root.add_child(collection)
    for name, footprint in (("near", OVER), ("far", ELSEWHERE)):
        collection.add_item(pystac.Item.from_dict(item(name, footprint=footprint)))
    root.normalize_and_save(str(tmp_path / folder), pystac.CatalogType.SELF_CONTAINED)
    (found,) = ask(tmp_path / folder / "catalog.json")
    assert found["id"] == "near"
    expected = tmp_path / folder / "sentinel-2-l2a" / "near" / "B04.tif"
    assert found["assets"]["B04"]["href"] == str(expected)
    (scene,) = read_scenes([found], find_sources(CatalogSettings(), "items.json")).scenes
    assert scene.href("B04") == str(expected)


def test_a_catalog_whose_child_is_missing_is_refused(tmp_path: Path) -> None:
    root = pystac.Catalog("root", "A catalog")
    root.add_item(pystac.Item.from_dict(item("a")))
    root.normalize_and_save(str(tmp_path), pystac.CatalogType.SELF_CONTAINED)
    (tmp_path / "a" / "a.json").unlink()
    with pytest.raises(CatalogError, match=r"catalog\.json") as caught:
        ask(tmp_path / "catalog.json")
    assert "\n" not in str(caught.value)


WITHOUT_ASSETS = {key: value for key, value in item("a").items() if key != "assets"}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"type": "Polygon", "coordinates": []},
        {"type": "FeatureCollection", "features": [7]},
        {"type": "FeatureCollection", "features": None},
    ],
)
def test_what_is_no_catalog_is_refused_in_one_line(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps(document))
    with pytest.raises(CatalogError) as caught:
        ask(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_a_file_that_is_missing_or_not_json_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "items.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"items\.json") as caught:
        ask(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("latitude", [-0.5, 4.0, 47.0, -70.0])
def test_a_widened_area_is_wider_by_at_least_the_asked_metres(latitude: float) -> None:
    area = shapely.box(10.0, latitude, 10.3, latitude + 0.2)
    grown = widen(area, 4000.0)
    rim = shapely.get_coordinates(shapely.segmentize(grown.exterior, 0.005))
    edge = shapely.get_coordinates(shapely.segmentize(area.exterior, 0.005))
    nearest = min(
        min(GEOD.inv([x] * len(edge), [y] * len(edge), edge[:, 0], edge[:, 1])[2]) for x, y in rim
    )
    assert nearest >= 4000.0
    assert grown.contains(area)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({**WITHOUT_ASSETS, "id": "bad"}, "it has no assets"),
        ({**item("bad"), "geometry": None}, "STAC item bad cannot be used"),
        ({**item("bad"), "properties": {}}, "it has no start_datetime"),
        ({**item("bad"), "assets": {"B04": 7}}, "STAC item bad cannot be used"),
    ],
)
def test_one_item_that_cannot_be_used_is_left_out_and_named(
    tmp_path: Path, broken: dict[str, Any], why: str
) -> None:
    path = write(tmp_path, item("good"), broken)
    sources = find_sources(CatalogSettings(), str(path))
    scenes, left_out = read_scenes(ask(path), sources)
    assert [scene.id for scene in scenes] == ["good"]
    assert len(left_out) == 1
    assert why in left_out[0]
    with pytest.raises(CatalogError, match="cannot be used"):
        ask(path, strict=True)


def test_a_scene_without_a_band_is_left_out_where_others_have_it(tmp_path: Path) -> None:
    lacking = item("lacking")
    del lacking["assets"]["B04"]
    path = write(tmp_path, item("good"), lacking)
    sources = find_sources(CatalogSettings(), str(path))
    readable = read_scenes(ask(path), sources, ("B04",))
    assert [scene.id for scene in readable.scenes] == ["good"]
    assert readable.left_out == ["scene lacking has no asset for B04"]
    # where none has it, the choice of scenes says what they have instead
    alone = read_scenes([lacking], sources, ("B04",))
    assert [scene.id for scene in alone.scenes] == ["lacking"]


def test_collections_that_are_not_wanted_are_named(tmp_path: Path) -> None:
    nameless = item("a")
    del nameless["collection"]
    path = write(tmp_path, nameless, item("b", collection="landsat-c2-l2"))
    with pytest.raises(CatalogError, match="1 of landsat-c2-l2, 1 of no collection; wanted are"):
        ask(path)


def test_radar_without_terrain_correction_is_left_out_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, item("o"), item("g", collection="sentinel-1-grd"))
    found = ask(path)
    assert names(found) == ["g", "o"]
    scenes, _ = read_scenes(found, find_sources(CatalogSettings(), str(path)))
    assert [scene.id for scene in scenes] == ["o"]
    assert "left out 1 items of sentinel-1-grd: it is not corrected for terrain" in caplog.text


def test_numbers_that_are_none_become_words(tmp_path: Path) -> None:
    one = item("a")
    one["assets"]["B04"]["raster:bands"] = [{"nodata": float("nan"), "offset": float("-inf")}]
    (found,) = ask(write(tmp_path, one))
    assert found["assets"]["B04"]["raster:bands"] == [{"nodata": "nan", "offset": "-inf"}]
    (scene,) = read_scenes([found], find_sources(CatalogSettings(), "items.json")).scenes
    assert math.isnan(scene.stored_as("B04").nodata or 0)
