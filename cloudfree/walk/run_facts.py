"""What the jobs of a run are given, and what rows 6 to 13 hand on to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudfree.core.config import RunSettings
from cloudfree.core.types import BoolArray, Float32Array, Signer, UInt8Array
from cloudfree.geometry.grid import Chunk, GridPlan
from cloudfree.geometry.windows import WindowChoice
from cloudfree.pixels.observation import Observation
from cloudfree.restoration.uncertainty import Calibration
from cloudfree.scenes.scene import Step
from cloudfree.storage.ledger import mark_name
from cloudfree.storage.outputs import Storage
from cloudfree.walk.measure import PairStatistics
from cloudfree.walk.other_days import MadeOfOtherDays
from cloudfree.walk.references import FittedReferences

PairKey = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What every chunk job of a run needs; sent to each worker once."""

    storage: Storage
    """The output."""
    key: str
    """The run's key in the ledger."""
    plan: GridPlan
    """The grid."""
    steps: tuple[Step, ...]
    """The datatakes."""
    first_optical: tuple[int, ...]
    """Per step: index of its first optical scene in the product's scene table."""
    first_radar: tuple[int, ...]
    """Per step: index of its first radar scene in the product's scene table."""
    statistics: dict[PairKey, PairStatistics]
    """By ids of the optical and the radar scene."""
    fitted: Mapping[str, FittedReferences]
    """Optical scene -> what its hidden pixels are made of; only scenes that have other days."""
    reference_table: Mapping[str, int]
    """Scene of a reference -> its number in the product, from 1."""
    settings: RunSettings
    """The run's settings."""
    signer: Signer
    """Signs links when they are read."""
    model: str
    """Name under which workers share the model."""
    calibrations: Mapping[str, Calibration]
    """Kind of made pixels, as the classes of ``source`` are called -> what turns its signs of doubt
    into an expected error; none where no layer of it is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """What a finished chunk reports; its mark in the ledger."""

    key: str
    """The run's key."""
    seen: int
    """Pixels passed on."""
    reconstructed: int
    """Pixels made of radar and surroundings."""
    not_restored: int
    """Cloudy pixels that nothing could be made of."""
    limited: int
    """Made pixels at the limit of the picture."""
    windows: int
    """Windows computed."""
    windows_skipped: int
    """Windows over the core that needed no computing."""
    retries: dict[str, int]
    """How often a server was asked again, by kind of failure."""
    seconds: dict[str, float]
    """Per row of the walk."""
    peak_memory_bytes: int
    """Of the process that did it, so far."""
    other_days: int = 0
    """Pixels made of what other days saw."""


def job_name(step: int, chunk: Chunk) -> str:
    """Return the name of a chunk's mark."""
    return mark_name(step, chunk.row, chunk.col)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A chunk of one step as it was observed: what rows 6 to 9 give to the others."""

    observation: Observation
    """Its core and halo."""
    cloud: UInt8Array
    """(y, x) codes of the mask."""
    inside: BoolArray
    """(y, x) of the core: True where a pixel belongs to the area."""
    others: MadeOfOtherDays | None
    """What other days make of its hidden pixels, and of seen ones near them; None where they make
    nothing."""
    choice: WindowChoice
    """The windows to be restored."""
    seconds: dict[str, float]
    """Per row of the walk."""
    retries: dict[str, int]
    """How often a server was asked again, by kind of failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What rows 10 and 11 make of a reading."""

    reflectance: Float32Array
    """(band, y, x) reflectance numbers."""
    signs: Float32Array
    """(sign, y, x) signs of doubt from the model; none where they are not asked for."""
    covered: BoolArray
    """(y, x): True where there is one."""
    makes_other_days: bool
    """Whether the model was told what other days say, so that it makes their pixels too."""
    seconds: dict[str, float]
    """Per row of the walk."""


def core_of(facts: RunFacts, chunk: Chunk) -> tuple[slice, slice]:
    """Return where a chunk's core lies in what it reads."""
    halo = facts.plan.halo_px
    return (slice(halo, halo + chunk.geobox.height), slice(halo, halo + chunk.geobox.width))
