"""What rows 6 to 8 of the walk make of a step's scenes: the type that later rows work on."""

from __future__ import annotations

from dataclasses import dataclass

from cloudfree.core.types import BoolArray, Float32Array, Masks, UInt16Array
from cloudfree.pixels.radiometry import known_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDays:
    """What other days of the same ground say of a place: an estimate of each pixel."""

    reflectance: Float32Array
    """(band, y, x) reflectance numbers of the target's day; 0 where there is none."""
    known: BoolArray
    """(y, x): True where there is one."""
    error: Float32Array
    """(y, x) expected absolute error in reflectance numbers, mean over bands; NaN where unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a step shows of a place: one harmonised picture, its masks and its radar."""

    reflectance: UInt16Array
    """(band, y, x) reflectance numbers (scale 1e-4); 0 where not valid. Cloud included."""
    masks: Masks
    """(y, x) seen and made."""
    decibel: Float32Array
    """(channel, y, x) backscatter in dB; NaN where there is none."""
    optical_scene: UInt16Array
    """(y, x): 1 + index of the optical scene; 0 for none."""
    radar_scene: UInt16Array
    """(y, x): 1 + index of the radar scene; 0 for none."""
    snow: BoolArray | None = None
    """(y, x): True where the scene's classes call it snow or ice; None where none has classes."""
    other_days: OtherDays | None = None
    """What other days say of the same pixels; None where nobody asked them."""

    @property
    def has_radar(self) -> BoolArray:
        """(y, x): True where every channel of the radar is known."""
        return known_pixels(self.decibel)
