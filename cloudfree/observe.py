"""Rows 6 to 8 of the walk: what a step shows of a geobox, harmonised and masked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from cloudfree import cube, masks, radiometry
from cloudfree.config import RunSettings
from cloudfree.remote import Fetcher
from cloudfree.restoration import Observation
from cloudfree.scenes import Step
from cloudfree.types import Masks, UInt8Array


class Clock(Protocol):
    """Measures the seconds of the walk's rows."""

    def row(self, name: str) -> AbstractContextManager[None]:
        """Time a block as part of a row."""
        ...


def observe(
    step: Step,
    geobox: GeoBox,
    settings: RunSettings,
    fetcher: Fetcher,
    clock: Clock,
    *,
    reduced: bool = False,
) -> tuple[Observation, UInt8Array]:
    """Return what ``step`` shows at ``geobox``, and the (y, x) ``cloud`` codes behind its masks.

    ``reduced`` reads a coarse geobox from overviews, for pictures only.
    """
    with clock.row("cube.load"):
        pixels = cube.load(
            step.optical,
            step.radar,
            geobox,
            fetcher=fetcher,
            bands=settings.grid.bands,
            polarizations=step.polarizations,
            threads=settings.engine.reader_threads,
            reduced=reduced,
        )
    with clock.row("masks.cloud_mask"):
        resolution = abs(geobox.affine.a)
        valid = np.stack(
            [
                masks.valid_pixels(dn, classes)
                for dn, classes in zip(pixels.dn, pixels.classification, strict=True)
            ]
        )
        codes = np.stack(
            [
                masks.hidden_pixels(classes, one, settings.masks, resolution)
                for classes, one in zip(pixels.classification, valid, strict=True)
            ]
        )
        seen = valid & (codes == masks.CLEAR)
        optical_scene = masks.choose_scene(seen, valid)
        known = radiometry.known_pixels(pixels.power)
        if len(known) > 0:
            radar_scene = masks.choose_scene(known, known)
        else:
            radar_scene = np.zeros(geobox.shape, np.uint16)
    with clock.row("radiometry"):
        reflectance = np.zeros(pixels.dn.shape[1:], np.uint16)
        cloud = np.zeros(geobox.shape, np.uint8)
        for index, scene in enumerate(step.optical):
            here = optical_scene == index + 1
            assert scene.offset.dn is not None  # measure.settle_offsets came first
            reflectance += radiometry.harmonise(pixels.dn[index], here, scene.offset.dn)
            cloud[here] = codes[index][here]
        power = np.full(pixels.power.shape[1:], np.nan, np.float32)
        for index in range(len(step.radar)):
            here = radar_scene == index + 1
            power[:, here] = pixels.power[index][:, here]
        decibel = radiometry.to_decibel(power, settings.radiometry.floor_db)
    hidden = cloud != masks.CLEAR
    exists = optical_scene > 0
    observation = Observation(
        reflectance=reflectance,
        masks=Masks(seen=exists & ~hidden, made=exists & hidden),
        decibel=decibel,
        optical_scene=optical_scene,
        radar_scene=radar_scene,
    )
    return observation, cloud
