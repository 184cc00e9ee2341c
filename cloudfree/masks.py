"""Row 8 of the walk: what is valid, hidden and seen, and which scene of an overlap is taken."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from cloudfree.config import MaskSettings
from cloudfree.types import BoolArray, UInt8Array, UInt16Array

CLEAR, CLOUDY, SHADOW, DILATED = 0, 1, 2, 3
"""Codes of the product's ``cloud`` layer."""


def valid_pixels(dn: UInt16Array, classification: UInt8Array | None) -> BoolArray:
    """Return (y, x): True where the scene has data.

    By its classification (class 0 is nodata); without one, where any band of ``dn``
    (band, y, x) is not 0. Never per band: a dark pixel may be 0 in one.
    """
    valid: BoolArray = (dn != 0).any(axis=0) if classification is None else classification != 0
    return valid


def hidden_pixels(
    classification: UInt8Array | None,
    valid: BoolArray,
    settings: MaskSettings,
    resolution_m: float,
) -> UInt8Array:
    """Return the ``cloud`` codes (y, x) of one scene: cloudy, shadow, and their dilation.

    Without a classification nothing is hidden. Not valid is clear: there is nothing to hide.
    """
    codes = np.zeros(valid.shape, np.uint8)
    if classification is None:
        return codes
    codes[np.isin(classification, settings.shadow)] = SHADOW
    codes[np.isin(classification, settings.cloudy)] = CLOUDY
    grown = dilate(codes != CLEAR, settings.dilation_m / resolution_m)
    codes[grown & (codes == CLEAR)] = DILATED
    codes[~valid] = CLEAR
    return codes


def dilate(mask: BoolArray, radius_px: float) -> BoolArray:
    """Return the mask grown by a disc: True within ``radius_px`` of a True pixel."""
    if radius_px <= 0 or not mask.any():
        return mask
    box = find_objects(mask.astype(np.uint8))[0]
    margin = int(np.ceil(radius_px))
    region = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in box)
    grown = mask.copy()
    distance = distance_transform_edt(~mask[region])
    grown[region] = distance <= radius_px + 1e-6
    return grown


def choose_scene(seen: BoolArray, valid: BoolArray) -> UInt16Array:
    """Return (y, x): 1 + the index of the scene each pixel is taken from, 0 where none is valid.

    ``seen`` and ``valid`` are (scene, y, x) in the fixed order of overlaps. The first scene in
    which a pixel is seen wins; where it is seen in none, the first in which it is valid.
    """
    chosen = np.where(seen.any(axis=0), seen.argmax(axis=0), valid.argmax(axis=0)) + 1
    index: UInt16Array = np.where(valid.any(axis=0), chosen, 0).astype(np.uint16)
    return index
