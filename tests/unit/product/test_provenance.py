"""What a step owes to other days."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np

from cloudfree.product.provenance import describe_shares, share_references
from cloudfree.scenes.scene import Reference, Scene
from tests.cubes import make_scene, make_step

STEP = make_step(20)


def scene(name: str, days: int) -> Scene:
    return replace(make_scene(kind="L2A"), id=name, time=STEP.time + dt.timedelta(days))


def reference(days: int, *scenes: Scene) -> Reference:
    return Reference(scenes=scenes, days=days, covered=1.0, cloud_percent=10.0)


def test_each_scene_is_named_once_in_the_order_of_time_with_its_share() -> None:
    early, late, other = scene("b", -5), scene("a", 10), scene("c", 10)
    step = replace(
        STEP,
        references=((reference(-5, early), reference(10, late)), (reference(10, late, other),)),
    )
    numbers = {"x": 1, "a": 2, "b": 3, "c": 4}
    found = share_references(step, numbers, np.array([7, 30, 10, 0]), made=90)
    assert [one.scene.id for one in found] == ["b", "a", "c"]
    assert describe_shares(found) == [
        {"id": "b", "days": -5, "share": 0.1111},
        {"id": "a", "days": 10, "share": 0.3333},
        {"id": "c", "days": 10, "share": 0.0},
    ]


def test_nothing_is_owed_where_nothing_was_made() -> None:
    step = replace(STEP, references=((reference(3, scene("a", 3)),),))
    (one,) = share_references(step, {"a": 1}, np.array([0]), made=0)
    assert one.share == 0
    assert share_references(STEP, {}, np.zeros(0, np.int64), made=5) == ()
