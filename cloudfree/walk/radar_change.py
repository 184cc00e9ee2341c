"""Rows 6 and 7 of the walk for other days: how radar differs between the scene's day and another.

It is smoothed, since a single pixel of radar says little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from cloudfree.core.config import RunSettings
from cloudfree.core.types import Float32Array
from cloudfree.pixels.masks import EMPTY_REACH_PX
from cloudfree.pixels.observe import Clock, observe_radar
from cloudfree.pixels.remote import Fetcher
from cloudfree.restoration.smoothing import gaussian, gaussian_reach_px
from cloudfree.scenes.scene import RadarWatch, Scene

_SIGMA_PX = 2.0
_MARGIN_PX = gaussian_reach_px(_SIGMA_PX) + EMPTY_REACH_PX
_KNOWN_SHARE = 0.5
"""Of the weights around a pixel; with less known it says nothing."""


@dataclass(slots=True, kw_only=True)
class RadarChange:
    """How radar differs at a geobox between a scene's day and each of its other days."""

    geobox: GeoBox
    """Where."""
    settings: RunSettings
    """The run's."""
    fetcher: Fetcher
    """Reads."""
    clock: Clock
    """Measures."""
    _now: Float32Array | None = None

    def since(self, watch: RadarWatch) -> Float32Array:
        """Return (1, y, x) dB: smoothed backscatter now minus then; NaN where not known.

        The scene's own pass, which all its watches share, is read once. ReadError where a file
        cannot be read.
        """
        if self._now is None:
            self._now = self._read(watch.now, watch.polarization)
        return self._now - self._read(watch.then, watch.polarization)

    def _read(self, scenes: tuple[Scene, ...], polarization: str) -> Float32Array:
        around = self.geobox.pad(_MARGIN_PX, _MARGIN_PX)
        decibel = observe_radar(
            scenes, around, (polarization,), self.settings, self.fetcher, self.clock
        )
        known = np.isfinite(decibel)
        weight = gaussian(known.astype(np.float32), _SIGMA_PX)
        total = gaussian(np.where(known, decibel, np.float32(0)), _SIGMA_PX)
        enough = weight >= _KNOWN_SHARE
        smooth = np.where(enough, total / np.where(enough, weight, 1), np.float32(np.nan))
        height, width = self.geobox.shape.yx
        inner: Float32Array = smooth[
            :, _MARGIN_PX : _MARGIN_PX + height, _MARGIN_PX : _MARGIN_PX + width
        ]
        return inner
