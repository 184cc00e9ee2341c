"""Row 3 of the walk: from scenes to the datatakes of the date and their radar partners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace

import shapely
from shapely.geometry.base import BaseGeometry

from cloudfree.core.config import SceneSettings
from cloudfree.core.contract import POLARIZATIONS, Channels
from cloudfree.core.errors import NoSceneError
from cloudfree.scenes.providers import Sources
from cloudfree.scenes.scene import Period, RatedPass, Scene, Step

_OVERPASS = dt.timedelta(minutes=15)
"""Scenes of one platform closer than this in time belong to one overpass."""
_DAY = dt.timedelta(days=1)
_SAME_MOMENT = dt.timedelta(seconds=15)
"""Items name the start, the middle or the tile's own moment of an acquisition."""
_SAME_GROUND = 0.8
"""Footprints of one tile of one acquisition share at least this much of what they cover together;
parts of a tile that two stations received share little."""
_COVERAGE_SHARE = 0.9
"""The first radar pass covers at least this share of what the best one covers."""
_WORTH_SHARE = 0.01
"""Another radar pass must add this share of the area."""
_UNKNOWN_CLOUD_PERCENT = 50.0
"""Stands for the cloud cover of scenes that do not name it, in comparisons."""


def select_scenes(
    scenes: Iterable[Scene],
    *,
    area: BaseGeometry,
    reach: BaseGeometry,
    period: Period,
    bands: tuple[str, ...],
    channels: Channels,
    sources: Sources,
    settings: SceneSettings,
    passed_over: frozenset[str] = frozenset(),
) -> list[Step]:
    """Return the steps of the product, earliest first.

    ``area``, and the ``reach`` of its chunks' halos around it, are in longitude and latitude. A
    day gets the datatake within ``optical_days`` that is likely to show most of the area, less
    ``day_cost`` for each day of distance; an interval gets every datatake inside. Of a scene that
    was processed anew the newest baseline counts. The radar partner is the pass nearest in time
    among those that have what ``channels`` ask for and cover the area about as well as the best;
    further passes follow where they add to it. ``bands`` are those of the product. Of scenes
    ``passed_over`` (ids) a radar one is left out, of an optical one the whole datatake, with its
    twins of other collections.
    Raises NoSceneError where nothing fits, and where no step has a radar partner.
    """
    scenes = list(scenes)
    optical_ids = tuple(collection.id for collection in sources.optical.optical)
    radar_ids = tuple(collection.id for collection in sources.radar_collections)
    touching = [scene for scene in scenes if scene.footprint.intersects(reach)]
    optical = _drop_twins([scene for scene in touching if scene.collection in optical_ids])
    radar = [s for s in touching if s.collection in radar_ids and s.id not in passed_over]
    if not any(scene.footprint.intersects(area) for scene in optical):
        raise NoSceneError(_nothing(optical_ids, scenes, period, area))
    over_area = [d for d in _overpasses(optical) if _coverage(d, area) > 0]
    datatakes = [
        datatake
        for datatake in _prefer(over_area, optical_ids)
        if passed_over.isdisjoint(scene.id for scene in datatake)
    ]
    chosen, considered = _in_period(datatakes, area, period, settings)
    for scene in (scene for datatake in chosen for scene in datatake):
        missing = [band for band in bands if scene.href(band) is None]
        if missing:
            raise NoSceneError(
                f"scene {scene.id} has no asset for {', '.join(missing)}; it has "
                f"{', '.join(scene.hrefs)}. Choose other --bands"
            )
    passes = _overpasses(radar)
    steps = [
        replace(_with_radar(datatake, passes, area, channels, settings), considered=considered)
        for datatake in chosen
    ]
    if not any(step.radar for step in steps):
        raise NoSceneError(
            f"no radar scene of {', '.join(radar_ids)} with {channels.radar_wanted} within "
            f"{settings.sar_days:g} days of {chosen[0][0].time:%Y-%m-%d}; "
            f"{_nearest(radar, chosen[0][0].time)}. Raise --sar-days or choose another date"
        )
    return steps


def _drop_twins(scenes: list[Scene]) -> list[Scene]:
    """Return scenes without those that were processed anew: the newest baseline is kept.

    Twins are of one collection, platform, moment and tile, where both name it, and of about one
    footprint.
    """
    kept: list[Scene] = []
    for scene in sorted(scenes, key=lambda s: (s.baseline, s.id), reverse=True):
        if not any(_is_twin(scene, other) for other in kept):
            kept.append(scene)
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


def _overpasses(scenes: list[Scene]) -> list[tuple[Scene, ...]]:
    """Group scenes of one collection, platform and overpass; inside, order by id."""
    groups: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda s: (s.collection, s.platform, s.time, s.id)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and (last.collection, last.platform) == (scene.collection, scene.platform)
            and last.orbit_state == scene.orbit_state
            and scene.time - last.time < _OVERPASS
        ):
            groups[-1].append(scene)
        else:
            groups.append([scene])
    return [tuple(sorted(group, key=lambda scene: scene.id)) for group in groups]


def _prefer(
    datatakes: list[tuple[Scene, ...]], collections: tuple[str, ...]
) -> list[tuple[Scene, ...]]:
    """Of datatakes that are one overpass in two collections keep the preferred one."""
    kept: list[tuple[Scene, ...]] = []
    for datatake in sorted(datatakes, key=lambda d: (collections.index(d[0].collection), _time(d))):
        if all(
            datatake[0].platform != other[0].platform
            or abs(_time(datatake) - _time(other)) >= _OVERPASS
            for other in kept
        ):
            kept.append(datatake)
    return sorted(kept, key=_time)


def _time(overpass: Sequence[Scene]) -> dt.datetime:
    return min(scene.time for scene in overpass)


def _union(overpass: Sequence[Scene]) -> BaseGeometry:
    return shapely.union_all([scene.footprint for scene in overpass])


def _coverage(overpass: Sequence[Scene], area: BaseGeometry) -> float:
    """Return the share of the area inside the overpass's footprints."""
    return float(_union(overpass).intersection(area).area / area.area)


def _in_period(
    datatakes: list[tuple[Scene, ...]],
    area: BaseGeometry,
    period: Period,
    settings: SceneSettings,
) -> tuple[list[tuple[Scene, ...]], tuple[RatedPass, ...]]:
    """Return the datatakes of the period and, for a day, all that were in reach, best first."""
    rated: list[tuple[RatedPass, tuple[Scene, ...]]] = []
    if period.is_interval:
        chosen = [d for d in datatakes if period.first <= _time(d) < period.end]
        reach, cure = f"in {period}", "Choose another date"
    else:
        limit = dt.timedelta(days=settings.optical_days)
        near = [d for d in datatakes if period.distance(_time(d)) <= limit]
        rated = [(_rate(d, area, period, settings), d) for d in near]
        rated.sort(key=lambda pair: (-pair[0].score, pair[0].time))
        chosen = [datatake for _, datatake in rated[:1]]
        reach = f"within {settings.optical_days:g} days of {period}"
        cure = "Raise --optical-days or choose another date"
    if not chosen:
        scenes = [scene for datatake in datatakes for scene in datatake]
        raise NoSceneError(f"no optical scene {reach}; {_nearest(scenes, period.first)}. {cure}")
    return chosen, tuple(candidate for candidate, _ in rated)


def _rate(
    datatake: tuple[Scene, ...], area: BaseGeometry, period: Period, settings: SceneSettings
) -> RatedPass:
    """Return how a datatake is rated: what it is likely to show, less its distance in time."""
    shares = [scene.footprint.intersection(area).area for scene in datatake]
    clouds = [
        _UNKNOWN_CLOUD_PERCENT if scene.cloud_percent is None else scene.cloud_percent
        for scene in datatake
    ]
    cloud = sum(s * c for s, c in zip(shares, clouds, strict=True)) / sum(shares)
    covered = _coverage(datatake, area)
    days = period.distance(_time(datatake)) / _DAY
    return RatedPass(
        time=_time(datatake),
        scenes=tuple(scene.id for scene in datatake),
        covered=covered,
        cloud_percent=cloud,
        days=days,
        score=covered * (1 - cloud / 100) - settings.day_cost * days,
    )


def _with_radar(
    datatake: tuple[Scene, ...],
    passes: list[tuple[Scene, ...]],
    area: BaseGeometry,
    channels: Channels,
    settings: SceneSettings,
) -> Step:
    time = _time(datatake)
    limit = dt.timedelta(days=settings.sar_days)
    near = [
        (one, channels.choose_polarizations(_shared_polarizations(one)))
        for one in passes
        if abs(_time(one) - time) <= limit and _coverage(one, area) > 0
    ]
    usable = [(one, polarizations) for one, polarizations in near if polarizations is not None]
    usable.sort(key=lambda pair: (abs(_time(pair[0]) - time), _time(pair[0])))
    best = max((_coverage(one, area) for one, _ in usable), default=0.0)
    first = next((p for p in usable if _coverage(p[0], area) >= _COVERAGE_SHARE * best), None)
    if first is None:
        return Step(
            time=time,
            optical=datatake,
            radar=(),
            polarizations=channels.radar_choices[0],
            radar_age_h=None,
        )
    radar, polarizations = list(first[0]), first[1]
    for one, _ in usable:
        added = _coverage((*radar, *one), area) - _coverage(radar, area)
        if added >= _WORTH_SHARE and set(polarizations) <= set(_shared_polarizations(one)):
            radar += one
    rated = [first[0], *(one for one, _ in usable if one != first[0])]
    return Step(
        time=time,
        optical=datatake,
        radar=tuple(radar),
        polarizations=polarizations,
        radar_age_h=(_time(first[0]) - time).total_seconds() / 3600,
        radar_considered=tuple(_rate_radar(one, area, time) for one in rated),
    )


def _rate_radar(overpass: tuple[Scene, ...], area: BaseGeometry, time: dt.datetime) -> RatedPass:
    covered, days = _coverage(overpass, area), abs(_time(overpass) - time) / _DAY
    return RatedPass(
        time=_time(overpass),
        scenes=tuple(scene.id for scene in overpass),
        covered=covered,
        cloud_percent=None,
        days=days,
        score=-days,
    )


def _shared_polarizations(overpass: tuple[Scene, ...]) -> list[str]:
    """Return the polarisations that every scene of a radar pass has."""
    return [name for name in POLARIZATIONS if all(scene.href(name) for scene in overpass)]


def _nearest(scenes: list[Scene], moment: dt.datetime) -> str:
    if not scenes:
        return "found none over the area"
    scene = min(scenes, key=lambda s: abs(s.time - moment))
    return f"the nearest over the area is {scene.id} of {scene.time:%Y-%m-%d}"


def _nothing(
    collections: tuple[str, ...], scenes: list[Scene], period: Period, area: BaseGeometry
) -> str:
    x, y = area.centroid.x, area.centroid.y
    place = f"{abs(y):.1f} {'N' if y >= 0 else 'S'}, {abs(x):.1f} {'E' if x >= 0 else 'W'}"
    found = f"{len(scenes)} scenes lie elsewhere" if scenes else "found none at all"
    return (
        f"no scene of {' or '.join(collections)} over the area (near {place}) around {period}; "
        f"{found}. Check the area, the date and --stac"
    )
