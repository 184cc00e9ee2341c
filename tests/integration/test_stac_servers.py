"""Searches of real STAC APIs: one that filters well (pgstac) and one that ignores all it is asked.

The same items are in both; what a search must find is computed here, independently.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from cloudfree.core.config import CatalogSettings, SceneSettings
from cloudfree.geometry.aoi import read_aoi
from cloudfree.scenes import catalog
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.scene import parse_period
from tests import needs
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.servers.careless import serve_careless
from tests.servers.pgstac import serve_stac

Item = dict[str, Any]
COLLECTIONS = ("landsat-c2-l2", "sentinel-1-rtc", "sentinel-2-l1c", "sentinel-2-l2a")
AREA = shapely.box(10.0, 47.0, 10.4, 47.2)
NOON = dt.datetime(2024, 6, 15, 12, tzinfo=dt.UTC)


def draw_items(count: int) -> list[Item]:
    """Return items of every collection, in triangles and at times around the area and the date."""
    rng = np.random.default_rng(20)
    items = []
    for number in range(count):
        centre = rng.normal((10.2, 47.1), 0.5)
        corners = centre + rng.uniform(-0.6, 0.6, (3, 2))
        footprint = shapely.Polygon(corners)
        moment = NOON + dt.timedelta(hours=float(rng.normal(0, 140)))
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": f"drawn-{number:03d}",
                "collection": COLLECTIONS[number % len(COLLECTIONS)],
                "geometry": json.loads(shapely.to_geojson(footprint)),
                "bbox": list(footprint.bounds),
                "properties": {"datetime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")},
                "links": [],
                "assets": {"B04": {"href": f"https://files.example/{number}.tif"}},
            }
        )
    return items


DRAWN = draw_items(240)


def truth(first: dt.datetime, end: dt.datetime, collections: set[str]) -> set[str]:
    """Return the ids of the drawn items over the area, in the collections, in a span of time."""
    return {
        item["id"]
        for item in DRAWN
        if item["collection"] in collections
        and first <= dt.datetime.fromisoformat(item["properties"]["datetime"]) <= end
        and shapely.intersects(shapely.from_geojson(json.dumps(item["geometry"])), AREA)
    }


def read_real_items() -> list[Item]:
    """Return the items of the real scenes with absolute links; none where they are missing."""
    try:
        file = needs.shared("stac", "scenes", "items.json")
    except pytest.skip.Exception:
        return []
    items: list[Item] = json.loads(file.read_text())["features"]
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = str((file.parent / asset["href"]).resolve())
    return items


@pytest.fixture(scope="module")
def pgstac() -> Iterator[str]:
    """The address of stac-fastapi on pgstac with the drawn and the real items."""
    with serve_stac([*DRAWN, *read_real_items()], COLLECTIONS) as address:
        yield address


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API that filters nothing, with the drawn items."""
    with serve_careless(DRAWN, COLLECTIONS, tmp_path_factory.mktemp("careless")) as address:
        yield address


@pytest.fixture(params=["pgstac", "careless"])
def api(request: pytest.FixtureRequest) -> str:
    """Each API in turn."""
    address: str = request.getfixturevalue(request.param)
    return address


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer takes several pages."""
    monkeypatch.setattr(catalog, "_PAGE_ITEMS", 7)


def ask(stac: str | Path, area: shapely.Geometry, date: str, **scenes: float) -> list[Item]:
    return catalog.search(
        find_sources(CatalogSettings(), str(stac)),
        area=area,
        period=parse_period(date),
        catalog=CatalogSettings(),
        scenes=SceneSettings(**scenes),
    )


OPTICAL = {"sentinel-2-l1c", "sentinel-2-l2a"}
RADAR = {"sentinel-1-rtc"}
DAY = dt.timedelta(days=1)


def test_a_day_finds_what_lies_in_reach_over_the_area_each_once(api: str) -> None:
    first = dt.datetime(2024, 6, 15, tzinfo=dt.UTC)
    found = [item["id"] for item in ask(api, AREA, "2024-06-15", optical_days=3, sar_days=2)]
    optical = truth(first - 3 * DAY, first + 4 * DAY, OPTICAL)
    radar = truth(first - 5 * DAY, first + 6 * DAY, RADAR)
    assert sorted(found) == sorted(optical | radar)
    assert len(optical) > 10
    assert len(radar) > 10
    assert truth(first - 5 * DAY, first + 6 * DAY, OPTICAL) > optical


def test_an_interval_finds_optical_items_inside_alone(api: str) -> None:
    first = dt.datetime(2024, 6, 12, tzinfo=dt.UTC)
    found = [item["id"] for item in ask(api, AREA, "2024-06-12/2024-06-17", sar_days=1)]
    optical = truth(first, first + 6 * DAY, OPTICAL)
    radar = truth(first - DAY, first + 7 * DAY, RADAR)
    assert sorted(found) == sorted(optical | radar)
    assert min(len(optical), len(radar)) > 5


@pytest.mark.parametrize(
    ("place", "date", "count"),
    [
        ("finland", "2019-09-01/2020-08-31", 36),
        ("los-angeles", "2020-11-04", 2),
        ("jiangsu", "2018-09-20", 2),
    ],
)
def test_real_scenes_are_found_as_in_their_file(
    pgstac: str, real_scenes: Path, place: str, date: str, count: int
) -> None:
    area = read_aoi(real_scenes / f"{place}.geojson").geometry
    served = ask(pgstac, area, date)
    local = ask(real_scenes / "items.json", area, date)
    assert len(served) == count
    for one, other in zip(served, local, strict=True):
        assert one["id"] == other["id"]
        assert one["properties"]["datetime"][:19] == other["properties"]["datetime"][:19]
        assert {k: a["href"] for k, a in one["assets"].items()} == {
            k: a["href"] for k, a in other["assets"].items()
        }


def test_the_api_and_the_file_give_the_same_product(
    pgstac: str, real_scenes: Path, tmp_path: Path
) -> None:
    request = {"aoi": real_scenes / "jiangsu.geojson", "date": "2018-09-20"}
    make(tmp_path / "api", stac=pgstac, **request)
    make(tmp_path / "file", stac=real_scenes / "items.json", **request)
    assert_same_pixels(open_raw(tmp_path / "api"), open_raw(tmp_path / "file"))
