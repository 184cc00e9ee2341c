"""What was observed: the pixels of a target scene and the same pixels on other days."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cloudfree.core.types import AnyArray, BoolArray, Float32Array, Int64Array, UInt16Array


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Pixels on other days, each reference a datatake of the same ground; there may be none."""

    reflectance: UInt16Array
    """(ref, band, n) reflectance numbers, 0 nodata. A band that is 0 wherever a reference is clear
    is one that this reference does not have."""
    clear: BoolArray
    """(ref, n): True where the reference shows the ground."""
    days: Int64Array
    """(ref,) from the target to the reference, negative before; in any order, doubles allowed."""
    snow: BoolArray | None = None
    """(ref, n): True where the clear ground is snow; None where nobody says."""
    radar_change_db: Float32Array | None = None
    """(ref, channel, n): smoothed backscatter of the target's day minus that of the reference's,
    of the same orbit; NaN where unknown. None without radar."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the shapes fit each other."""
        ref, _, n = self.reflectance.shape
        _check("clear", self.clear, (ref, n))
        _check("days", self.days, (ref,))
        if self.snow is not None:
            _check("snow", self.snow, (ref, n))
        if self.radar_change_db is not None:
            change = self.radar_change_db
            _check("radar_change_db", change, (ref, change.shape[1] if change.ndim > 1 else 1, n))

    @property
    def pixels(self) -> int:
        """How many pixels there are."""
        return int(self.clear.shape[1])

    def take_pixels(self, where: slice | AnyArray) -> References:
        """Return the same references for some of the pixels."""
        return replace(
            self,
            reflectance=self.reflectance[:, :, where],
            clear=self.clear[:, where],
            snow=None if self.snow is None else self.snow[:, where],
            radar_change_db=(
                None if self.radar_change_db is None else self.radar_change_db[:, :, where]
            ),
        )

    def take_references(self, which: Int64Array) -> References:
        """Return some of the references, or all of them in another order."""
        return replace(
            self,
            reflectance=self.reflectance[which],
            clear=self.clear[which],
            days=self.days[which],
            snow=None if self.snow is None else self.snow[which],
            radar_change_db=None if self.radar_change_db is None else self.radar_change_db[which],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample of a target scene's pixels, from which the scene's fit learns."""

    reflectance: UInt16Array
    """(band, n) reflectance numbers of the target; anything where it was not seen."""
    seen: BoolArray
    """(n,): True where the target shows the ground."""
    made: BoolArray
    """(n,): True where the ground is to be made. Their evidence is what experts practise."""
    cells: Int64Array
    """(n,): which cell of the ground a pixel lies in; equal for the pixels of a patch about as wide
    as a small cloud. Seen pixels are hidden by whole cells when experts are judged."""
    references: References
    """The same pixels on other days."""

    def __post_init__(self) -> None:
        """Raise ValueError unless the shapes fit each other."""
        n = self.references.pixels
        _check("reflectance", self.reflectance, (self.references.reflectance.shape[1], n))
        for name in ("seen", "made", "cells"):
            _check(name, getattr(self, name), (n,))


def _check(name: str, array: AnyArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")


def sort_by_time(references: References) -> tuple[Int64Array, References]:
    """Return the order in time (of equal days: as listed) and the references in it."""
    order: Int64Array = np.argsort(references.days, kind="stable").astype(np.int64)
    return order, references.take_references(order)
