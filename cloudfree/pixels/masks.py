"""Row 8 of the walk: what is valid, hidden and seen, and which scene of an overlap is taken."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import binary_opening, distance_transform_edt, find_objects, label

from cloudfree.core.config import MaskSettings
from cloudfree.core.types import BoolArray, Float32Array, Float64Array, UInt8Array, UInt16Array

CLEAR, CLOUDY, SHADOW, DILATED, DEFECTIVE = 0, 1, 2, 3, 4
"""Codes of the product's ``cloud`` layer."""

SNOW = 11
"""Among the classes of a scene."""

EMPTY_REACH_PX = 2
"""How far from a pixel ``drop_empty`` looks."""

DRAWN_SEEN, DRAWN_HIDDEN, DRAWN_UNKNOWN = 0, 1, 255
"""What a user's mask says of a pixel."""


def valid_pixels(
    dn: UInt16Array, classification: UInt8Array | None, *, carries_offset: bool
) -> BoolArray:
    """Return (y, x): True where the scene has data.

    By its classification (class 0 is nodata); without one, where any band of ``dn``
    (band, y, x) is not 0: a dark pixel may be 0 in one. Where numbers carry the offset of baseline
    04.00 it may not: there 0 in one band is the end of that band's strip, and no data.
    """
    has_data = dn != 0
    valid: BoolArray
    if classification is not None:
        valid = classification != 0
        return valid & has_data.all(axis=0) if carries_offset else valid
    valid = has_data.all(axis=0) if carries_offset else has_data.any(axis=0)
    return valid


def drop_empty(power: Float32Array) -> Float32Array:
    """Return backscatter (channel, y, x) without areas of 0 in every channel: they become NaN.

    Files of some years write 0 where the swath ends and name no nodata. Single zeros, as over calm
    water once noise is taken off, stay: an area is what a square of 3 px fits into, what is NaN
    already counted in. A pixel's answer depends on those within ``EMPTY_REACH_PX``.
    """
    empty = ((power == 0) | np.isnan(power)).all(axis=0)
    if not (empty & (power[0] == 0)).any():
        return power
    around = np.pad(empty, EMPTY_REACH_PX, mode="edge")
    areas = binary_opening(around, np.ones((3, 3), bool))
    inside = areas[EMPTY_REACH_PX:-EMPTY_REACH_PX, EMPTY_REACH_PX:-EMPTY_REACH_PX]
    return np.where(inside, np.float32(np.nan), power)


def read_classes(classification: UInt8Array, settings: MaskSettings) -> UInt8Array:
    """Return the ``cloud`` codes (y, x) that the settings give to the classes of a scene.

    The classes (Sentinel-2 product guide, Level-2A) and the defaults' reasons:

    ==  ==========================  ==============================================================
     0  no data                     not valid
     1  saturated or defective      hidden, not grown: its number is no measurement, those around
                                    it are
     2  dark area, cast shadow      seen: shade of terrain, water and dark wood are the ground
     3  cloud shadow                hidden: shadow
     4  vegetation                  seen
     5  not vegetated               seen
     6  water                       seen
     7  unclassified                seen: no test called it cloud; the rims of clouds among it lie
                                    in what grows around them
     8  cloud, medium probability   hidden: cloudy
     9  cloud, high probability     hidden: cloudy
    10  thin cirrus                 hidden: cloudy; the ground shows through, in other colours
    11  snow or ice                 seen: bright, but the ground
    ==  ==========================  ==============================================================
    """
    codes = np.full(classification.shape, CLEAR, np.uint8)
    codes[np.isin(classification, settings.shadow)] = SHADOW
    codes[np.isin(classification, settings.cloudy)] = CLOUDY
    codes[np.isin(classification, settings.defective)] = DEFECTIVE
    return codes


def hidden_pixels(
    codes: UInt8Array,
    drawn: UInt8Array | None,
    valid: BoolArray,
    settings: MaskSettings,
    pixel_m: float | Float64Array,
) -> UInt8Array:
    """Return the final ``cloud`` codes (y, x) of one scene, from those of its classes or detector.

    Beyond where the scene is ``valid``, ``codes`` are those of its neighbours, clear where there
    are none. ``pixel_m``, one for all or (y, x), is how wide pixels are on the ground. Specks are
    dropped, then ``drawn``, a user's mask, overrules what it knows, then cloud and shadow grow.
    Not valid is clear: there is nothing to hide. A pixel's code depends on what lies within
    reach_px.
    """
    codes = codes.copy()
    spots = (codes == CLOUDY) | (codes == SHADOW)
    codes[spots & ~drop_specks(spots, settings.min_area_m2 / pixel_m**2)] = CLEAR
    if drawn is not None:
        codes[drawn == DRAWN_SEEN] = CLEAR
        codes[(drawn == DRAWN_HIDDEN) & (codes != SHADOW)] = CLOUDY
    grown = dilate((codes == CLOUDY) | (codes == SHADOW), settings.dilation_m / pixel_m)
    codes[grown & (codes == CLEAR)] = DILATED
    codes[~valid] = CLEAR
    return codes


def reach_px(settings: MaskSettings, pixel_m: float) -> int:
    """Return how far from a pixel hidden_pixels looks: the dilation, and a speck beyond it.

    ``pixel_m`` is the side of the smallest pixel on the ground.
    """
    speck = max(math.ceil(settings.min_area_m2 / pixel_m**2) - 1, 0)
    return math.ceil(settings.dilation_m / pixel_m) + speck


def drop_specks(mask: BoolArray, least_px: float | Float64Array) -> BoolArray:
    """Return the mask without what hangs together, also over corners, in fewer pixels.

    ``least_px`` is one for all or (y, x), what is enough for the pixel to stay. Whether it stays
    depends on the pixels nearer than ``least_px`` only: a longer way to the edge of the array is
    itself enough of them.
    """
    if np.max(least_px) <= 1 or not mask.any():
        return mask
    spots, _ = label(mask, np.ones((3, 3), bool))
    sizes_px = np.bincount(spots.ravel()).astype(np.int32)
    kept: BoolArray = mask & (sizes_px[spots] >= least_px)
    return kept


def dilate(mask: BoolArray, radius_px: float | Float64Array) -> BoolArray:
    """Return the mask grown by a disc: True within ``radius_px`` of a True pixel.

    The radius is one for all or (y, x), that of the pixel which may become True.
    """
    furthest = np.max(radius_px)
    if furthest <= 0 or not mask.any():
        return mask
    box = find_objects(mask.astype(np.uint8))[0]
    margin = math.ceil(furthest)
    region = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
    grown = mask.copy()
    distance = distance_transform_edt(~mask[region])
    grown[region] = distance <= np.broadcast_to(radius_px, mask.shape)[region] + 1e-6
    return grown


def choose_scene(seen: BoolArray, valid: BoolArray) -> UInt16Array:
    """Return (y, x): 1 + the index of the scene each pixel is taken from, 0 where none is valid.

    ``seen`` and ``valid`` are (scene, y, x) in the fixed order of overlaps. The first scene in
    which a pixel is seen wins; where it is seen in none, the first in which it is valid.
    """
    chosen = np.where(seen.any(axis=0), seen.argmax(axis=0), valid.argmax(axis=0)) + 1
    index: UInt16Array = np.where(valid.any(axis=0), chosen, 0).astype(np.uint16)
    return index
