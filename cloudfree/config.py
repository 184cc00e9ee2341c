"""A job's settings: one small frozen object per stage, read from TOML.

Sections and their order are those of the walk in ARCHITECTURE.md. A default is written here
and nowhere else; ``pipelines/run.toml`` spells them out and a test holds the two equal.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from cloudfree.bands import check_bands
from cloudfree.errors import SettingsError

T = TypeVar("T")
_MOST_DAYS = 366


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with the message unless the condition holds."""
    if not condition:
        raise SettingsError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings:
    """Whom to ask for scenes; see ``cloudfree.providers``."""

    provider: str = ""
    """Of optical scenes: the name of a built-in provider or a TOML file. Empty for the Planetary
    Computer, or, where ``--stac`` is given, for the table of local catalogs."""
    radar_provider: str = ""
    """The same of radar scenes."""
    timeout_s: float = 30.0
    """How long a STAC API may take to answer."""
    max_cloud_percent: float = 100.0
    """Scenes with more cloud than this by their metadata are not considered."""

    def __post_init__(self) -> None:
        require(self.timeout_s > 0, f"timeout_s is {self.timeout_s}; give more than 0")
        require(
            0 <= self.max_cloud_percent <= 100,
            f"max_cloud_percent is {self.max_cloud_percent}; give 0 to 100",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSettings:
    """How far from the date scenes may lie, and which of them is best."""

    optical_days: float = 5.0
    """For a single day: the nearest datatake within this many days."""
    sar_days: float = 6.0
    """The radar partner lies within this many days of the optical datatake."""
    day_cost: float = 0.1
    """For a single day: a datatake one day further away must show this much more of the area."""
    min_seen: float = 0.1
    """Datatakes that show less than this share of the area are not restored; 0 takes any.
    Below a tenth a product is nearly all estimate, and another day serves better."""

    def __post_init__(self) -> None:
        require(
            0 <= self.optical_days <= _MOST_DAYS,
            f"optical_days is {self.optical_days}; give 0 to {_MOST_DAYS}",
        )
        require(
            0 < self.sar_days <= _MOST_DAYS,
            f"sar_days is {self.sar_days}; give more than 0, at most {_MOST_DAYS}",
        )
        require(self.day_cost > 0, f"day_cost is {self.day_cost}; give more than 0")
        require(0 <= self.min_seen <= 1, f"min_seen is {self.min_seen}; give a share, 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSettings:
    """The product's grid and its cutting into chunks."""

    bands: tuple[str, ...] = ("B02", "B03", "B04")
    """Optical bands of the product, in its order."""
    crs: str = "utm"
    """``utm`` for the zone of the area, or a projected CRS in metres such as ``EPSG:32633``."""
    resolution_m: float = 10.0
    """Side of a pixel."""
    chunk_px: int = 2048
    """Side of a chunk and of a shard; a multiple of 256. Does not change the product."""

    def __post_init__(self) -> None:
        check_bands(self.bands)
        require(self.resolution_m > 0, f"resolution_m is {self.resolution_m}; give more than 0")
        require(
            self.chunk_px > 0 and self.chunk_px % 256 == 0,
            f"chunk_px is {self.chunk_px}; give a multiple of 256",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RadiometrySettings:
    """How a scene's statistics are measured and its picture stretched."""

    sample_windows: int = 36
    """At most this many windows of a scene, evenly spread, are read to measure it."""
    low_percent: float = 0.5
    """Percentile of seen pixels that becomes -1 in the picture."""
    high_percent: float = 99.5
    """Percentile of seen pixels that becomes 1: the limit for made pixels."""
    floor_db: float = -35.0
    """Radar backscatter below this is noise and set to it."""

    def __post_init__(self) -> None:
        require(
            0 <= self.low_percent < self.high_percent <= 100,
            f"percentiles are {self.low_percent} and {self.high_percent}; "
            "give 0 <= low_percent < high_percent <= 100",
        )
        require(self.sample_windows >= 1, "sample_windows is below 1; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeSettings:
    """How assets on HTTP servers are read. Does not change the product."""

    attempts: int = 8
    """A range of a file is asked for at most this often."""
    patience_s: float = 300.0
    """After this long no further attempt at a range begins."""
    timeout_s: float = 30.0
    """A server that sends nothing for so long is taken to hang."""
    retry_delay_s: float = 0.5
    """Wait before the second attempt; it doubles for each further one, up to a minute."""
    requests_per_host: int = 8
    """Requests that a process has under way at one host; others wait."""

    def __post_init__(self) -> None:
        require(self.attempts >= 1, f"attempts is {self.attempts}; give 1 or more")
        require(self.patience_s >= 0, f"patience_s is {self.patience_s}; give 0 or more")
        require(self.timeout_s > 0, f"timeout_s is {self.timeout_s}; give more than 0")
        require(self.retry_delay_s >= 0, f"retry_delay_s is {self.retry_delay_s}; give 0 or more")
        require(self.requests_per_host >= 1, "requests_per_host is below 1; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """What counts as hidden. Class numbers are those of the Sentinel-2 scene classification.

    masks.read_classes says what each class is and why it is where it is.
    """

    source: str = "auto"
    """``auto``: the scene's classification, a detector where it has none. ``detector``: always
    the detector. Else a mask file: a raster or GeoJSON polygons, over what auto says."""
    detector: str = "thresholds"
    """``thresholds``, or ``s2cloudless``, which wants ten bands of Level-1C and the extra
    ``detect``; ``cloudfree/detectors.py`` says how good each is."""
    cloudy: tuple[int, ...] = (8, 9, 10)
    """Cloud of medium and high probability, thin cirrus."""
    shadow: tuple[int, ...] = (3,)
    """Cloud shadow."""
    defective: tuple[int, ...] = (1,)
    """No measurement of the ground: hidden, but nothing around it is."""
    dilation_m: float = 100.0
    """Cloud and shadow grow by this radius: classifications miss the thin rims of clouds."""
    min_area_m2: float = 1600.0
    """Cloud and shadow that hang together over less than this are taken for a mistake."""

    def __post_init__(self) -> None:
        require(
            self.detector in ("thresholds", "s2cloudless"),
            f"detector is {self.detector!r}; give thresholds or s2cloudless",
        )
        classes = (*self.cloudy, *self.shadow, *self.defective)
        require(
            all(1 <= number <= 11 for number in classes) and len(set(classes)) == len(classes),
            f"cloudy, shadow and defective hold classes {classes}; give each of 1 to 11 once",
        )
        require(self.source != "", "source is empty; give auto, detector or a mask file")
        # Chunks are read with a halo that grows with both.
        for name in ("dilation_m", "min_area_m2"):
            value = getattr(self, name)
            require(0 <= value <= 10_000, f"{name} is {value}; give 0 to 10000")

    @property
    def file(self) -> Path | None:
        """The mask file, where ``source`` is one."""
        return None if self.source in ("auto", "detector") else Path(self.source)

    def without_file(self) -> MaskSettings:
        """Return the settings for what lies beyond a mask file: a scene as a whole."""
        return self if self.file is None else dataclasses.replace(self, source="auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorationSettings:
    """Which model restores, and how."""

    model: str = "small"
    """Name of a built-in bundle or the folder of one."""
    batch_windows: int = 16
    """Windows given to the model at once."""

    def __post_init__(self) -> None:
        require(self.batch_windows >= 1, "batch_windows is below 1; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Where the work is done. Does not change the product."""

    scheduler: str = ""
    """Address of a Dask scheduler; empty for a local one."""
    workers: int = 1
    """Local worker processes; with 1 everything stays in this process."""
    reader_threads: int = 4
    """Assets that one chunk reads at the same time."""

    def __post_init__(self) -> None:
        require(self.workers >= 1, f"workers is {self.workers}; give 1 or more")
        require(self.reader_threads >= 1, "reader_threads is below 1; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """All settings of a run, in the order of the walk."""

    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    scenes: SceneSettings = field(default_factory=SceneSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    radiometry: RadiometrySettings = field(default_factory=RadiometrySettings)
    cube: CubeSettings = field(default_factory=CubeSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)
    restoration: RestorationSettings = field(default_factory=RestorationSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)


def build(cls: type[T], table: dict[str, Any], where: str) -> T:
    """Make a settings dataclass from a TOML table, whole or in part.

    Raises SettingsError for an unknown key, naming the nearest known one, and for a value of
    another type. ``where`` names the source in messages.
    """
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]  # T is always a dataclass
    names = [item.name for item in fields]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{where}: unknown key {key!r}; the nearest known one is {near!r}")
        values[key] = _convert(hints[key], value, f"{where}: {key}")
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from None
    except TypeError:
        needed = [item.name for item in fields if item.default is item.default_factory]
        missing = ", ".join(name for name in needed if name not in values)
        raise SettingsError(f"{where}: keys are missing among {missing}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, UnionType):  # of the form "X | None"; TOML has no None
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(hint, value, where)  # type: ignore[arg-type]
    if getattr(hint, "__origin__", None) is dict and isinstance(value, dict):
        return {
            key: _convert(hint.__args__[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if getattr(hint, "__origin__", None) is tuple and isinstance(value, list):
        return tuple(_convert(hint.__args__[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        isinstance(hint, type)
        and isinstance(value, hint)
        and isinstance(value, bool) == (hint is bool)
    ):
        return value
    kind = getattr(hint, "__name__", str(hint))
    raise SettingsError(f"{where} is {value!r}; give a value of type {kind}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; SettingsError where it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None


def merge(tables: dict[str, Any], overrides: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Lay ``overrides`` (section -> key -> value, None meaning not given) over TOML tables."""
    merged = {name: dict(t) if isinstance(t, dict) else t for name, t in tables.items()}
    for section, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        below = merged.get(section, {})
        if given and isinstance(below, dict):  # what is no table is refused by build
            merged[section] = {**below, **given}
    return merged
