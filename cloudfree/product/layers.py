"""The arrays of a product: what their numbers mean, how they shrink, which of them become COGs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cloudfree.core import source
from cloudfree.core.bands import REFLECTANCE_SCALE
from cloudfree.pixels import masks

Resampling = Literal["average", "nearest"]
NO_DAYS = -32768
"""Stands for no reference where 0 is a day like others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelClass:
    """What one value of an array of classes means."""

    value: int
    """The number."""
    name: str
    """One word, as in ``flag_meanings``."""
    title: str
    """In words."""
    colour: tuple[int, int, int]
    """To be shown in: red, green, blue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An array of the product, (time, y, x), or (time, band, y, x) where it has bands."""

    name: str
    """In the cube, and in the names of its COGs."""
    dtype: Literal["uint8", "uint16", "int16"]
    """Of its stored numbers."""
    title: str
    """In words."""
    has_bands: bool = False
    """Whether each optical band has one."""
    scale: float | None = None
    """What a stored number is multiplied by; None where it is no quantity."""
    classes: tuple[PixelClass, ...] = ()
    """Of an array of classes, from 0 on."""
    shrinks_by: Resampling | None = None
    """How overviews are made of it; None where they have it not."""
    exported: bool = False
    """Whether each step of it becomes a COG."""
    unit: str | None = None
    """Of its numbers, where it is a quantity."""
    diverging: str | None = None
    """The colours to both sides of 0 to show a quantity in that has a sign, as tile servers call
    them."""
    empty: int = 0
    """What pixels hold that nobody wrote, and those outside of the area."""

    @property
    def nodata(self) -> int | None:
        """What says that there is nothing; None where that is a class like the others."""
        return None if self.classes and self.classes[0].name != "nodata" else self.empty

    def pixel_bytes(self, bands: int) -> int:
        """Return how many bytes a pixel takes, of a product with so many bands."""
        return np.dtype(self.dtype).itemsize * (bands if self.has_bands else 1)


def _classes(*facts: tuple[int, str, str, tuple[int, int, int]]) -> tuple[PixelClass, ...]:
    return tuple(
        PixelClass(value=value, name=name, title=title, colour=colour)
        for value, name, title, colour in facts
    )


REFLECTANCE = Layer(
    name="reflectance",
    dtype="uint16",
    title="reflectance, seen or made",
    has_bands=True,
    scale=REFLECTANCE_SCALE,
    unit="1",
    shrinks_by="average",
    exported=True,
)
SOURCE = Layer(
    name="source",
    dtype="uint8",
    title="where a pixel comes from",
    classes=_classes(
        (source.NODATA, "nodata", "outside of the area, or no data", (20, 20, 20)),
        (source.SEEN, "seen", "seen: the scene's own value", (222, 222, 216)),
        (source.RECONSTRUCTED, "reconstructed", "reconstructed: an estimate", (38, 120, 178)),
        (source.NOT_RESTORED, "not_restored", "cloudy and not restored", (205, 62, 48)),
        (source.OTHER_DAYS, "other_days", "made of what other days saw here", (240, 196, 40)),
    ),
    shrinks_by="nearest",
    exported=True,
)
CLOUD = Layer(
    name="cloud",
    dtype="uint8",
    title="what hid the ground",
    classes=_classes(
        (masks.CLEAR, "clear", "clear, or nodata", (222, 222, 216)),
        (masks.CLOUDY, "cloudy", "cloud", (222, 142, 24)),
        (masks.SHADOW, "shadow", "shadow of a cloud", (104, 72, 152)),
        (masks.DILATED, "dilated", "grown around cloud and shadow", (244, 214, 142)),
        (masks.DEFECTIVE, "defective", "saturated or defective", (205, 62, 48)),
    ),
    shrinks_by="nearest",
)
LAYERS: tuple[Layer, ...] = (
    REFLECTANCE,
    SOURCE,
    CLOUD,
    Layer(name="optical_scene", dtype="uint16", title="1 + index in attribute optical_scenes"),
    Layer(name="radar_scene", dtype="uint16", title="1 + index in attribute radar_scenes"),
)
"""Arrays that every product has."""
REFERENCE_DAYS = Layer(
    name="reference_days",
    dtype="int16",
    title="days to the nearest reference that served a pixel, negative before",
    unit="day",  # with "days" xarray would take the numbers for spans of time
    diverging="puor",
    empty=NO_DAYS,
    shrinks_by="nearest",
    exported=True,
)
REFERENCES: tuple[Layer, ...] = (
    Layer(name="reference_scene", dtype="uint16", title="1 + index in attribute reference_scenes"),
    REFERENCE_DAYS,
    Layer(
        name="reference_count",
        dtype="uint8",
        title="observations on other days that served a pixel",
    ),
)
"""Arrays of products that other days may serve."""
UNCERTAINTY = Layer(
    name="uncertainty",
    dtype="uint16",
    title="likely absolute error of a made pixel, mean over bands",
    scale=REFLECTANCE_SCALE,
    unit="1",
    shrinks_by="average",
    exported=True,
)


ALL_LAYERS = (*LAYERS, *REFERENCES, UNCERTAINTY)
"""Every array that a product may have."""


def choose_layers(*, references: bool, uncertainty: bool) -> tuple[Layer, ...]:
    """Return the arrays of a product."""
    return (
        *LAYERS,
        *(REFERENCES if references else ()),
        *((UNCERTAINTY,) if uncertainty else ()),
    )
