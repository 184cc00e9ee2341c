"""From STAC items to datatakes and their radar partners."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
import shapely
from shapely.geometry import mapping

from cloudfree.core.config import CatalogSettings, ReferenceSettings, SceneSettings
from cloudfree.core.contract import Channels
from cloudfree.core.errors import CatalogError, NoSceneError, SettingsError
from cloudfree.scenes.choice import select_scenes
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.scene import Scene, Step, parse_period, read_scene

AREA = shapely.box(10.0, 47.0, 10.4, 47.2)
REACH = AREA.buffer(0.1)
WEST = shapely.box(9.0, 46.0, 10.2, 48.0)
EAST = shapely.box(10.2, 46.0, 11.0, 48.0)
ALL = shapely.box(9.0, 46.0, 11.0, 48.0)
BESIDE = shapely.box(10.45, 46.0, 11.0, 48.0)
NOON = dt.datetime(2024, 6, 15, 10, 20, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
EITHER = Channels(polarizations=("vv", "vh"))
SOURCES = find_sources(CatalogSettings(), "items.json")
L2A = SOURCES.collections["sentinel-2-l2a"]
BOTH = Channels(polarizations=("vh", "vv"), all_polarizations=True)


def optical(name: str, hours: float = 0, **changes: Any) -> Scene:
    scene = Scene(
        id=name,
        collection="sentinel-2-l2a",
        time=NOON + hours * HOUR,
        platform="sentinel-2a",
        footprint=ALL,
        hrefs={"B02": "b2", "B04": "b4", "SCL": "scl"},
        datatake="",
        tile="",
        orbit_state="",
        baseline="05.10",
        kind="L2A",
        offset=Offset(dn=-1000, why="processing baseline 05.10"),
        cloud_percent=40.0,
        assets={},
    )
    return replace(scene, **changes)


def radar(name: str, hours: float = 5, **changes: Any) -> Scene:
    asked = {
        "collection": "sentinel-1-rtc",
        "platform": "sentinel-1a",
        "hrefs": {"vv": "vv", "vh": "vh"},
        "baseline": "",
        **changes,
    }
    return optical(name, hours, **asked)


def select(
    *scenes: Scene,
    date: str = "2024-06-15",
    channels: Channels = EITHER,
    passed_over: frozenset[str] = frozenset(),
    **settings: Any,
) -> list[Step]:
    return select_scenes(
        scenes,
        area=AREA,
        reach=REACH,
        period=parse_period(date),
        bands=("B04", "B02"),
        channels=channels,
        sources=SOURCES,
        settings=SceneSettings(**settings),
        references=ReferenceSettings(days=0),
        passed_over=passed_over,
    )


def ids(scenes: tuple[Scene, ...]) -> list[str]:
    return [scene.id for scene in scenes]


def test_a_day_is_24_hours() -> None:
    period = parse_period(" 2024-06-15 ")
    assert (period.first, period.end) == (
        dt.datetime(2024, 6, 15, tzinfo=dt.UTC),
        dt.datetime(2024, 6, 16, tzinfo=dt.UTC),
    )
    assert not period.is_interval
    assert str(period) == "2024-06-15"


def test_an_interval_holds_its_last_day() -> None:
    period = parse_period("2024-02-27/2024-03-01")
    assert period.end - period.first == dt.timedelta(days=4)
    assert period.is_interval
    assert str(period) == "2024-02-27/2024-03-01"
    one_day = parse_period("2024-06-15/2024-06-15")
    assert one_day.is_interval
    assert str(one_day) == "2024-06-15/2024-06-15"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "15.06.2024",
        "2024-06",
        "2024-06-31",
        "2024-06-15T10:00:00Z",
        "2024-06-01/",
        "/2024-06-01",
        "2024-06-01/..",
        "2024-06-01/2024-06-02/2024-06-03",
        "2024-06-02/2024-06-01",
        "9999-12-31",
    ],
)
def test_a_wrong_date_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match="give") as caught:
        parse_period(text)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("moment", "hours"),
    [("2024-06-15T12:00", 0), ("2024-06-14T21:00", 3), ("2024-06-16T05:00", 5)],
)
def test_distance_to_a_day(moment: str, hours: float) -> None:
    time = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)
    assert parse_period("2024-06-15").distance(time) == hours * HOUR


def item(**properties: Any) -> dict[str, Any]:
    return {
        "id": "S2A_X",
        "collection": "sentinel-2-l2a",
        "geometry": mapping(WEST),
        "properties": {"datetime": "2024-06-15T10:20:00.123Z", **properties},
        "assets": {"B04": {"href": "a/B04.tif"}},
    }


def test_a_scene_is_what_its_item_says() -> None:
    scene = read_scene(
        item(
            **{
                "platform": "Sentinel-2A",
                "s2:processing_baseline": "05.10",
                "s2:datatake_id": "GS2A",
                "eo:cloud_cover": 12,
                "grid:code": "MGRS-32TPT",
            }
        ),
        L2A,
    )
    assert scene.time == dt.datetime(2024, 6, 15, 10, 20, 0, 123000, dt.UTC)
    assert scene.platform == "sentinel-2a"
    assert (scene.baseline, scene.datatake) == ("05.10", "GS2A")
    assert (scene.tile, scene.kind, scene.offset.dn) == ("32TPT", "L2A", -1000)
    assert scene.cloud_percent == 12.0
    assert scene.footprint.equals(WEST)
    assert scene.href("B04") == "a/B04.tif"
    assert scene.href("B02") is None


def test_a_scene_without_the_optional_fields() -> None:
    scene = read_scene(item(), L2A)
    assert (scene.platform, scene.baseline, scene.cloud_percent) == ("", "", None)


@pytest.mark.parametrize(
    ("properties", "zone"),
    [
        ({"proj:epsg": 32632}, 32632),
        ({"proj:code": "EPSG:32632"}, 32632),
        ({"proj:code": None, "proj:epsg": None, "grid:code": "MGRS-32TPT"}, 32632),
        ({"proj:epsg": 32632, "s2:mgrs_tile": "33UUP"}, 32632),
        ({"s2:mgrs_tile": "32KPT"}, None),  # of the southern hemisphere
        ({"proj:epsg": 32633}, None),  # which the footprint does not reach
        ({"proj:epsg": 3035}, None),
        ({"proj:epsg": "none"}, None),
        ({}, None),
    ],
)
def test_a_scenes_zone_is_what_the_item_says_if_the_footprint_reaches_it(
    properties: dict[str, Any], zone: int | None
) -> None:
    assert read_scene(item(**properties), L2A).zone == zone


def test_a_scenes_zone_may_stand_on_an_asset() -> None:
    said = item()
    said["assets"]["B04"]["proj:code"] = "EPSG:32632"
    assert read_scene(said, L2A).zone == 32632


def test_an_item_may_give_a_range_instead_of_a_moment() -> None:
    scene = read_scene(item(datetime=None, start_datetime="2024-06-15T05:00:00"), L2A)
    assert scene.time == dt.datetime(2024, 6, 15, 5, tzinfo=dt.UTC)


def test_times_are_utc_whatever_zone_the_item_names() -> None:
    scene = read_scene(item(datetime="2024-06-15T12:20:00+02:00"), L2A)
    assert scene.time == NOON
    assert scene.time.replace(tzinfo=None) == NOON.replace(tzinfo=None)


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {}},
        {"properties": {"datetime": "yesterday"}},
        {"properties": None},
        {"assets": {"B04": 7}},
        {"assets": None},
        {"geometry": None},
        {"geometry": {"type": "Foo", "coordinates": []}},
        {"geometry": {"type": "Polygon", "coordinates": [[[1, 2]]]}},
    ],
)
def test_an_item_that_cannot_be_used_is_named_in_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match="S2A_X") as caught:
        read_scene({**item(), **change}, L2A)
    assert "\n" not in str(caught.value)


def test_a_day_takes_the_nearest_datatake() -> None:
    steps = select(
        optical("before", -60), optical("near", 48), optical("after", 100), radar("r", 50)
    )
    assert [ids(step.optical) for step in steps] == [["near"]]


def test_tiles_of_one_overpass_are_one_step_in_a_fixed_order() -> None:
    tiles = [
        optical("T33_b", 0.1, footprint=WEST),
        optical("T32_a", 0.2, footprint=EAST),
        optical("T33_a", 0.0, footprint=EAST),
    ]
    for order in (tiles, tiles[::-1]):
        (step,) = select(*order, radar("r"))
        assert ids(step.optical) == ["T32_a", "T33_a", "T33_b"]
        assert step.time == NOON


def test_of_equally_near_datatakes_the_one_that_covers_more() -> None:
    part = optical("part", 0, footprint=WEST)
    whole = optical("whole", 2, platform="sentinel-2b")
    (step,) = select(part, whole, radar("r"))
    assert ids(step.optical) == ["whole"]


def test_an_interval_takes_every_datatake_in_it_earliest_first() -> None:
    scenes = [optical(f"d{day}", 24 * day) for day in (4, 0, 2, -3, 9)]
    steps = select(*scenes, radar("r", 24), date="2024-06-15/2024-06-19")
    assert [ids(step.optical) for step in steps] == [["d0"], ["d2"], ["d4"]]


def test_level_2a_goes_before_its_twin_of_level_1c() -> None:
    twin = {"collection": "sentinel-2-l1c", "hrefs": {"B02": "x", "B04": "y"}}
    (step,) = select(optical("a_l1c", 0.05, **twin), optical("b_l2a"), radar("r"))
    assert ids(step.optical) == ["b_l2a"]
    other_day = optical("l1c", 24, **twin)
    steps = select(optical("l2a"), other_day, radar("r"), date="2024-06-15/2024-06-16")
    assert [ids(step.optical) for step in steps] == [["l2a"], ["l1c"]]


def test_a_datatake_that_is_passed_over_takes_its_tiles_and_its_twin_along() -> None:
    tiles = (optical("a1"), optical("a2", 0.01))
    twin = optical("l1c", collection="sentinel-2-l1c")
    scenes = (*tiles, twin, optical("later", 40), radar("r"), radar("r2", 41))
    assert ids(select(*scenes)[0].optical) == ["a1", "a2"]
    assert ids(select(*scenes, passed_over=frozenset({"a2"}))[0].optical) == ["later"]
    with pytest.raises(NoSceneError, match="no optical scene"):
        select(*scenes, passed_over=frozenset({"a1", "later"}))


def test_a_preferred_twin_beside_the_area_does_not_hide_the_one_over_it() -> None:
    beside = optical("l2a", footprint=BESIDE)
    over = optical("l1c", collection="sentinel-2-l1c")
    (step,) = select(beside, over, radar("r"))
    assert ids(step.optical) == ["l1c"]


def test_the_radar_partner_covers_the_area_first_and_is_near_in_time_second() -> None:
    half = radar("half", 1, footprint=WEST)
    late = radar("late", 60)
    soon = radar("soon", -30)
    (step,) = select(optical("o"), half, late, soon)
    assert ids(step.radar) == ["soon"]
    assert step.radar_age_h == -30.0
    (step,) = select(optical("o"), half)
    assert ids(step.radar) == ["half"]


def test_a_pass_of_several_radar_scenes_counts_as_one() -> None:
    north, south = radar("n", 5, footprint=WEST), radar("s", 5.01, footprint=EAST)
    (step,) = select(optical("o"), north, south, radar("late", 90))
    assert ids(step.radar) == ["n", "s"]
    assert step.radar_age_h == 5.0


def test_a_polarisation_that_the_pass_has_is_taken() -> None:
    (step,) = select(optical("o"), radar("r", hrefs={"vh": "vh"}))
    assert step.polarizations == ("vh",)
    (step,) = select(optical("o"), radar("hh", 1, hrefs={"hh": "hh"}), radar("r", 30))
    assert (ids(step.radar), step.polarizations) == (["r"], ("vv",))


def test_a_polarisation_counts_only_if_the_whole_pass_has_it() -> None:
    half = radar("r2", 5.1, hrefs={"vh": "vh"})
    (step,) = select(optical("o"), radar("r1"), half)
    assert (ids(step.radar), step.polarizations) == (["r1", "r2"], ("vh",))


def test_a_model_of_both_polarisations_passes_by_nearer_radar_of_one() -> None:
    near, far = radar("vv", 1, hrefs={"vv": "vv"}), radar("both", 30)
    (step,) = select(optical("o"), near, far, channels=BOTH)
    assert (ids(step.radar), step.polarizations) == (["both"], ("vh", "vv"))
    with pytest.raises(NoSceneError, match="no radar scene of sentinel-1-rtc with VH and VV"):
        select(optical("o"), near, channels=BOTH)
    with pytest.raises(NoSceneError, match="with VV or VH within"):
        select(optical("o"), radar("hh", hrefs={"hh": "hh"}))


def test_a_step_of_several_may_lack_radar() -> None:
    steps = select(
        optical("a"), optical("b", 24 * 20), radar("r"), date="2024-06-15/2024-07-05", sar_days=3
    )
    assert [ids(step.radar) for step in steps] == [["r"], []]
    assert steps[1].radar_age_h is None


def test_radar_that_only_touches_the_halo_is_no_partner() -> None:
    with pytest.raises(NoSceneError, match="radar"):
        select(optical("o"), radar("beside", footprint=BESIDE))


def test_without_radar_the_error_says_asked_found_and_do() -> None:
    with pytest.raises(NoSceneError) as caught:
        select(optical("o"), radar("far", 24 * 9), sar_days=4)
    for words in ("sentinel-1-rtc", "4 days of 2024-06-15", "far of 2024-06-24", "--sar-days"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_optical_the_error_says_asked_found_and_do() -> None:
    with pytest.raises(NoSceneError) as caught:
        select(optical("far", 24 * 9), radar("r"), optical_days=2)
    for words in ("2 days of 2024-06-15", "far of 2024-06-24", "--optical-days"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_interval_is_not_told_to_raise_what_does_not_widen_it() -> None:
    with pytest.raises(NoSceneError, match="2024-06-01/2024-06-10") as caught:
        select(optical("o"), radar("r"), date="2024-06-01/2024-06-10")
    assert "o of 2024-06-15" in str(caught.value)
    assert "--optical-days" not in str(caught.value)


@pytest.mark.parametrize("scenes", [[], [radar("r")], [optical("o", footprint=BESIDE)]])
def test_nothing_over_the_area_is_an_error_of_one_line(scenes: list[Scene]) -> None:
    with pytest.raises(NoSceneError, match=r"sentinel-2-l2a.*2024-06-15.*--stac") as caught:
        select(*scenes)
    assert "\n" not in str(caught.value)


def test_a_band_that_a_scene_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(NoSceneError, match=r"o1 has no asset for B04.*B02, SCL.*--bands"):
        select(optical("o1", hrefs={"B02": "x", "SCL": "y"}), radar("r"))


def test_a_footprint_that_crosses_itself_does_not_stop_the_walk() -> None:
    crossing = [[(9, 46), (11, 48), (11, 46), (9, 48), (9, 46)]]
    scene = read_scene({**item(), "geometry": {"type": "Polygon", "coordinates": crossing}}, L2A)
    assert scene.footprint.is_valid
    scene = replace(scene, hrefs=optical("o").hrefs)
    twin = replace(scene, id="twin", footprint=ALL)
    (step,) = select(scene, twin, radar("r"))
    assert set(ids(step.optical)) == {scene.id, "twin"}


@pytest.mark.parametrize(
    ("bounds", "is_scene"),
    [
        ((-180, -90, 180, 90), False),
        ((-180, -60, 180, 60), False),
        ((0, -90, 180, 90), False),
        ((-90, -45, 89, 45), False),
        ((9, 47, 12, 49), True),
        ((179, -20, 181, -18), True),
        ((-75, -34, -34, 5), True),  # a mosaic of Brazil
        ((5, 47, 15, 55), True),  # a mosaic of Germany
        ((-180, 78, 180, 90), True),  # 5.6 million km2 around the pole
    ],
)
def test_no_scene_covers_a_continent(bounds: tuple[float, ...], is_scene: bool) -> None:
    one = {
        "id": "a",
        "geometry": mapping(shapely.box(*bounds)),
        "properties": {"datetime": "2024-06-15T10:20:31Z"},
        "assets": {},
    }
    if is_scene:
        assert read_scene(one, L2A).footprint.area > 0
    else:
        with pytest.raises(CatalogError, match="million km2, more than any scene"):
            read_scene(one, L2A)
