"""Which offset a scene's numbers carry: every recorded answer, and variants made of them."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from cloudfree.core.config import CatalogSettings
from cloudfree.pixels.radiometry import harmonise
from cloudfree.scenes.harmonisation import SINCE_0400_DN, Offset, decide_offset, find_offset
from cloudfree.scenes.providers import OpticalCollection, find_sources
from cloudfree.scenes.scene import read_scene
from tests import needs

DN = np.array([[[0, 1, 700, 1000, 1001, 4558]]], np.uint16)
"""Nodata, a dark valid pixel, and brighter ones."""
KEPT = [0, 1, 700, 1000, 1001, 4558]
SHIFTED = [0, 1, 1, 1, 1, 3558]


def collection_of(provider: str, name: str) -> OpticalCollection:
    stac = "items.json" if provider == "local" else None
    settings = CatalogSettings(provider=provider, radar_provider="planetary-computer")
    collection = find_sources(settings, stac).collections[name]
    assert isinstance(collection, OpticalCollection)
    return collection


def recorded(file: str) -> list[dict[str, Any]]:
    path = needs.shared("stac", "recorded", f"{file}.json")
    items: list[dict[str, Any]] = json.loads(path.read_text())["features"]
    return items


@pytest.mark.parametrize(
    ("file", "provider", "collection", "expected"),
    [
        ("planetary-computer_sentinel-2-l2a", "planetary-computer", "sentinel-2-l2a", None),
        ("planetary-computer_sentinel-2-l2a", "local", "sentinel-2-l2a", None),
        ("earth-search_sentinel-2-c1-l2a", "earth-search", "sentinel-2-c1-l2a", -1000),
        ("earth-search_sentinel-2-c1-l2a", "local", "sentinel-2-c1-l2a", -1000),
        ("earth-search_sentinel-2-l2a", "earth-search", "sentinel-2-l2a", 0),
        ("earth-search_sentinel-2-l2a", "local", "sentinel-2-l2a", 0),
        ("earth-search_sentinel-2-l1c", "local", "sentinel-2-l1c", -1000),
        ("earth-search_sentinel-s2-l2a-cogs", "local", "sentinel-s2-l2a-cogs", 0),
    ],
)
def test_every_recorded_item_has_its_offset(
    file: str, provider: str, collection: str, expected: int | None
) -> None:
    """None: by baseline, which differs between the recorded items."""
    for item in recorded(file):
        scene = read_scene(item, collection_of(provider, collection))
        wanted = (-1000 if scene.baseline >= "04.00" else 0) if expected is None else expected
        assert scene.offset.dn == wanted, (item["id"], scene.offset)
        valid = DN[0] != 0
        numbers = harmonise(DN, valid, wanted)[0, 0].tolist()
        assert numbers == (SHIFTED if wanted else KEPT)


def test_both_baselines_of_the_planetary_computer_are_recorded() -> None:
    collection = collection_of("planetary-computer", "sentinel-2-l2a")
    items = recorded("planetary-computer_sentinel-2-l2a")
    offsets = {read_scene(item, collection).offset.dn for item in items}
    assert offsets == {-1000, 0}


BASELINES = ("02.12", "03.99", "04.00", "05.09", "05.11", "10.00", "", "N0510")
OLD, NEW, UNNAMED = ("02.12", "03.99"), ("04.00", "05.09", "05.11", "10.00"), ("", "N0510")


def variant(item: dict[str, Any], baseline: str, flag: bool | None) -> dict[str, Any]:
    made = copy.deepcopy(item)
    properties = made["properties"]
    for prefix in ("s2", "sentinel"):
        properties.pop(f"{prefix}:processing_baseline", None)
        properties[f"{prefix}:processing_baseline"] = baseline
    for name in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        properties.pop(name, None)
        if flag is not None:
            properties[name] = flag
    return made


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("flag", [True, False, None])
@pytest.mark.parametrize(
    ("file", "provider", "collection"),
    [
        ("planetary-computer_sentinel-2-l2a", "planetary-computer", "sentinel-2-l2a"),
        ("earth-search_sentinel-2-c1-l2a", "earth-search", "sentinel-2-c1-l2a"),
        ("earth-search_sentinel-2-l2a", "earth-search", "sentinel-2-l2a"),
        ("earth-search_sentinel-s2-l2a-cogs", "local", "sentinel-s2-l2a-cogs"),
        ("planetary-computer_sentinel-2-l2a", "local", "sentinel-2-l2a"),
    ],
)
def test_the_matrix(
    file: str, provider: str, collection: str, baseline: str, flag: bool | None
) -> None:
    """provider x baseline x flag -> offset; None is "unknown, the pixels decide"."""
    item = variant(recorded(file)[0], baseline, flag)
    by_baseline = 0 if baseline in OLD else -1000 if baseline in NEW else None
    flagged = 0 if flag is True else 0 if baseline in OLD else None
    expected = {
        "planetary-computer/sentinel-2-l2a": by_baseline,
        "earth-search/sentinel-2-c1-l2a": -1000,
        "earth-search/sentinel-2-l2a": flagged,
        "local/sentinel-s2-l2a-cogs": flagged,
        "local/sentinel-2-l2a": by_baseline if flag is None else flagged,
    }[f"{provider}/{collection}"]
    assert read_scene(item, collection_of(provider, collection)).offset.dn == expected


def test_assets_that_disagree_or_say_nothing_leave_the_offset_unknown() -> None:
    collection = OpticalCollection(id="c", level="L2A", offset="asset")
    said = {"raster:bands": [{"offset": -0.1, "scale": 0.0001}]}
    silent = {"raster:bands": [{"scale": 0.0001}]}
    other = {"raster:bands": [{"offset": 0, "scale": 0.0001}]}
    assert find_offset(collection, {}, {"blue": said, "red": said, "scl": other}).dn == -1000
    assert find_offset(collection, {}, {"B02": {"raster:offset": -0.1}}).dn == -1000
    assert find_offset(collection, {}, {"blue": said, "red": other}).dn is None
    assert find_offset(collection, {}, {"blue": silent}).dn is None


UNKNOWN = Offset(dn=None, why="not said")


def ground(darkest: float, spread: float) -> np.ndarray:
    """Return reflectance x 10000 of three bands, all above 0."""
    rng = np.random.default_rng(4)
    return darkest + spread * rng.random((3, 4000))


@pytest.mark.parametrize("carried", [0, 1000])
def test_dark_ground_tells_whether_the_offset_is_in(carried: int) -> None:
    dn = (ground(150, 2500) + carried).astype(np.uint16)
    found = decide_offset(dn, np.ones(4000, bool), UNKNOWN)
    assert found.dn == -carried
    assert found.why.startswith("not said; ")


def test_nodata_and_a_few_wrong_pixels_do_not_decide() -> None:
    dn = (ground(150, 2500) + 1000).astype(np.uint16)
    valid = np.ones(4000, bool)
    dn[:, :1000], valid[:1000] = 0, False
    dn[:, 1000:1004] = 5
    assert decide_offset(dn, valid, UNKNOWN).dn == SINCE_0400_DN


def test_where_nothing_is_dark_the_offset_is_taken_as_in_and_said_so() -> None:
    snow = ground(6000, 3000).astype(np.uint16)
    found = decide_offset(snow, np.ones(4000, bool), UNKNOWN)
    assert (found.dn, "too bright" in found.why) == (SINCE_0400_DN, True)
    nothing = decide_offset(snow, np.zeros(4000, bool), UNKNOWN)
    assert (nothing.dn, "no valid pixel" in nothing.why) == (SINCE_0400_DN, True)
