"""Rows 6 to 8 of the walk: what a step shows of a geobox, harmonised and masked."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import numpy as np
from odc.geo.geobox import GeoBox

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.config import RunSettings
from cloudfree.core.types import BoolArray, Float32Array, Masks, UInt8Array, UInt16Array
from cloudfree.geometry.ground import pixel_sides_m
from cloudfree.pixels import cube, masks, radiometry
from cloudfree.pixels.detectors import choose_detector, needs_detector
from cloudfree.pixels.mask_file import read_mask
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.remote import Fetcher
from cloudfree.scenes.scene import Scene, Step


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
        valid = np.stack(
            [
                masks.valid_pixels(dn, classes, carries_offset=scene.offset.dn != 0)
                for scene, dn, classes in zip(
                    step.optical, pixels.dn, pixels.classification, strict=True
                )
            ]
        )
        codes = _hide(step, pixels, valid, geobox, settings, fetcher, reduced=reduced)
        seen = valid & (codes == masks.CLEAR)
        optical_scene = masks.choose_scene(seen, valid)
        power, radar_scene = _mosaic(pixels.power)
    with clock.row("radiometry"):
        reflectance = np.zeros(pixels.dn.shape[1:], np.uint16)
        cloud = np.zeros(geobox.shape, np.uint8)
        snow = np.zeros(geobox.shape, bool)
        for index, scene in enumerate(step.optical):
            here = optical_scene == index + 1
            assert scene.offset.dn is not None  # measure.settle_offsets came first
            reflectance += radiometry.harmonise(pixels.dn[index], here, scene.offset.dn)
            cloud[here] = codes[index][here]
            classes = pixels.classification[index]
            if classes is not None:
                snow |= here & (classes == masks.SNOW)
        decibel = radiometry.to_decibel(power, settings.radiometry.floor_db)
    hidden = cloud != masks.CLEAR
    exists = optical_scene > 0
    observation = Observation(
        reflectance=reflectance,
        masks=Masks(seen=exists & ~hidden, made=exists & hidden),
        decibel=decibel,
        optical_scene=optical_scene,
        radar_scene=radar_scene,
        snow=None if all(one is None for one in pixels.classification) else snow,
    )
    return observation, cloud


def observe_radar(
    scenes: tuple[Scene, ...],
    geobox: GeoBox,
    polarizations: tuple[str, ...],
    settings: RunSettings,
    fetcher: Fetcher,
    clock: Clock,
) -> Float32Array:
    """Return (channel, y, x) backscatter in dB of one radar pass alone; NaN where there is none."""
    with clock.row("cube.load"):
        pixels = cube.load(
            (),
            scenes,
            geobox,
            fetcher=fetcher,
            bands=(),
            polarizations=polarizations,
            threads=settings.engine.reader_threads,
        )
    with clock.row("radiometry"):
        power, _ = _mosaic(pixels.power)
        return radiometry.to_decibel(power, settings.radiometry.floor_db)


def _mosaic(powers: Float32Array) -> tuple[Float32Array, UInt16Array]:
    """Return backscatter (channel, y, x) of radar scenes (scene, channel, y, x), and whose it is.

    NaN where no scene has every channel; scenes are named by 1 + index, 0 for none.
    """
    radar_scene = np.zeros(powers.shape[2:], np.uint16)
    mosaic = np.full(powers.shape[1:], np.nan, np.float32)
    if len(powers):
        kept = [masks.drop_empty(power) for power in powers]
        known = np.array([radiometry.known_pixels(power) for power in kept], bool)
        radar_scene = masks.choose_scene(known, known)
        for index, power in enumerate(kept):
            here = radar_scene == index + 1
            mosaic[:, here] = power[:, here]
    return mosaic, radar_scene


def _hide(
    step: Step,
    pixels: cube.Pixels,
    valid: BoolArray,
    geobox: GeoBox,
    settings: RunSettings,
    fetcher: Fetcher,
    *,
    reduced: bool,
) -> UInt8Array:
    """Return the ``cloud`` codes (scene, y, x) of a step's optical scenes."""
    drawn = None if settings.masks.file is None else read_mask(settings.masks.file, geobox)
    pixel_m = pixel_sides_m(geobox)
    found = np.zeros(valid.shape, np.uint8)
    for index, scene in enumerate(step.optical):
        classes = pixels.classification[index]
        if classes is None or needs_detector(scene, settings.masks):
            cloud = _detect(scene, pixels.dn[index], geobox, settings, fetcher, reduced=reduced)
            codes = np.where(cloud, np.uint8(masks.CLOUDY), np.uint8(masks.CLEAR))
        else:
            codes = masks.read_classes(classes, settings.masks)
        found[index][valid[index]] = codes[valid[index]]
    # cloud at the edge of a scene grows into the one that goes on there
    first = np.take_along_axis(found, valid.argmax(axis=0)[None], axis=0)[0]
    return np.stack(
        [
            masks.hidden_pixels(np.where(here, codes, first), drawn, here, settings.masks, pixel_m)
            for codes, here in zip(found, valid, strict=True)
        ]
    )


def _detect(
    scene: Scene,
    dn: UInt16Array,
    geobox: GeoBox,
    settings: RunSettings,
    fetcher: Fetcher,
    *,
    reduced: bool,
) -> BoolArray:
    """Return (y, x): where a detector sees cloud; what it needs beside the product's bands is read.

    ``dn`` (band, y, x) are the product's bands.
    """
    detector = choose_detector(scene, settings.masks)
    numbers = dict(zip(settings.grid.bands, dn, strict=True))
    more = tuple(band for band in detector.bands if band not in numbers)
    if more:
        bare = replace(
            scene,
            hrefs={band: scene.href(band) or "" for band in more},
            assets={},
            alternates={band: scene.links(band)[1:] for band in more},
            stored={band: scene.stored_as(band) for band in more},
        )
        read = cube.load(
            (bare,),
            (),
            geobox,
            fetcher=fetcher,
            bands=more,
            polarizations=(),
            threads=settings.engine.reader_threads,
            reduced=reduced,
        )
        numbers |= dict(zip(more, read.dn[0], strict=True))
    assert scene.offset.dn is not None  # measure.settle_offsets came first
    stacked = np.stack([numbers[band] for band in detector.bands]).astype(np.float32)
    return detector((stacked + np.float32(scene.offset.dn)) * np.float32(REFLECTANCE_SCALE))
