"""What is stored in a file, as the numbers that the walk counts in.

Optical numbers become digital numbers of reflectance 1e-4, as Sentinel-2 products store them: 0 is
nodata, and an offset that they carry stays in them (row 7 takes it out). Backscatter becomes linear
power, NaN where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.core.types import AnyArray, Float32Array, UInt16Array
from cloudfree.scenes.stored import Stored

_WRAPPED = 64000
"""A stored uint16 from here on is a small negative number that was wrapped around: nothing reflects
6.4 times the light. The last, 65535, marks saturation (Sentinel-2 product specification)."""
_SATURATED = 65535
NOTHING = 65534
"""Stands for what a file marks as no data by a number other than 0: it cannot be dark ground."""
_MOST_POWER = 1e12
"""More than this is no echo: damage, or a mark that nobody names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNumbers:
    """What a file says of its numbers."""

    nodata: float | None
    scale: float
    offset: float

    @property
    def is_silent(self) -> bool:
        """Whether it names neither scale nor offset."""
        return self.scale == 1 and self.offset == 0


def to_digital_numbers(
    stored: AnyArray, item: Stored, file: FileNumbers, offset_dn: int
) -> UInt16Array:
    """Return digital numbers (uint16, same shape): ``NOTHING`` where the file says so.

    A 0 is nodata too, or dark ground where other bands are not 0; see ``masks.valid_pixels``.
    An item's scale counts before a file's. Floating-point numbers without any are reflectance.
    Physical values are given the scene's ``offset_dn`` that row 7 will take out again, since it is
    not in them. ValueError where it cannot be known what the numbers are: integers of 8 bits
    without a scale, or no real numbers.
    """
    kind, size = stored.dtype.kind, stored.dtype.itemsize
    if kind not in "uif":
        raise ValueError(f"it holds {stored.dtype}, no real numbers")
    factor, moved = 1.0, 0.0
    if item.scale is not None:
        factor = item.scale / REFLECTANCE_SCALE
    elif not file.is_silent:
        factor = file.scale / REFLECTANCE_SCALE
        moved = file.offset / REFLECTANCE_SCALE - offset_dn
    elif kind == "f":
        factor, moved = 1 / REFLECTANCE_SCALE, float(-offset_dn)
    elif size == 1:
        raise ValueError("it holds 8 bits without a scale; name it in the item's raster:bands")
    nothing = _nothing(stored, item.nodata, file.nodata)
    if stored.dtype == np.uint16 and factor == 1 and moved == 0:
        numbers = stored.copy()
        numbers[(stored >= _WRAPPED) & (stored != _SATURATED)] = 1
    else:
        known = np.where(nothing, 0, stored).astype(np.float64)
        numbers = np.clip(np.round(known * factor + moved), 1, _SATURATED).astype(np.uint16)
        if not (item.nodata or file.nodata):  # as Sentinel-2 has it where nobody says otherwise
            numbers[stored == 0] = 0
    numbers[nothing] = np.where(stored[nothing] == 0, 0, NOTHING)
    return numbers


def to_classes(stored: AnyArray, file: FileNumbers) -> UInt16Array:
    """Return scene classes (uint16, same shape); 0 is nodata, and what is no class.

    ValueError where the file holds no real numbers.
    """
    if stored.dtype.kind not in "uif":
        raise ValueError(f"it holds {stored.dtype}, no classes")
    known = (stored >= 0) & (stored <= 255) & (stored != file.nodata)
    classes: UInt16Array = np.where(known, stored, 0).astype(np.uint16)
    return classes


def to_power(stored: AnyArray, item: Stored, file: FileNumbers) -> Float32Array:
    """Return linear backscatter (float32); NaN where there is none.

    Decibel, if the item names that unit, become power. ValueError where the file holds no real
    numbers.
    """
    if stored.dtype.kind not in "uif":
        raise ValueError(f"it holds {stored.dtype}, no real numbers")
    power = stored.astype(np.float32)
    if not file.is_silent:
        power = power * np.float32(file.scale) + np.float32(file.offset)
    if item.is_decibel:
        power = np.power(np.float32(10), power / np.float32(10))
    power[_nothing(stored, item.nodata, file.nodata) | (np.abs(power) > _MOST_POWER)] = np.nan
    return power


def _nothing(stored: AnyArray, *marks: float | None) -> AnyArray:
    """Return where the numbers stand for nothing: NaN, or one of the marks."""
    nothing: AnyArray = (
        np.isnan(stored) if stored.dtype.kind == "f" else np.zeros(stored.shape, bool)
    )
    for mark in marks:
        if mark is not None and not np.isnan(mark):
            nothing |= stored == mark
    return nothing
