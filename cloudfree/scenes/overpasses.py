"""Scenes that belong together: twins of one acquisition, the scenes of one overpass."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import shapely
from shapely.geometry.base import BaseGeometry

from cloudfree.scenes.scene import Scene

T = TypeVar("T")
OVERPASS = dt.timedelta(minutes=15)
"""Scenes of one platform closer than this in time belong to one overpass."""
_SAME_MOMENT = dt.timedelta(seconds=15)
"""Items name the start, the middle or the tile's own moment of an acquisition."""
_SAME_GROUND = 0.8
"""Footprints of one tile of one acquisition share at least this much of what they cover together;
parts of a tile that two stations received share little."""
UNKNOWN_CLOUD_PERCENT = 50.0
"""Stands for the cloud cover of scenes that do not name it, in comparisons."""


def drop_twins(scenes: list[Scene]) -> list[Scene]:
    """Return scenes without those that were processed anew: the newest baseline is kept.

    Twins are of one collection, platform, moment and tile, where both name it, and of about one
    footprint.
    """
    kept: _ByTime[Scene] = _ByTime(_SAME_MOMENT)
    for scene in sorted(scenes, key=lambda s: (s.baseline, s.id), reverse=True):
        if not any(_is_twin(scene, other) for other in kept.near(scene.time)):
            kept.add(scene.time, scene)
    return sorted(kept, key=lambda scene: scene.id)


def _is_twin(one: Scene, other: Scene) -> bool:
    if abs(one.time - other.time) > _SAME_MOMENT or (one.collection, one.platform) != (
        other.collection,
        other.platform,
    ):
        return False
    if one.tile and other.tile and one.tile != other.tile:
        return False
    shared = one.footprint.intersection(other.footprint).area
    return bool(shared >= _SAME_GROUND * one.footprint.union(other.footprint).area)


def group_overpasses(scenes: list[Scene]) -> list[tuple[Scene, ...]]:
    """Group scenes of one collection, platform and overpass; inside, order by id."""
    groups: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda s: (s.collection, s.platform, s.time, s.id)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and (last.collection, last.platform) == (scene.collection, scene.platform)
            and last.orbit_state == scene.orbit_state
            and scene.time - last.time < OVERPASS
        ):
            groups[-1].append(scene)
        else:
            groups.append([scene])
    return [tuple(sorted(group, key=lambda scene: scene.id)) for group in groups]


def prefer_collections(
    datatakes: list[tuple[Scene, ...]], collections: tuple[str, ...]
) -> list[tuple[Scene, ...]]:
    """Of datatakes that are one overpass in two collections keep the preferred one."""
    kept: _ByTime[tuple[Scene, ...]] = _ByTime(OVERPASS)
    for datatake in sorted(
        datatakes, key=lambda d: (collections.index(d[0].collection), time_of(d))
    ):
        time = time_of(datatake)
        if all(
            datatake[0].platform != other[0].platform or abs(time - time_of(other)) >= OVERPASS
            for other in kept.near(time)
        ):
            kept.add(time, datatake)
    return sorted(kept, key=time_of)


class _ByTime(Generic[T]):
    """What lies near a moment, without looking at all there is: there may be thousands."""

    def __init__(self, reach: dt.timedelta) -> None:
        self._reach = reach
        self._found: defaultdict[int, list[T]] = defaultdict(list)

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(self._found.values())

    def add(self, time: dt.datetime, one: T) -> None:
        self._found[self._slot(time)].append(one)

    def near(self, time: dt.datetime) -> Iterator[T]:
        """Yield all within reach, and some beyond."""
        slot = self._slot(time)
        return itertools.chain.from_iterable(
            self._found.get(one, ()) for one in (slot - 1, slot, slot + 1)
        )

    def _slot(self, time: dt.datetime) -> int:
        return int(time.timestamp() // self._reach.total_seconds())


def time_of(overpass: Sequence[Scene]) -> dt.datetime:
    """Return the time of an overpass's first scene."""
    return min(scene.time for scene in overpass)


def _union(overpass: Sequence[Scene]) -> BaseGeometry:
    return shapely.union_all([scene.footprint for scene in overpass])


def coverage(overpass: Sequence[Scene], area: BaseGeometry) -> float:
    """Return the share of the area inside the overpass's footprints."""
    return float(_union(overpass).intersection(area).area / area.area)
