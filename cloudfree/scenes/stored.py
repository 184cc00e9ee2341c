"""How an asset's numbers are stored, as its STAC item says.

Items say it in three places: on the asset (STAC 1.1 common metadata), in ``raster:bands`` (raster
extension 1) or in ``bands`` (raster extension 2, where scale and offset bear the prefix).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudfree.core.bands import REFLECTANCE_SCALE

_DECIBEL = ("db", "decibel", "decibels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an item says of an asset's numbers; None where it says nothing."""

    scale: float | None = None
    """Reflectance of one number."""
    offset: float | None = None
    """Reflectance of the number 0."""
    nodata: float | None = None
    """The number that stands for nothing; NaN too."""
    unit: str = ""
    """Lower case, such as ``db``; empty where it says nothing."""

    @property
    def offset_dn(self) -> int | None:
        """The offset in digital numbers of reflectance 1e-4."""
        return None if self.offset is None else round(self.offset / REFLECTANCE_SCALE)

    @property
    def is_decibel(self) -> bool:
        """Whether backscatter is in decibel, not linear power."""
        return self.unit in _DECIBEL


def read_stored(asset: Mapping[str, Any]) -> Stored:
    """Return what an asset says; of several places the band's own count first.

    ValueError or TypeError where it is no number.
    """
    places = [*_first(asset.get("bands")), *_first(asset.get("raster:bands")), asset]

    def find(name: str) -> Any:
        keys = (f"raster:{name}", name)
        stated = (place.get(key) for place in places for key in keys)
        return next((value for value in stated if value is not None), None)

    return Stored(
        scale=_as_finite(find("scale")),
        offset=_as_finite(find("offset")),
        nodata=_as_number(find("nodata")),
        unit=str(find("unit") or "").lower(),
    )


def _first(bands: Any) -> list[Mapping[str, Any]]:
    """Return the first band of a list: files hold one."""
    return [bands[0]] if isinstance(bands, list) and bands and isinstance(bands[0], Mapping) else []


def _as_number(value: Any) -> float | None:
    """Return a number; ``"nan"`` and ``"inf"`` are written as text in JSON."""
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    return None if math.isinf(number) else number


def _as_finite(value: Any) -> float | None:
    number = _as_number(value)
    return None if number is None or math.isnan(number) else number
