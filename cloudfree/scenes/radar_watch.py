"""Row 3 of the walk: radar of a scene's day and of other days that tells where ground changed.

Only passes of one relative orbit are compared: from another side the same ground scatters
differently.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cloudfree.core.contract import POLARIZATIONS
from cloudfree.scenes.overpasses import coverage, group_overpasses, time_of
from cloudfree.scenes.scene import RadarWatch, Reference, Scene

_WORTH_SHARE = 0.1
"""Of a scene's ground that a pass shows, at least."""

_Pass = tuple[Scene, ...]


def watch_references(
    target: Scene,
    references: Sequence[Reference],
    scenes: Iterable[Scene],
    *,
    collections: tuple[str, ...],
    days: float,
) -> tuple[Reference, ...]:
    """Return references with the radar that tells where ground changed since, or until, then.

    Of radar ``scenes`` of ``collections`` the orbit is taken that serves most references: it has a
    pass within ``days`` of the target and, for each reference that it serves, another one within
    as many of that. Scenes that do not name their relative orbit do not serve. Only metadata
    decide; the area does not.
    """
    limit = dt.timedelta(days=days)
    orbits: defaultdict[tuple[str, int], list[Scene]] = defaultdict(list)
    for scene in scenes:
        if (
            scene.collection in collections
            and scene.orbit is not None
            and scene.footprint.intersects(target.footprint)
        ):
            orbits[scene.collection, scene.orbit].append(scene)
    found: list[tuple[float, dt.timedelta, tuple[str, int], dict[int, RadarWatch]]] = []
    for name, of_orbit in orbits.items() if days else ():
        passes = [one for one in group_overpasses(of_orbit) if _shown(one, target) >= _WORTH_SHARE]
        now = _nearest(passes, target.time, limit)
        channel = None if now is None else _channel(now)
        if now is None or channel is None:
            continue
        others = [one for one in passes if one != now and _has(one, channel)]
        watches = {
            index: RadarWatch(now=now, then=then, polarization=channel)
            for index, reference in enumerate(references)
            if (then := _nearest(others, time_of(reference.scenes), limit)) is not None
        }
        shown = sum(min(_shown(now, target), _shown(w.then, target)) for w in watches.values())
        found.append((-shown, abs(time_of(now) - target.time), name, watches))
    if not found:
        return tuple(references)
    watches = min(found, key=lambda one: one[:3])[3]
    return tuple(replace(one, watch=watches.get(i)) for i, one in enumerate(references))


def _channel(overpass: _Pass) -> str | None:
    return next((name for name in POLARIZATIONS if _has(overpass, name)), None)


def _has(overpass: _Pass, polarization: str) -> bool:
    return all(scene.href(polarization) for scene in overpass)


def _nearest(passes: list[_Pass], moment: dt.datetime, limit: dt.timedelta) -> _Pass | None:
    near = [one for one in passes if abs(time_of(one) - moment) <= limit]
    return min(near, key=lambda one: (abs(time_of(one) - moment), one[0].id), default=None)


def _shown(overpass: _Pass, target: Scene) -> float:
    return coverage(overpass, target.footprint)
