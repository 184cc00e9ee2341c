"""Row 5 of the walk: what describes a scene as a whole, measured once for the whole scene.

A sample is a fixed, evenly spread set of windows of the scene's own grid. It does not depend on
the area, so that two areas which share a scene stretch it alike; nor on a mask file, which is drawn
for an area.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from cloudfree.core.config import RadiometrySettings, RunSettings
from cloudfree.core.contract import Contract
from cloudfree.core.errors import ReadError, RequestError, UnreachableError
from cloudfree.core.types import Masks, Model, SceneFitted
from cloudfree.pixels import cube
from cloudfree.pixels.masks import valid_pixels
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.observe import Clock, observe
from cloudfree.pixels.radiometry import (
    OpticalStatistics,
    RadarStatistics,
    measure_optical,
    measure_radar,
)
from cloudfree.pixels.remote import Fetcher
from cloudfree.restoration.auto import Auto
from cloudfree.restoration.restore import PairModel, cut_windows
from cloudfree.scenes.harmonisation import Offset, decide_offset
from cloudfree.scenes.scene import Scene, Step
from cloudfree.walk.makers import Choice, choose_maker
from cloudfree.walk.plausible import check_optical, check_radar

logger = logging.getLogger(__name__)

_WHOLE = (slice(None), slice(None))
NO_RADAR = ""
"""Stands for the id of a radar scene where an optical one has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatistics:
    """What was measured of one optical scene and of one radar scene beside it."""

    optical: OpticalStatistics
    """Of the optical scene."""
    radar: RadarStatistics
    """Of the radar where the optical scene lies; of no pixel where there is none."""
    learnt: list[list[float]]
    """What a SceneFitted model learnt from the sample; empty for others."""
    choice: Choice | None = None
    """Which model ``auto`` is here; None for others."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        if self.choice is None:
            del values["choice"]  # products of other models keep their keys
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PairStatistics:
        """Return what as_json gave."""
        optical, radar = values["optical"], values["radar"]
        return cls(
            optical=OpticalStatistics(
                low=tuple(optical["low"]),
                high=tuple(optical["high"]),
                seen_pixels=optical["seen_pixels"],
            ),
            radar=RadarStatistics(
                mean_db=tuple(radar["mean_db"]),
                std_db=tuple(radar["std_db"]),
                pixels=radar["pixels"],
            ),
            learnt=values["learnt"],
            choice=Choice.from_json(values["choice"]) if "choice" in values else None,
        )

    def pair(self, model: Model, bands: tuple[str, ...]) -> PairModel:
        """Return the model made ready for windows of this pair; ``bands`` are the product's."""
        if isinstance(model, Auto) and self.choice is not None:
            makers = model.makers(bands, with_radar=self.radar.pixels > 0)
            model = makers[self.choice.maker]
        if isinstance(model, SceneFitted) and self.learnt:
            model = model.fitted(self.learnt)
        channels = tuple(bands.index(band) for band in model.contract.bands or bands)
        return PairModel(model=model, optical=self.optical, radar=self.radar, bands=channels)


@contextmanager
def before_the_start() -> Iterator[None]:
    """Say what to do where a scene cannot be read although nothing was begun.

    A scene that cannot be read at all is a wrong request, since the key of the product needs
    what is measured of it; a server that does not answer for now is not.
    """
    try:
        yield
    except UnreachableError as error:
        raise UnreachableError(f"{error}. Nothing is done yet: try again later") from None
    except ReadError as error:
        raise RequestError(f"{error}. Mend the catalog or choose another date") from None


def settle_offsets(
    steps: Iterable[Step], settings: RunSettings, contract: Contract, fetcher: Fetcher
) -> tuple[Step, ...]:
    """Return steps whose optical scenes, those of references too, all have a known offset.

    Where metadata do not say, a sample of the scene is read and decides. Of a scene that cannot be
    read it does not matter, since it will be left out; UnreachableError where a server does not
    answer for now.
    """
    known: dict[str, Offset] = {}

    def settle(scenes: tuple[Scene, ...]) -> tuple[Scene, ...]:
        for scene in scenes:
            if scene.id not in known:
                known[scene.id] = _settle(scene, settings, contract, fetcher).offset
        return tuple(replace(scene, offset=known[scene.id]) for scene in scenes)

    return tuple(map_optical(step, settle) for step in steps)


def map_optical(step: Step, change: Callable[[tuple[Scene, ...]], tuple[Scene, ...]]) -> Step:
    """Return a step with its optical scenes, those of references too, changed."""
    return replace(
        step,
        optical=change(step.optical),
        references=tuple(
            tuple(replace(one, scenes=change(one.scenes)) for one in found)
            for found in step.references
        ),
    )


def _settle(scene: Scene, settings: RunSettings, contract: Contract, fetcher: Fetcher) -> Scene:
    if scene.offset.dn is not None:
        return scene
    try:
        offset = _read_offset(scene, settings, contract, fetcher)
    except UnreachableError:
        raise
    except ReadError as error:
        return replace(scene, offset=Offset(dn=0, why=str(error)))
    logger.warning("offset of scene %s: %s DN (%s)", scene.id, offset.dn, offset.why)
    return replace(scene, offset=offset)


def _read_offset(
    scene: Scene, settings: RunSettings, contract: Contract, fetcher: Fetcher
) -> Offset:
    bands = settings.grid.bands
    samples, valid = [], []
    for geobox in _sample_windows(scene, bands[0], contract, settings, fetcher):
        pixels = cube.load(
            (scene,), (), geobox, fetcher=fetcher,
            bands=bands, polarizations=(), threads=settings.engine.reader_threads,
        )  # fmt: skip
        samples.append(pixels.dn[0].reshape(len(bands), -1))
        valid.append(
            valid_pixels(pixels.dn[0], pixels.classification[0], carries_offset=False).ravel()
        )
    return decide_offset(np.concatenate(samples, 1), np.concatenate(valid), scene.offset)


def measure_pair(
    optical: Scene,
    radar: Scene | None,
    *,
    polarizations: tuple[str, ...],
    model: Model,
    settings: RunSettings,
    fetcher: Fetcher,
    clock: Clock,
) -> PairStatistics:
    """Return the statistics of one optical scene with one radar scene; reads a sample of both.

    Without ``radar`` they are of the optical scene alone.
    """
    contract = model.contract
    settings = replace(settings, masks=settings.masks.without_file())
    step = Step(
        time=optical.time,
        optical=(optical,),
        radar=() if radar is None else (radar,),
        polarizations=polarizations,
        radar_age_h=None,
    )
    geoboxes = _sample_windows(optical, settings.grid.bands[0], contract, settings, fetcher)
    sample = [observe(step, geobox, settings, fetcher, clock)[0] for geobox in geoboxes]
    check_optical(optical, sample, settings.grid.bands)
    if radar is not None:
        check_radar(radar, sample, settings.radiometry.floor_db)
    return learn_pair(sample, model, settings.grid.bands, settings.radiometry)


def learn_pair(
    sample: list[Observation],
    model: Model,
    bands: tuple[str, ...],
    settings: RadiometrySettings,
) -> PairStatistics:
    """Return the statistics of a pair from sample windows of equal shape; ``bands`` are theirs."""
    reflectance = np.concatenate([o.reflectance.reshape(len(o.reflectance), -1) for o in sample], 1)
    seen = np.concatenate([o.masks.seen.ravel() for o in sample])
    statistics = PairStatistics(
        optical=measure_optical(reflectance, seen, settings),
        radar=measure_radar(np.stack([o.decibel for o in sample])),
        learnt=[],
    )
    if not isinstance(model, Auto):
        return _learn(statistics, sample, model, bands)
    makers = model.makers(bands, with_radar=statistics.radar.pixels > 0)
    learnt = {name: _learn(statistics, sample, one, bands) for name, one in makers.items()}
    ready = {name: learnt[name].pair(one, bands) for name, one in makers.items()}
    choice = choose_maker(sample, ready)
    return replace(learnt[choice.maker], choice=choice)


def _learn(
    statistics: PairStatistics,
    sample: list[Observation],
    model: Model,
    bands: tuple[str, ...],
) -> PairStatistics:
    """Return statistics with what a model learns from the sample."""
    if not isinstance(model, SceneFitted):
        return statistics
    pair = statistics.pair(model, bands)
    windows = [cut_windows(one, [_WHOLE], pair) for one in sample]
    known = np.stack([one.has_radar for one in sample]) | (not model.contract.needs_radar)
    learnt = model.fit(
        np.concatenate([optical for optical, _, _ in windows]),
        np.concatenate([radar for _, radar, _ in windows]),
        Masks(
            seen=np.concatenate([masks.seen for _, _, masks in windows]) & known,
            made=np.concatenate([masks.made for _, _, masks in windows]),
        ),
    )
    return replace(statistics, learnt=learnt)


def spread_starts(size: int, side: int, sample_windows: int) -> list[int]:
    """Return starts of windows of ``side`` px, evenly spread over an axis of a scene or cube.

    ``sample_windows`` is how many a picture may have at most, over both of its axes.
    """
    most = max(int(sample_windows**0.5), 1)
    count = min(most, -(-size // side))
    starts: list[int] = np.unique(np.linspace(0, max(size - side, 0), count).astype(int)).tolist()
    return starts


def _sample_windows(
    scene: Scene, band: str, contract: Contract, settings: RunSettings, fetcher: Fetcher
) -> list[GeoBox]:
    """Return windows of a scene's own grid, evenly spread, at most ``sample_windows``."""
    whole = cube.read_grid(scene, band, fetcher)
    shape = whole.shape.yx
    side = contract.window_px
    rows, cols = (spread_starts(size, side, settings.radiometry.sample_windows) for size in shape)
    return [
        GeoBox((side, side), whole.affine @ whole.affine.translation(x, y), whole.crs)
        for y in rows
        for x in cols
    ]
