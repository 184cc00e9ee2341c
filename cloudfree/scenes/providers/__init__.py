"""Where scenes come from, as data: one TOML a provider, beside this file or a user's own.

A table says which collections hold optical scenes and which radar, how their properties and assets
are called, by which rule their numbers become reflectance, and who signs their links.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloudfree.core.config import CatalogSettings
from cloudfree.core.errors import SettingsError
from cloudfree.core.tables import build, read_toml

LOCAL = "local"
"""The provider of a catalog given with ``--stac``."""
DEFAULT = "planetary-computer"
"""The provider that is asked where neither a catalog nor another one is given."""
OFFSET_RULES = ("baseline", "asset", "flag", "item")
SIGNINGS = ("none", "planetary-computer")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalCollection:
    """A collection of Sentinel-2 scenes."""

    id: str
    """As the catalog calls it."""
    level: str
    """Product level: ``L1C`` or ``L2A``."""
    offset: str
    """How numbers become reflectance; see ``harmonisation.find_offset``."""
    baseline: str = "s2:processing_baseline"
    """Property that names the processing baseline."""
    applied: str = "earthsearch:boa_offset_applied"
    """Property that says whether the offset has been applied to the numbers."""
    tile: str = "grid:code"
    """Property that names the MGRS tile."""
    datatake: str = "s2:datatake_id"
    """Property that names the datatake."""
    cloud: str = "eo:cloud_cover"
    """Property with the cloud cover in percent."""
    assets: dict[str, str] = field(default_factory=dict)
    """Band -> asset, where it is neither the band's name nor its common name."""

    def __post_init__(self) -> None:
        if self.level not in ("L1C", "L2A"):
            raise SettingsError(f"level of {self.id} is {self.level!r}; give L1C or L2A")
        if self.offset not in OFFSET_RULES:
            raise SettingsError(
                f"offset of {self.id} is {self.offset!r}; give one of {', '.join(OFFSET_RULES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarCollection:
    """A collection of Sentinel-1 scenes."""

    id: str
    """As the catalog calls it."""
    kind: str
    """What backscatter it holds, such as ``gamma0-rtc``."""
    terrain_corrected: bool = True
    """False: ground range; relief displaces its pixels, so that it cannot be laid on a map."""
    orbit: str = "sat:orbit_state"
    """Property that says ascending or descending."""
    relative_orbit: str = "sat:relative_orbit"
    """Property that numbers the orbit, which is over the same ground every 12 days."""
    assets: dict[str, str] = field(default_factory=dict)
    """Polarisation -> asset, where it is not its name."""


Collection = OpticalCollection | RadarCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider's table."""

    name: str
    """How it is called."""
    address: str = ""
    """Of its STAC API; empty for the local one."""
    signing: str = "none"
    """Who signs links before they are read: ``none`` or ``planetary-computer``."""
    proof: str
    """What the table rests on."""
    optical: tuple[OpticalCollection, ...] = ()
    """In order of preference: of one overpass in two collections the first wins."""
    radar: tuple[RadarCollection, ...] = ()
    """Radar that can be used and, with a reason, radar that cannot."""

    def __post_init__(self) -> None:
        if self.signing not in SIGNINGS:
            raise SettingsError(
                f"signing of {self.name} is {self.signing!r}; give one of {', '.join(SIGNINGS)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a run's scenes come from: optical and radar are chosen apart."""

    optical: Provider
    """Its optical collections are used."""
    radar: Provider
    """Its radar collections are used."""
    optical_address: str
    """API or local file that is asked for optical scenes."""
    radar_address: str
    """API or local file that is asked for radar scenes."""

    @property
    def collections(self) -> dict[str, Collection]:
        """The collections that are asked, by id, in order of preference."""
        chosen: tuple[Collection, ...] = (*self.optical.optical, *self.radar_collections)
        return {collection.id: collection for collection in chosen}

    @property
    def radar_collections(self) -> tuple[RadarCollection, ...]:
        """The radar collections that can be used."""
        return tuple(one for one in self.radar.radar if one.terrain_corrected)


def built_in() -> list[str]:
    """Return the names of the providers that come with the package."""
    folder = resources.files(__name__)
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if ".toml" in entry.name
    )


def load_provider(name: str) -> Provider:
    """Return a built-in provider, or the one in a TOML file; SettingsError for anything else."""
    if name in built_in():
        return _build(Path(str(resources.files(__name__) / f"{name}.toml")), name)
    if name.endswith(".toml"):
        return _build(Path(name), Path(name).stem)
    raise SettingsError(
        f"no provider is called {name!r}; built in are {', '.join(built_in())}. Give one of these "
        "or a TOML file of your own"
    )


def _build(file: Path, name: str) -> Provider:
    table: dict[str, Any] = {"name": name, "proof": "its own table", **read_toml(file)}
    return build(Provider, table, str(file))


def find_sources(settings: CatalogSettings, stac: str | None) -> Sources:
    """Return where scenes come from: the settings' providers, at ``stac`` where it is given.

    Without ``stac`` and without a provider the default one is asked for both. With ``stac``, an
    API's address or a file, everything is asked there, by the table for local catalogs unless a
    provider is named. SettingsError where a provider does not have what it is asked for.
    """
    fallback = LOCAL if stac else DEFAULT
    optical = load_provider(settings.provider or fallback)
    radar = load_provider(settings.radar_provider or fallback)
    sources = Sources(
        optical=optical,
        radar=radar,
        optical_address=stac or optical.address,
        radar_address=stac or radar.address,
    )
    if not optical.optical:
        raise SettingsError(f"provider {optical.name} has no optical scenes; give another")
    if not sources.radar_collections:
        refused = ", ".join(one.id for one in radar.radar) or "no radar"
        raise SettingsError(
            f"the radar of provider {radar.name} cannot be used: it has {refused}, which is not "
            "corrected for terrain, so relief displaces its pixels. Give --radar-provider "
            f"{DEFAULT}"
        )
    for provider, address in (
        (optical, sources.optical_address),
        (radar, sources.radar_address),
    ):
        if not address:
            raise SettingsError(
                f"provider {provider.name} has no address of its own; give --stac an API's "
                "address or a file"
            )
    return sources


def is_api(address: str) -> bool:
    """Return whether an address is that of an API, not a file."""
    return urlsplit(address).scheme in ("http", "https")
