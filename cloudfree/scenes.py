"""Row 3 of the walk: from STAC items to the datatakes of the date and their radar partners."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from cloudfree.bands import find_asset_key
from cloudfree.config import CatalogSettings, SceneSettings
from cloudfree.errors import CatalogError, NoSceneError, SettingsError

_OVERPASS = dt.timedelta(minutes=15)
"""Scenes of one platform closer than this in time belong to one overpass."""
_DAY = dt.timedelta(days=1)
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_COVERAGE_SHARE = 0.9
"""A radar pass is taken only if it covers this share of what the best one covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The asked day or interval, in UTC."""

    first: dt.datetime
    """Its first moment."""
    end: dt.datetime
    """The first moment after it."""
    is_interval: bool
    """False: the nearest datatake to a day is wanted. True: every datatake inside."""

    def distance(self, moment: dt.datetime) -> dt.timedelta:
        """Return how far a moment lies outside; zero inside."""
        return max(self.first - moment, moment - self.end, dt.timedelta(0))

    def __str__(self) -> str:
        last = (self.end - _DAY).date()
        return f"{self.first.date()}/{last}" if self.is_interval else str(last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One STAC item, as far as the walk needs it."""

    id: str
    """Item id."""
    collection: str
    """Collection id."""
    time: dt.datetime
    """Acquisition, UTC."""
    platform: str
    """Satellite, lower case."""
    footprint: BaseGeometry
    """In longitude and latitude."""
    hrefs: Mapping[str, str]
    """Asset key -> link."""
    datatake: str
    """Datatake id where the item names it, else empty."""
    orbit_state: str
    """ascending, descending or empty."""
    baseline: str
    """Processing baseline of Sentinel-2 such as 05.10, else empty."""
    offset_applied: bool
    """True where the provider says that the baseline's offset is in the numbers already."""
    cloud_percent: float | None
    """Cloud cover over the whole scene as its metadata say."""

    def href(self, band: str) -> str | None:
        """Return the link to a band, polarisation or the scene classification."""
        key = find_asset_key(band, self.hrefs)
        return None if key is None else self.hrefs[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One datatake over the area: one step on ``time``."""

    time: dt.datetime
    """Acquisition of its first optical scene."""
    optical: tuple[Scene, ...]
    """In the fixed order that decides overlaps."""
    radar: tuple[Scene, ...]
    """The radar pass that helps; empty where none is in reach."""
    polarization: Literal["vv", "vh"]
    """Of the radar."""
    radar_age_h: float | None
    """Hours from the optical to the radar acquisition; negative: the radar came first."""


def parse_period(text: str) -> Period:
    """Return the period of ``2024-06-15`` or ``2024-06-01/2024-06-30``; SettingsError else."""
    parts = text.split("/")
    try:
        days = [dt.datetime.strptime(part.strip(), "%Y-%m-%d") for part in parts]
    except ValueError:
        days = []
    if len(days) not in (1, 2):
        raise SettingsError(f"the date is {text!r}; give YYYY-MM-DD or YYYY-MM-DD/YYYY-MM-DD")
    first, last = (day.replace(tzinfo=dt.UTC) for day in (days[0], days[-1]))
    if not all(_FIRST_YEAR <= day.year <= _LAST_YEAR for day in (first, last)):
        raise SettingsError(f"the date is {text}; give one from {_FIRST_YEAR} to {_LAST_YEAR}")
    if last < first:
        raise SettingsError(f"the date {text} runs backwards; give the earlier day first")
    return Period(first=first, end=last + _DAY, is_interval=len(days) == 2)


def read_scene(item: Mapping[str, Any]) -> Scene:
    """Return the scene of a STAC item; CatalogError where a needed field is missing."""
    try:
        properties = item["properties"]
        moment = properties.get("datetime") or properties["start_datetime"]
        time = dt.datetime.fromisoformat(moment)
        cloud = properties.get("eo:cloud_cover")
        return Scene(
            id=item["id"],
            collection=item.get("collection") or "",
            time=time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC),
            platform=str(properties.get("platform", "")).lower(),
            footprint=shapely.make_valid(shape(item["geometry"])),
            hrefs={key: asset["href"] for key, asset in item["assets"].items()},
            datatake=str(properties.get("s2:datatake_id", "")),
            orbit_state=str(properties.get("sat:orbit_state", "")),
            baseline=str(properties.get("s2:processing_baseline", "")),
            offset_applied=properties.get("earthsearch:boa_offset_applied") is True,
            cloud_percent=None if cloud is None else float(cloud),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError) as error:
        name = item.get("id", "without id") if isinstance(item, Mapping) else "without id"
        raise CatalogError(
            f"STAC item {name} cannot be used: {type(error).__name__} {error}; mend the catalog"
        ) from None


def select_scenes(
    scenes: Iterable[Scene],
    *,
    area: BaseGeometry,
    reach: BaseGeometry,
    period: Period,
    bands: tuple[str, ...],
    polarizations: tuple[str, ...],
    catalog: CatalogSettings,
    settings: SceneSettings,
    passed_over: frozenset[str] = frozenset(),
) -> list[Step]:
    """Return the steps of the product, earliest first.

    ``area``, and the ``reach`` of its chunks' halos around it, are in longitude and latitude. A
    day gets its nearest datatake within ``optical_days``; an interval gets every datatake inside.
    Datatakes of scenes ``passed_over`` (ids) are left out, with their twins of other collections.
    The radar partner is the pass nearest in time among those that cover the area about as well
    as the best.
    Raises NoSceneError where nothing fits, and where no step has a radar partner.
    """
    scenes = list(scenes)
    touching = [scene for scene in scenes if scene.footprint.intersects(reach)]
    optical = [scene for scene in touching if scene.collection in catalog.optical_collections]
    radar = [scene for scene in touching if scene.collection in catalog.radar_collections]
    if not any(scene.footprint.intersects(area) for scene in optical):
        raise NoSceneError(_nothing(catalog.optical_collections, scenes, period))
    over_area = [d for d in _overpasses(optical) if _coverage(d, area) > 0]
    datatakes = [
        datatake
        for datatake in _prefer(over_area, catalog.optical_collections)
        if passed_over.isdisjoint(scene.id for scene in datatake)
    ]
    chosen = _in_period(datatakes, area, period, settings)
    for scene in (scene for datatake in chosen for scene in datatake):
        missing = [band for band in bands if scene.href(band) is None]
        if missing:
            raise NoSceneError(
                f"scene {scene.id} has no asset for {', '.join(missing)}; it has "
                f"{', '.join(scene.hrefs)}. Choose other --bands"
            )
    passes = _overpasses(radar)
    steps = [_with_radar(datatake, passes, area, polarizations, settings) for datatake in chosen]
    if not any(step.radar for step in steps):
        raise NoSceneError(
            f"no radar scene of {', '.join(catalog.radar_collections)} within "
            f"{settings.sar_days:g} days of {chosen[0][0].time:%Y-%m-%d}; "
            f"{_nearest(radar, chosen[0][0].time)}. Raise --sar-days or choose another date"
        )
    return steps


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


def _time(overpass: tuple[Scene, ...]) -> dt.datetime:
    return min(scene.time for scene in overpass)


def _coverage(overpass: tuple[Scene, ...], area: BaseGeometry) -> float:
    """Return the share of the area inside the overpass's footprints."""
    footprint = shapely.union_all([scene.footprint for scene in overpass])
    return float(footprint.intersection(area).area / area.area)


def _in_period(
    datatakes: list[tuple[Scene, ...]],
    area: BaseGeometry,
    period: Period,
    settings: SceneSettings,
) -> list[tuple[Scene, ...]]:
    if period.is_interval:
        chosen = [d for d in datatakes if period.first <= _time(d) < period.end]
        reach, cure = f"in {period}", "Choose another date"
    else:
        limit = dt.timedelta(days=settings.optical_days)
        near = [d for d in datatakes if period.distance(_time(d)) <= limit]
        near.sort(key=lambda d: (period.distance(_time(d)), -_coverage(d, area), _time(d)))
        chosen = near[:1]
        reach = f"within {settings.optical_days:g} days of {period}"
        cure = "Raise --optical-days or choose another date"
    if not chosen:
        scenes = [scene for datatake in datatakes for scene in datatake]
        raise NoSceneError(f"no optical scene {reach}; {_nearest(scenes, period.first)}. {cure}")
    return chosen


def _with_radar(
    datatake: tuple[Scene, ...],
    passes: list[tuple[Scene, ...]],
    area: BaseGeometry,
    polarizations: tuple[str, ...],
    settings: SceneSettings,
) -> Step:
    time = _time(datatake)
    limit = dt.timedelta(days=settings.sar_days)
    near = [
        (one, next((p for p in polarizations if all(s.href(p) for s in one)), None))
        for one in passes
        if abs(_time(one) - time) <= limit and _coverage(one, area) > 0
    ]
    usable = [(one, polarization) for one, polarization in near if polarization is not None]
    best = max((_coverage(one, area) for one, _ in usable), default=0.0)
    usable = [(one, p) for one, p in usable if _coverage(one, area) >= _COVERAGE_SHARE * best]
    usable.sort(key=lambda pair: (abs(_time(pair[0]) - time), _time(pair[0])))
    radar, polarization = usable[0] if usable else ((), polarizations[0])
    age = (_time(radar) - time).total_seconds() / 3600 if radar else None
    return Step(
        time=time,
        optical=datatake,
        radar=radar,
        polarization="vv" if polarization == "vv" else "vh",
        radar_age_h=age,
    )


def _nearest(scenes: list[Scene], moment: dt.datetime) -> str:
    if not scenes:
        return "found none over the area"
    scene = min(scenes, key=lambda s: abs(s.time - moment))
    return f"the nearest over the area is {scene.id} of {scene.time:%Y-%m-%d}"


def _nothing(collections: tuple[str, ...], scenes: list[Scene], period: Period) -> str:
    found = f"{len(scenes)} scenes lie elsewhere" if scenes else "found none at all"
    return (
        f"no scene of {' or '.join(collections)} over the area around {period}; {found}. "
        "Check the area, the date and --stac"
    )
