"""A job's settings: one small frozen object per stage, read from TOML.

Sections and their order are those of the walk in ARCHITECTURE.md. A default is written here
and nowhere else; ``pipelines/run.toml`` spells them out and a test holds the two equal.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path

from cloudfree.core.bands import check_bands
from cloudfree.core.tables import require

_MOST_DAYS = 366
CHECK_PX = 256
"""Side of a place of the self-check."""
MIRRORS: tuple[tuple[int, ...], ...] = ((-1,), (-2,), (-2, -1))
"""Axes along which a scene's own cloud is mirrored before it is laid over seen ground."""
_FEWEST_PLACES = 2
LEARN_PX = 128
"""Side of the windows that a scene's other days are learnt from."""
LEARN_A_SIDE = 4
"""They are at most 4 x 4."""
REFERENCE_BLOCK_PX = 1024
"""References are read in blocks of at most this side: memory does not grow with the chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSettings:
    """Whom to ask for scenes; see ``cloudfree.scenes.providers``."""

    provider: str = ""
    """Of optical scenes: the name of a built-in provider or a TOML file. Empty for the Planetary
    Computer, or, where ``--stac`` is given, for the table of local catalogs."""
    radar_provider: str = ""
    """The same of radar scenes."""
    timeout_s: float = 30.0
    """How long a STAC API may take to answer."""
    max_cloud_percent: float = 100.0
    """Scenes with more cloud than this by their metadata are not considered."""
    strict: bool = False
    """Refuse a catalog that holds an item which cannot be used, instead of leaving that out."""

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
class ReferenceSettings:
    """Other days of the same ground, which hidden pixels are made of."""

    days: float = 75.0
    """Datatakes within so many days before and after a scene serve; 0 for none."""
    most: int = 8
    """At most so many of them a scene: half before and half after, where there are as many."""
    dilation_m: float = 20.0
    """Cloud and shadow in them grow by this radius, less than in the scene itself: what a mask
    missed stands out among several days, and each day more is worth more than a clean rim."""
    radar_days: float = 6.0
    """Radar of one orbit, within so many days of the scene and of another day, tells where the
    ground changed in between: what was there does not serve. 0 for none."""

    def __post_init__(self) -> None:
        require(0 <= self.days <= _MOST_DAYS, f"days is {self.days}; give 0 to {_MOST_DAYS}")
        require(1 <= self.most <= 32, f"most is {self.most}; give 1 to 32")
        require(
            0 <= self.dilation_m <= 10_000,
            f"dilation_m is {self.dilation_m}; give 0 to 10000",
        )
        require(
            0 <= self.radar_days <= _MOST_DAYS,
            f"radar_days is {self.radar_days}; give 0 to {_MOST_DAYS}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSettings:
    """The product's grid and its cutting into chunks."""

    bands: tuple[str, ...] = ("B04", "B03", "B02")
    """Optical bands of the product, in its order: red, green and blue first, since QGIS shows the
    first three bands of a file."""
    crs: str = "utm"
    """``utm`` for the zone of the area's middle or, where no scene lies in that, of the scenes;
    ``equal-area`` for Lambert's azimuthal one around the area; or a projected CRS in metres such as
    ``EPSG:32633``."""
    resolution_m: float = 10.0
    """Side of a pixel."""
    chunk_px: int = 2048
    """Side of a chunk and of a shard; a multiple of 256. Does not change the product."""

    def __post_init__(self) -> None:
        check_bands(self.bands)
        require(
            1 <= self.resolution_m <= 10_000,
            f"resolution_m is {self.resolution_m}; give 1 to 10000",
        )
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
    the detector. Else a mask file: a raster or polygons, over what auto says."""
    detector: str = "thresholds"
    """``thresholds``, or ``s2cloudless``, which wants ten bands of Level-1C and the extra
    ``detect``; ``cloudfree/pixels/detectors.py`` says how good each is."""
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

    model: str = "auto"
    """Name of a built-in bundle or the folder of one; ``auto`` measures on every scene which of
    them makes its pixels."""
    batch_windows: int = 16
    """Windows given to the model at once."""

    def __post_init__(self) -> None:
        require(self.batch_windows >= 1, "batch_windows is below 1; give 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheckSettings:
    """How a run measures its own error: seen pixels are hidden, restored and compared."""

    places: int = 8
    """Squares of 256 px, spread over the area and its dates, in which that is done; 0 for none.
    They are fewer where they would be more than a quarter of the product, but two."""
    seed: int = 0
    """Of the choice of places and of clouds."""

    def __post_init__(self) -> None:
        require(0 <= self.places <= 1000, f"places is {self.places}; give 0 to 1000")
        require(self.seed >= 0, f"seed is {self.seed}; give 0 or more")

    def places_of(self, pixels: int) -> int:
        """Return how many places a product of so many pixels is checked in."""
        return min(self.places, max(_FEWEST_PLACES, pixels // (4 * CHECK_PX**2)))


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintySettings:
    """The layer that says how wrong made pixels are likely to be."""

    write: bool = False
    """Write it; restoring then takes about four times as long."""
    max: float = 0.0
    """Made pixels that are likely to be wrong by more than this, in reflectance (0 to 1), are left
    out as ``source`` 3; 0 leaves out none."""

    def __post_init__(self) -> None:
        require(0 <= self.max <= 1, f"max is {self.max}; give a reflectance, 0 to 1")
        require(self.write or not self.max, "max needs the layer: set write = true")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Where the work is done. Does not change the product."""

    scheduler: str = ""
    """Address of a Dask scheduler, ``tcp://`` or ``tls://``; empty for a local one."""
    kubernetes: bool = False
    """Create a cluster on Kubernetes for the run, as the section ``[kubernetes]`` says."""
    tls_ca: str = ""
    """File with the certificate authority of a scheduler that asks for TLS."""
    tls_cert: str = ""
    """File with the certificate to show to it."""
    tls_key: str = ""
    """File with that certificate's key."""
    workers: int = 1
    """Local worker processes; with 1 everything stays in this process."""
    reader_threads: int = 4
    """Assets that one chunk reads at the same time."""
    gpu: str = "auto"
    """``auto``: workers with the Dask resource GPU restore, where there are any. ``require``: such
    workers are there, or the run is refused. ``off``: none is used."""
    dashboard: str = ""
    """Address that a local scheduler shows its dashboard and metrics on; empty for none."""
    max_failed: int = 100
    """Once more chunks than this have failed, no further ones are begun."""
    drain_s: float = 25.0
    """After SIGTERM, chunks in flight have so long to end. Kubernetes waits for 30 s by default."""

    def __post_init__(self) -> None:
        require(self.workers >= 1, f"workers is {self.workers}; give 1 or more")
        require(self.reader_threads >= 1, "reader_threads is below 1; give 1 or more")
        require(
            self.gpu in ("auto", "require", "off"),
            f"gpu is {self.gpu!r}; give auto, require or off",
        )
        require(self.max_failed >= 0, f"max_failed is {self.max_failed}; give 0 or more")
        require(self.drain_s >= 0, f"drain_s is {self.drain_s}; give 0 or more")
        require(
            not (self.kubernetes and self.scheduler),
            "kubernetes creates a scheduler of its own; leave out one of the two",
        )
        certificates = (self.tls_ca, self.tls_cert, self.tls_key)
        require(
            all(certificates) or not any(certificates),
            "tls_ca, tls_cert and tls_key belong together; give all three",
        )
        for file in certificates:
            require(not file or Path(file).is_file(), f"there is no file {file}")
        require(
            not self.scheduler.startswith("tls://") or bool(self.tls_ca),
            f"{self.scheduler} asks for TLS; give --tls-ca, --tls-cert and --tls-key",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """The cluster that ``--kubernetes`` creates for a run. Does not change the product."""

    namespace: str = "cloudfree"
    """Where it is created; holds the service account and the secrets of deploy/kubernetes."""
    image: str = "cloudfree:0.1.0"
    """Of scheduler and readers: the one of deploy/Dockerfile, as your registry names it."""
    gpu_image: str = "cloudfree:0.1.0-cuda"
    """Of workers with a GPU: the same for CUDA."""
    workers_min: int = 2
    """Readers that there always are; they restore too where there is no GPU."""
    workers_max: int = 20
    """Readers at most. As many as there is work for; with ``gpu_workers`` always all of them,
    because the Dask operator, when it shrinks readers, retires idle GPU workers in their stead."""
    gpu_workers: int = 0
    """Workers with one GPU each. Their number is fixed: the operator scales readers only."""
    patience_s: float = 600.0
    """How long the scheduler and the first worker of each kind may take to be ready."""

    def __post_init__(self) -> None:
        require(
            re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", self.namespace) is not None,
            f"namespace is {self.namespace!r}; give lower case letters, digits and hyphens",
        )
        for name in ("image", "gpu_image"):
            value = getattr(self, name)
            require(
                re.fullmatch(r"[\w.:/@-]+", value, re.ASCII) is not None,
                f"{name} is {value!r}; give the name of a container image",
            )
        require(
            1 <= self.workers_min <= self.workers_max,
            f"workers_min and workers_max are {self.workers_min} and {self.workers_max}; "
            "give 1 <= workers_min <= workers_max",
        )
        require(self.gpu_workers >= 0, f"gpu_workers is {self.gpu_workers}; give 0 or more")
        require(self.patience_s > 0, f"patience_s is {self.patience_s}; give more than 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """All settings of a run, in the order of the walk."""

    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    scenes: SceneSettings = field(default_factory=SceneSettings)
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    grid: GridSettings = field(default_factory=GridSettings)
    radiometry: RadiometrySettings = field(default_factory=RadiometrySettings)
    cube: CubeSettings = field(default_factory=CubeSettings)
    masks: MaskSettings = field(default_factory=MaskSettings)
    restoration: RestorationSettings = field(default_factory=RestorationSettings)
    selfcheck: SelfCheckSettings = field(default_factory=SelfCheckSettings)
    uncertainty: UncertaintySettings = field(default_factory=UncertaintySettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)

    @property
    def reference_masks(self) -> MaskSettings:
        """How other days are masked: not by a file, which is of the scene's own day."""
        masks = self.masks.without_file()
        return dataclasses.replace(masks, dilation_m=self.references.dilation_m)

    def __post_init__(self) -> None:
        require(
            not self.uncertainty.write or self.selfcheck.places >= 2,
            "uncertainty is calibrated on the self-check: give it 2 places or more, or leave "
            "out --uncertainty",
        )
