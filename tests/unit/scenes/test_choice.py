"""Which datatake and which radar are taken, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import shapely

from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene
from tests.unit.scenes.test_scene import ALL, EAST, NOON, WEST, ids, optical, radar, select

EAST_HALF = shapely.box(10.2, 46.0, 11.0, 48.0)
THIRDS = [shapely.box(10 + k * 0.4 / 3, 46, 10 + (k + 1) * 0.4 / 3, 48) for k in range(3)]


def test_a_clearer_datatake_a_day_away_is_taken_for_a_cloudy_one() -> None:
    cloudy, clear = optical("cloudy", 0, cloud_percent=90.0), optical("clear", 30, cloud_percent=5)
    (step,) = select(cloudy, clear, radar("r", 20))
    assert ids(step.optical) == ["clear"]
    assert [one.scenes for one in step.considered] == [("clear",), ("cloudy",)]
    best, other = step.considered
    assert best.days == pytest.approx((30 - 13 - 2 / 3) / 24)  # after the end of the day
    assert best.score == pytest.approx(0.95 - 0.1 * best.days)
    assert (other.days, other.cloud_percent) == (0, 90)
    assert other.score == pytest.approx(0.1)
    (step,) = select(cloudy, clear, radar("r", 20), day_cost=2.0)
    assert ids(step.optical) == ["cloudy"]


def test_the_clouds_of_tiles_count_by_their_part_of_the_area() -> None:
    tiles = [
        optical("w", 0, footprint=WEST, cloud_percent=0.0),
        optical("e", 0.1, footprint=EAST, cloud_percent=80.0),
    ]
    (step,) = select(*tiles, optical("other", 40, cloud_percent=100), radar("r"))
    assert step.considered[0].cloud_percent == pytest.approx(40)


def test_cloud_that_is_not_named_counts_as_half() -> None:
    (step,) = select(
        optical("silent", 0, cloud_percent=None),
        optical("told", 1, cloud_percent=45.0, platform="sentinel-2b"),
        radar("r"),
    )
    assert ids(step.optical) == ["told"]
    assert step.considered[1].cloud_percent == 50


@pytest.mark.parametrize(
    "twins",
    [
        {"tile": "MGRS-32TPT"},
        {"tile": ""},
    ],
)
def test_of_a_scene_processed_anew_the_newest_baseline_is_taken(twins: dict[str, Any]) -> None:
    old = optical("a_old", baseline="02.12", offset=Offset(dn=0, why=""), **twins)
    new = optical("b_new", **twins)
    for order in ((old, new), (new, old)):
        (step,) = select(*order, radar("r"))
        assert ids(step.optical) == ["b_new"]


def test_tiles_of_one_moment_are_no_twins() -> None:
    one = optical("a", tile="MGRS-32TPT")
    (step,) = select(one, replace(one, id="b", tile="MGRS-32TQT"), radar("r"))
    assert ids(step.optical) == ["a", "b"]
    later = replace(one, id="b", time=NOON.replace(minute=21))
    (step,) = select(one, later, radar("r"))
    assert ids(step.optical) == ["a", "b"]


def passes(*shapes: shapely.Geometry) -> list[Scene]:
    return [
        radar(f"p{index}", 10 * (index + 1), footprint=shape) for index, shape in enumerate(shapes)
    ]


def test_further_passes_follow_where_one_does_not_cover() -> None:
    (step,) = select(optical("o"), *passes(*THIRDS))
    assert ids(step.radar) == ["p0", "p1", "p2"]
    assert step.radar_age_h == 10
    assert [round(one.covered, 2) for one in step.radar_considered] == [0.33, 0.33, 0.33]


def test_a_pass_that_adds_nothing_is_left_out() -> None:
    (step,) = select(optical("o"), *passes(WEST, WEST, EAST_HALF, EAST_HALF))
    assert ids(step.radar) == ["p0", "p2"]
    (step,) = select(optical("o"), *passes(ALL, WEST))
    assert ids(step.radar) == ["p0"]


def test_further_passes_have_the_channels_of_the_first() -> None:
    vh_only = radar("vh", 20, footprint=EAST_HALF, hrefs={"vh": "vh"})
    (step,) = select(optical("o"), radar("vv", 1, footprint=WEST, hrefs={"vv": "v"}), vh_only)
    assert (ids(step.radar), step.polarizations) == (["vv"], ("vv",))


def test_an_interval_is_not_compared() -> None:
    steps = select(optical("a"), optical("b", 24), radar("r"), date="2024-06-15/2024-06-16")
    assert [step.considered for step in steps] == [(), ()]
