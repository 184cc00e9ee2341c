"""Which other days a scene's hidden pixels are made of, and which radar watches over them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cloudfree.core.config import ReferenceSettings
from cloudfree.scenes.radar_watch import watch_references
from cloudfree.scenes.references import choose_references
from cloudfree.scenes.scene import RadarWatch, Reference, Scene
from tests.unit.scenes.test_scene import ALL, BESIDE, WEST, optical, radar

DAY = 24
TARGET = optical("target", tile="32TPT")


def choose(*scenes: Scene, **settings: Any) -> tuple[Reference, ...]:
    return choose_references(
        TARGET,
        (TARGET, *scenes),
        collections=("sentinel-2-l2a", "sentinel-2-l1c"),
        bands=("B04", "B02"),
        settings=ReferenceSettings(**settings),
    )


def days(references: tuple[Reference, ...]) -> list[int]:
    return [one.days for one in references]


def on(*when: int, **changes: Any) -> list[Scene]:
    return [optical(f"day{day:+d}", day * DAY, **changes) for day in when]


def test_as_many_are_taken_before_as_after() -> None:
    scenes = on(-30, -20, -10, -5, 5, 10)
    assert days(choose(*scenes, most=4)) == [-10, -5, 5, 10]
    assert days(choose(*scenes, most=6)) == [-30, -20, -10, -5, 5, 10]
    assert days(choose(*on(-30, -20, -10, 5), most=3)) == [-20, -10, 5]


def test_what_shows_more_is_taken_and_nothing_that_shows_none() -> None:
    assert days(choose(*on(-20, cloud_percent=5), *on(-10, cloud_percent=60), most=1)) == [-20]
    assert choose(*on(-10, cloud_percent=99)) == ()
    assert choose(*on(-10, footprint=BESIDE, cloud_percent=95)) == ()
    (partly,) = choose(*on(-10, footprint=WEST))
    assert partly.covered == pytest.approx(0.6)


def test_neither_itself_nor_its_twins_nor_the_far_serve() -> None:
    own = optical("other product", collection="sentinel-2-l1c")
    anew = optical("processed anew", baseline="05.11", tile="32TPT")
    assert choose(own, anew, *on(-80, 80), *on(7, hrefs={"B04": "b4"})) == ()
    assert choose(*on(-5), days=0) == ()


def test_the_scene_of_the_own_tile_comes_first() -> None:
    own = optical("own", 5 * DAY, tile="32TPT", footprint=WEST)
    (found,) = choose(*on(5, tile="32TQT"), own)
    assert [scene.id for scene in found.scenes] == ["own", "day+5"]


def test_thousands_of_days_are_chosen_from_quickly() -> None:
    others = [
        optical(f"day{index}", 3 * (index - 2920), datatake=str(index))  # eight a day
        for index in range(5840)
    ]
    start = time.monotonic()
    found = choose(*others, days=365, most=8)
    assert time.monotonic() - start < 10  # comparing each with each took a minute
    assert len(found) == 8
    assert max(abs(one.days) for one in found) <= 1


def watch(*scenes: Scene, days: float = 6.0) -> list[RadarWatch | None]:
    references = choose(*on(-12, 12))
    watched = watch_references(
        TARGET, references, scenes, collections=("sentinel-1-rtc",), days=days
    )
    assert [one.scenes for one in watched] == [one.scenes for one in references]
    return [one.watch for one in watched]


def told(one: RadarWatch | None) -> tuple[str, str, str] | None:
    return None if one is None else (one.now[0].id, one.then[0].id, one.polarization)


def passes(name: str, orbit: int | None, *when: float, **changes: Any) -> list[Scene]:
    return [radar(f"{name}{day:+g}", day * DAY, orbit=orbit, **changes) for day in when]


def test_passes_of_one_orbit_are_compared() -> None:
    before, after = watch(*passes("a", 15, -11, 1, 13), *passes("b", 80, 0, 14))
    assert told(before) == ("a+1", "a-11", "vv")
    assert told(after) == ("a+1", "a+13", "vv")


def test_of_orbits_that_serve_alike_the_nearer_is_taken() -> None:
    before, _ = watch(*passes("a", 15, -9, 3, 15), *passes("b", 80, -11, 1, 13))
    assert told(before) == ("b+1", "b-11", "vv")


def test_a_pass_of_part_of_the_scene_counts_for_that() -> None:
    narrow = passes("a", 15, -11, 1, 13, footprint=WEST)
    before, _ = watch(*narrow, *passes("b", 80, -9, 3, 15, footprint=ALL))
    assert told(before) == ("b+3", "b-9", "vv")


def test_without_a_pass_near_either_day_nothing_watches() -> None:
    assert watch(*passes("a", 15, -12, 8, 12)) == [None, None]
    assert watch(*passes("a", None, -12, 0, 12)) == [None, None]
    assert watch(*passes("a", 15, -12, 0, 12), days=0) == [None, None]
    before, after = watch(*passes("a", 15, -18, 0, 24))
    assert (told(before), after) == (("a+0", "a-18", "vv"), None)


def test_the_channel_is_one_that_both_passes_have() -> None:
    only_vh = {"hrefs": {"vh": "vh"}}
    before, after = watch(*passes("a", 15, -12, 12), *passes("a", 15, 0, **only_vh))
    assert told(before) == ("a+0", "a-12", "vh")
    before, after = watch(*passes("a", 15, -12, 0), *passes("a", 15, 12, **only_vh))
    assert (told(before), after) == (("a+0", "a-12", "vv"), None)
