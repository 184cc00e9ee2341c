"""Row 3 of the walk: from scenes to the datatakes of the date and their radar partners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

from shapely.geometry.base import BaseGeometry

from cloudfree.core.config import ReferenceSettings, SceneSettings
from cloudfree.core.contract import POLARIZATIONS, Channels
from cloudfree.core.errors import NoSceneError
from cloudfree.scenes.overpasses import (
    OVERPASS,
    UNKNOWN_CLOUD_PERCENT,
    coverage,
    drop_twins,
    group_overpasses,
    prefer_collections,
    time_of,
)
from cloudfree.scenes.providers import Sources
from cloudfree.scenes.radar_watch import watch_references
from cloudfree.scenes.references import choose_references
from cloudfree.scenes.scene import Period, RatedPass, Reference, Scene, Step

_DAY = dt.timedelta(days=1)
_COVERAGE_SHARE = 0.9
"""The first radar pass covers at least this share of what the best one covers."""
_WORTH_SHARE = 0.01
"""Another radar pass must add this share of the area."""


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
    references: ReferenceSettings,
    needs_radar: bool = True,
    most_cloud_percent: float = 100.0,
    passed_over: frozenset[str] = frozenset(),
) -> list[Step]:
    """Return the steps of the product, earliest first.

    ``area``, and the ``reach`` of its chunks' halos around it, are in longitude and latitude. A
    day gets the datatake within ``optical_days`` that is likely to show most of the area, less
    ``day_cost`` for each day of distance; an interval gets every datatake inside. Of a scene that
    was processed anew the newest baseline counts. The radar partner is the pass nearest in time
    among those that have what ``channels`` ask for and cover the area about as well as the best;
    further passes follow where they add to it. ``references`` say which other days serve; scenes
    with more cloud than ``most_cloud_percent`` are nothing else.
    ``bands`` are those of the product. Of scenes ``passed_over`` (ids) a radar one is left out, of
    an optical one the whole datatake, with its twins of other collections; as references they
    serve.
    Raises NoSceneError where nothing fits and, with ``needs_radar``, where no step has a radar
    partner or another day.
    """
    scenes = list(scenes)
    optical_ids = tuple(collection.id for collection in sources.optical.optical)
    radar_ids = tuple(collection.id for collection in sources.radar_collections)
    touching = [scene for scene in scenes if scene.footprint.intersects(reach)]
    of_ground = [
        scene
        for scene in touching
        if scene.collection in optical_ids and (scene.cloud_percent or 0) <= most_cloud_percent
    ]
    in_reach = [scene for scene in of_ground if _may_be_step(scene, period, settings)]
    optical = drop_twins(in_reach or of_ground)
    radar = [s for s in touching if s.collection in radar_ids and s.id not in passed_over]
    if not any(scene.footprint.intersects(area) for scene in optical):
        raise NoSceneError(_nothing(optical_ids, scenes, period, area))
    over_area = [d for d in group_overpasses(optical) if coverage(d, area) > 0]
    datatakes = [
        datatake
        for datatake in prefer_collections(over_area, optical_ids)
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
    passes = group_overpasses(radar)

    def refer(scene: Scene) -> tuple[Reference, ...]:
        found = choose_references(
            scene, scenes, collections=optical_ids, bands=bands, settings=references
        )
        return watch_references(
            scene, found, scenes, collections=radar_ids, days=references.radar_days
        )

    steps = [
        replace(
            _with_radar(datatake, passes, area, channels, settings),
            considered=considered,
            references=tuple(refer(scene) for scene in datatake),
        )
        for datatake in chosen
    ]
    if needs_radar and not any(step.radar or any(step.references) for step in steps):
        others = f", and no other day within {references.days:g}" if references.days else ""
        raise NoSceneError(
            f"no radar scene of {', '.join(radar_ids)} with {channels.radar_wanted} within "
            f"{settings.sar_days:g} days of {chosen[0][0].time:%Y-%m-%d}{others}; "
            f"{_nearest(radar, chosen[0][0].time)}. Raise --sar-days or choose another date"
        )
    return steps


def _may_be_step(scene: Scene, period: Period, settings: SceneSettings) -> bool:
    """Return whether a scene, or another of its overpass, is of the period or near it."""
    days = 0 if period.is_interval else settings.optical_days
    return period.distance(scene.time) <= dt.timedelta(days=days) + OVERPASS


def _in_period(
    datatakes: list[tuple[Scene, ...]],
    area: BaseGeometry,
    period: Period,
    settings: SceneSettings,
) -> tuple[list[tuple[Scene, ...]], tuple[RatedPass, ...]]:
    """Return the datatakes of the period and, for a day, all that were in reach, best first."""
    rated: list[tuple[RatedPass, tuple[Scene, ...]]] = []
    if period.is_interval:
        chosen = [d for d in datatakes if period.first <= time_of(d) < period.end]
        reach, cure = f"in {period}", "Choose another date"
    else:
        limit = dt.timedelta(days=settings.optical_days)
        near = [d for d in datatakes if period.distance(time_of(d)) <= limit]
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
        UNKNOWN_CLOUD_PERCENT if scene.cloud_percent is None else scene.cloud_percent
        for scene in datatake
    ]
    cloud = sum(s * c for s, c in zip(shares, clouds, strict=True)) / sum(shares)
    covered = coverage(datatake, area)
    days = period.distance(time_of(datatake)) / _DAY
    return RatedPass(
        time=time_of(datatake),
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
    time = time_of(datatake)
    limit = dt.timedelta(days=settings.sar_days)
    near = [
        (one, channels.choose_polarizations(_shared_polarizations(one)))
        for one in passes
        if abs(time_of(one) - time) <= limit and coverage(one, area) > 0
    ]
    usable = [(one, polarizations) for one, polarizations in near if polarizations is not None]
    usable.sort(key=lambda pair: (abs(time_of(pair[0]) - time), time_of(pair[0])))
    best = max((coverage(one, area) for one, _ in usable), default=0.0)
    first = next((p for p in usable if coverage(p[0], area) >= _COVERAGE_SHARE * best), None)
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
        added = coverage((*radar, *one), area) - coverage(radar, area)
        if added >= _WORTH_SHARE and set(polarizations) <= set(_shared_polarizations(one)):
            radar += one
    rated = [first[0], *(one for one, _ in usable if one != first[0])]
    return Step(
        time=time,
        optical=datatake,
        radar=tuple(radar),
        polarizations=polarizations,
        radar_age_h=(time_of(first[0]) - time).total_seconds() / 3600,
        radar_considered=tuple(_rate_radar(one, area, time) for one in rated),
    )


def _rate_radar(overpass: tuple[Scene, ...], area: BaseGeometry, time: dt.datetime) -> RatedPass:
    covered, days = coverage(overpass, area), abs(time_of(overpass) - time) / _DAY
    return RatedPass(
        time=time_of(overpass),
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
