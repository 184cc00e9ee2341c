"""What the walk knows of scenes: the asked period, scenes as items tell of them, steps."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from cloudfree.core.bands import find_asset_key
from cloudfree.core.errors import CatalogError, SettingsError
from cloudfree.geometry.aoi import cut_at_antimeridian
from cloudfree.geometry.crs import find_zone, zones_of
from cloudfree.scenes.harmonisation import Offset, find_offset
from cloudfree.scenes.links import alternates, link_of
from cloudfree.scenes.providers import Collection, OpticalCollection
from cloudfree.scenes.stored import Stored, read_stored

_DAY = dt.timedelta(days=1)
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
_TILES = ("grid:code", "s2:mgrs_tile", "s2:tile_id")
"""Properties that name the MGRS tile, whichever the collection's table has."""
_LARGEST_KM2 = 1e8
"""A fifth of the globe, more than any continent: no scene or mosaic covers it."""
_KM_PER_DEGREE = 111.2
_CODES = ("proj:code", "proj:epsg")
"""Properties that name the CRS, of the projection extension from 2.0 on and before."""
_ORBITS = 175
"""Of Sentinel-1 until it is over the same ground again."""
_EPSG = re.compile(r"(?:EPSG:)?(\d{4,5})")
_FIRST_NORTHERN_BAND = "N"
"""Of MGRS: bands of latitude have letters from the south up."""
_MGRS = re.compile(r"(?<![A-Z0-9])T?(\d{1,2})([C-X][A-Z]{2})(?![A-Z0-9])")


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
    tile: str
    """MGRS tile where the item names it, else empty."""
    orbit_state: str
    """ascending, descending or empty."""
    baseline: str
    """Processing baseline of Sentinel-2 such as 05.10, else empty."""
    kind: str
    """Product level (``L2A``) of an optical scene, backscatter (``gamma0-rtc``) of a radar one."""
    offset: Offset
    """What is added to an optical scene's numbers."""
    cloud_percent: float | None
    """Cloud cover over the whole scene as its metadata say."""
    assets: Mapping[str, str]
    """Band -> asset key, where it is called neither by its name nor by its common name."""
    alternates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Asset key -> other links to the same file; only assets that have some."""
    stored: Mapping[str, Stored] = field(default_factory=dict)
    """Asset key -> what the item says of its numbers; only assets of which it says something."""
    zone: int | None = None
    """EPSG code of the UTM zone that an optical scene's pixels lie in; None where the item does
    not say, or names one that its footprint does not reach."""
    orbit: int | None = None
    """Relative orbit of a radar scene; None where the item does not say."""

    def href(self, band: str) -> str | None:
        """Return the link to a band, polarisation or the scene classification."""
        return self.hrefs.get(self._key(band) or "")

    def links(self, band: str) -> tuple[str, ...]:
        """Return the links to a band, polarisation or classification, the main one first."""
        href = self.href(band)
        return () if href is None else (href, *self.alternates.get(self._key(band) or "", ()))

    def stored_as(self, band: str) -> Stored:
        """Return what the item says of the numbers of a band, polarisation or classification."""
        return self.stored.get(self._key(band) or "", Stored())

    def _key(self, band: str) -> str | None:
        return self.assets.get(band) or find_asset_key(band, self.hrefs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedPass:
    """An overpass that could serve a step, and how it was rated."""

    time: dt.datetime
    """Of its first scene."""
    scenes: tuple[str, ...]
    """Ids."""
    covered: float
    """Share of the area inside its footprints."""
    cloud_percent: float | None
    """Mean over its scenes, by their metadata and their part of the area; None for radar."""
    days: float
    """Distance in time from what is asked."""
    score: float
    """The higher, the better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarWatch:
    """Radar passes of one relative orbit, of a scene's day and of another day's, about."""

    now: tuple[Scene, ...]
    """Scenes of the pass nearest to the scene, in the order that decides overlaps; the same for all
    other days of a scene."""
    then: tuple[Scene, ...]
    """Those of the pass nearest to the other day."""
    polarization: str
    """The channel that is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Another datatake that shows the ground of a scene."""

    scenes: tuple[Scene, ...]
    """Its scenes that lie on the scene's ground, in the order that decides overlaps."""
    days: int
    """From the scene to it, negative before."""
    covered: float
    """Share of the scene inside its footprints."""
    cloud_percent: float
    """Mean over its scenes, by their metadata; 50 for those that do not say."""
    watch: RadarWatch | None = None
    """What tells where the ground changed in between; None where there is no such radar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One datatake over the area: one step on ``time``."""

    time: dt.datetime
    """Acquisition of its first optical scene."""
    optical: tuple[Scene, ...]
    """In the fixed order that decides overlaps."""
    radar: tuple[Scene, ...]
    """The radar pass that helps, and others where it does not reach, in the order that decides
    overlaps; empty where none is in reach."""
    polarizations: tuple[str, ...]
    """Of the radar's channels, in order."""
    radar_age_h: float | None
    """Hours from the optical to the first radar acquisition; negative: the radar came first."""
    considered: tuple[RatedPass, ...] = ()
    """Datatakes in reach of an asked day, best first: the first was chosen."""
    radar_considered: tuple[RatedPass, ...] = ()
    """Radar passes in reach, best first."""
    references: tuple[tuple[Reference, ...], ...] = ()
    """For each optical scene the other datatakes that its hidden pixels are made of, in the order
    of time; none where none are wanted or in reach."""

    @property
    def watching(self) -> tuple[Scene, ...]:
        """The radar scenes that tell where the ground changed, each once, by collection and id."""
        watches = [one.watch for found in self.references for one in found if one.watch]
        scenes = {(s.collection, s.id): s for one in watches for s in (*one.now, *one.then)}
        return tuple(scenes[key] for key in sorted(scenes))


def parse_period(text: str) -> Period:
    """Return the period of ``2024-06-15`` or ``2024-06-01/2024-06-30``; SettingsError else."""
    parts = text.split("/")
    try:
        days = [dt.datetime.strptime(part.strip(), "%Y-%m-%d") for part in parts]
    except ValueError:
        days = []
    if len(days) not in (1, 2):
        raise SettingsError(f"the date is {text[:60]!r}; give YYYY-MM-DD or YYYY-MM-DD/YYYY-MM-DD")
    first, last = (day.replace(tzinfo=dt.UTC) for day in (days[0], days[-1]))
    if not all(_FIRST_YEAR <= day.year <= _LAST_YEAR for day in (first, last)):
        raise SettingsError(f"the date is {text}; give one from {_FIRST_YEAR} to {_LAST_YEAR}")
    if last < first:
        raise SettingsError(f"the date {text} runs backwards; give the earlier day first")
    return Period(first=first, end=last + _DAY, is_interval=len(days) == 2)


def read_scene(item: Mapping[str, Any], collection: Collection) -> Scene:
    """Return the scene of a STAC item; CatalogError where a needed field is missing."""
    try:
        properties = item["properties"]
        moment = properties.get("datetime") or properties["start_datetime"]
        time = dt.datetime.fromisoformat(moment.upper())  # some write a lower-case z
        common = {
            "id": _as_text(item["id"], "id"),
            "collection": collection.id,
            "time": time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC),
            "platform": str(properties.get("platform", "")).lower(),
            "footprint": _read_footprint(item["geometry"]),
            "hrefs": {
                key: href
                for key, asset in item["assets"].items()
                if (href := link_of(asset)) is not None
            },
            "assets": collection.assets,
            "alternates": {
                key: others
                for key, asset in item["assets"].items()
                if (others := tuple(alternates(asset)))
            },
            "stored": {
                key: said
                for key, a in item["assets"].items()
                if (said := read_stored(a)) != Stored()
            },
        }
        if not isinstance(collection, OpticalCollection):
            return Scene(
                **common,
                datatake="",
                tile="",
                orbit_state=str(properties.get(collection.orbit, "")),
                baseline="",
                kind=collection.kind,
                offset=Offset(dn=0, why="radar"),
                cloud_percent=None,
                orbit=_as_orbit(properties.get(collection.relative_orbit)),
            )
        cloud, tile = properties.get(collection.cloud), _read_tile(properties, collection)
        return Scene(
            **common,
            datatake=str(properties.get(collection.datatake, "")),
            tile=tile,
            zone=_read_zone(item, tile, common["footprint"]),
            orbit_state="",
            baseline=str(properties.get(collection.baseline, "")),
            kind=collection.level,
            offset=find_offset(collection, properties, item["assets"]),
            cloud_percent=_as_percent(cloud),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError) as error:
        name = item.get("id", "without id") if isinstance(item, Mapping) else "without id"
        raise CatalogError(
            f"STAC item {name} cannot be used: {_reason(error)}; mend the catalog"
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, ValueError | ShapelyError):
        return str(error)
    return f"a field is of another type ({error})"


def _read_tile(properties: Mapping[str, Any], collection: OpticalCollection) -> str:
    """Return the MGRS tile, such as ``32TMT``, by whatever name it has; empty where it has none."""
    for name in (collection.tile, *_TILES):
        found = _MGRS.search(str(properties.get(name) or ""))
        if found:
            return f"{int(found[1]):02d}{found[2]}"
    return ""


def _read_zone(item: Mapping[str, Any], tile: str, footprint: BaseGeometry) -> int | None:
    """Return the UTM zone that the item, one of its assets or its tile names."""
    said = [item["properties"], *item["assets"].values()]
    codes = [
        int(found[1])
        for facts in said
        for name in _CODES
        if (found := _EPSG.fullmatch(str(facts.get(name) or "")))
    ]
    if tile:
        codes.append(find_zone(int(tile[:2]), north=tile[2] >= _FIRST_NORTHERN_BAND))
    named = next(iter(codes), None)
    return named if named in zones_of(footprint) else None


def _as_percent(value: Any) -> float | None:
    """Return a share in percent; None where there is none, or text such as ``n/a``."""
    try:
        percent = float(value)
    except (TypeError, ValueError):
        return None
    return percent if 0 <= percent <= 100 else None


def _as_orbit(value: Any) -> int | None:
    """Return a relative orbit; None where there is none, or something else."""
    try:
        orbit = int(value)
    except (TypeError, ValueError):
        return None
    return orbit if 1 <= orbit <= _ORBITS else None


def _as_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _read_footprint(geometry: Any) -> BaseGeometry:
    """Return a footprint, valid and cut at the antimeridian.

    ValueError where it is not on Earth, or covers more of it than any scene.
    """
    if geometry is None:
        raise ValueError("it has no geometry")
    footprint = cut_at_antimeridian(shape(geometry))
    west, south, east, north = footprint.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError("geometry is not in longitude and latitude")
    covered = _km2(footprint)
    if covered > _LARGEST_KM2:
        raise ValueError(f"geometry covers {covered / 1e6:.0f} million km2, more than any scene")
    return shapely.make_valid(footprint)


def _km2(footprint: BaseGeometry) -> float:
    """Return about how much a footprint covers: degrees of latitude become equal in area."""
    flat = shapely.transform(
        footprint, lambda xy: np.column_stack([xy[:, 0], np.degrees(np.sin(np.radians(xy[:, 1])))])
    )
    return float(flat.area * _KM_PER_DEGREE**2)
