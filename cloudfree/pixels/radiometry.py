"""Rows 5 and 7 of the walk: digital numbers to reflectance, radar to decibel, both to pictures.

The networks see pictures in [-1, 1], as in the paper: each scene is stretched per band by its own
statistics, measured once for the whole scene, and stretched back by the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudfree.core.bands import WHITE
from cloudfree.core.config import RadiometrySettings
from cloudfree.core.types import BoolArray, Float32Array, UInt16Array

_DEFAULT_LIMITS_DN = (1.0, float(WHITE))
"""Black and white of the Sentinel-2 true-colour product (reflectance 0 and 0.3558)."""
_DEFAULT_DECIBEL = (-12.0, 4.0)
"""Mean and standard deviation of backscatter where too little is known to measure them."""
_FEWEST_PIXELS = 1000
_RADAR_SPREAD = 2.5
"""SEN1-2 stretches backscatter to about this many standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpticalStatistics:
    """How one optical scene is stretched to a picture."""

    low: tuple[float, ...]
    """Reflectance number (scale 1e-4) of each band that becomes -1."""
    high: tuple[float, ...]
    """Reflectance number of each band that becomes 1; the limit for made pixels."""
    seen_pixels: int
    """Size of the sample; too small a one gives the defaults."""

    @property
    def unit(self) -> float:
        """Reflectance numbers that 1 is in a picture, of which -1 to 1 is 2; mean over bands."""
        return float(np.mean(self.high) - np.mean(self.low)) / 2

    def of_bands(self, bands: list[int]) -> OpticalStatistics:
        """Return the statistics of some bands, in their order."""
        low, high = (tuple(limits[band] for band in bands) for limits in (self.low, self.high))
        return OpticalStatistics(low=low, high=high, seen_pixels=self.seen_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class RadarStatistics:
    """How one radar scene is standardised."""

    mean_db: tuple[float, ...]
    """Mean backscatter of each channel."""
    std_db: tuple[float, ...]
    """Standard deviation of backscatter of each channel."""
    pixels: int
    """Size of the sample."""


def harmonise(dn: UInt16Array, valid: BoolArray, offset: int) -> UInt16Array:
    """Return reflectance numbers: max(1, dn + offset) where valid, else 0; uint16, same shape."""
    shifted = np.maximum(dn.astype(np.int32) + offset, 1)
    reflectance: UInt16Array = np.where(valid, shifted, 0).astype(np.uint16)
    return reflectance


def to_decibel(power: Float32Array, floor_db: float) -> Float32Array:
    """Convert radar backscatter from linear power to decibel.

    NaN stays NaN; zero and negative power become ``floor_db``.
    Shape and dtype are kept. Source: Sentinel-1 product definition, 10 log10(sigma0).
    """
    floor = np.float32(10 ** (floor_db / 10))
    return (10 * np.log10(np.maximum(power, floor))).astype(np.float32)


def known_pixels(radar: Float32Array) -> BoolArray:
    """Return (..., y, x) of radar (..., channel, y, x): True where no channel is NaN."""
    known: BoolArray = np.logical_and.reduce(np.isfinite(radar), axis=-3)
    return known


def measure_optical(
    reflectance: UInt16Array, seen: BoolArray, settings: RadiometrySettings
) -> OpticalStatistics:
    """Return the statistics of a sample (band, n) of a scene, of which ``seen`` (n,) counts."""
    count = int(np.count_nonzero(seen))
    n_bands = len(reflectance)
    if count < _FEWEST_PIXELS:
        return assume_optical(n_bands, count)
    percents = [settings.low_percent, settings.high_percent]
    limits = [np.percentile(band[seen], percents) for band in reflectance]
    return OpticalStatistics(
        low=tuple(float(low) for low, _ in limits),
        high=tuple(float(max(high, low + 1)) for low, high in limits),
        seen_pixels=count,
    )


def assume_optical(n_bands: int, seen_pixels: int = 0) -> OpticalStatistics:
    """Return the statistics that stand where too few pixels were seen to measure them."""
    low, high = _DEFAULT_LIMITS_DN
    return OpticalStatistics(low=(low,) * n_bands, high=(high,) * n_bands, seen_pixels=seen_pixels)


def is_measured(statistics: OpticalStatistics) -> bool:
    """Return whether enough of a scene was seen to measure its statistics, not assumed ones."""
    return statistics.seen_pixels >= _FEWEST_PIXELS


def measure_radar(decibel: Float32Array) -> RadarStatistics:
    """Return the statistics of a sample of backscatter (..., channel, y, x).

    A pixel counts where every channel is known, that is, not NaN.
    """
    n_channels = decibel.shape[-3]
    layers = np.moveaxis(decibel, -3, 0).reshape(n_channels, -1)
    known = layers[:, known_pixels(decibel).ravel()].astype(np.float64)
    pixels = known.shape[1]
    if pixels < _FEWEST_PIXELS:
        mean_db, std_db = _DEFAULT_DECIBEL
        return RadarStatistics(
            mean_db=(mean_db,) * n_channels, std_db=(std_db,) * n_channels, pixels=pixels
        )
    return RadarStatistics(
        mean_db=tuple(float(channel.mean()) for channel in known),
        std_db=tuple(float(max(channel.std(), 0.1)) for channel in known),
        pixels=pixels,
    )


def to_picture(
    reflectance: UInt16Array | Float32Array,
    seen: BoolArray,
    statistics: OpticalStatistics,
    fill: float,
) -> Float32Array:
    """Return (..., band, y, x) in [-1, 1]: seen pixels stretched and clipped, others ``fill``."""
    low, high = _limits(statistics)
    picture = (reflectance.astype(np.float32) - low) * (np.float32(2) / (high - low)) - 1
    stretched: Float32Array = np.where(
        seen[..., None, :, :], np.clip(picture, -1, 1), np.float32(fill)
    )
    return stretched


def from_picture(picture: Float32Array, statistics: OpticalStatistics) -> Float32Array:
    """Return reflectance numbers (float32) of a picture (..., band, y, x), clipped to [-1, 1]."""
    low, high = _limits(statistics)
    numbers = (np.clip(picture, -1, 1) + 1) * ((high - low) / 2) + low
    return numbers.astype(np.float32, copy=False)


def standardise(decibel: Float32Array, statistics: RadarStatistics, fill: float) -> Float32Array:
    """Return backscatter (..., channel, y, x) in [-1, 1]; missing becomes ``fill``.

    The range is +-2.5 standard deviations of each channel.
    """
    mean = np.array(statistics.mean_db, np.float32)[:, None, None]
    scale = np.array([1 / (_RADAR_SPREAD * std) for std in statistics.std_db], np.float32)
    scaled = (decibel - mean) * scale[:, None, None]
    standard: Float32Array = np.where(np.isnan(decibel), np.float32(fill), np.clip(scaled, -1, 1))
    return standard


def _limits(statistics: OpticalStatistics) -> tuple[Float32Array, Float32Array]:
    low = np.array(statistics.low, np.float32)[:, None, None]
    high = np.array(statistics.high, np.float32)[:, None, None]
    return low, high
