"""Row 14 of the walk: what the product looks like, as small pictures."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from cloudfree.core.bands import choose_shown
from cloudfree.core.source import is_made
from cloudfree.core.types import Float32Array, Int16Array, UInt8Array
from cloudfree.product.layers import CLOUD, REFERENCE_DAYS, SOURCE, Layer
from cloudfree.product.pixel_counts import NO_PIXEL, PixelCounts

Colour = tuple[int, int, int]


def _legend(layer: Layer) -> dict[int, tuple[str, Colour]]:
    """Return value -> name and colour; nodata comes last."""
    classes = sorted(layer.classes, key=lambda one: one.name == "nodata")
    return {one.value: (one.name.replace("_", " "), one.colour) for one in classes}


def _titles(layer: Layer) -> list[tuple[str, str]]:
    """Return titles and colours, as a style sheet has them; nodata comes last."""
    classes = sorted(layer.classes, key=lambda one: one.name == "nodata")
    return [(one.title, _hex(one.colour)) for one in classes]


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


PREVIEW_PX = 900
"""The longest side of a picture where there is one step."""
_CONTACT_PX = 300
"""The longest side of a picture in the preview where there are several."""
_SMALLEST_PX = 96
_FULL_STEPS = 2
"""So many steps have pictures as large as one; those of more share their room on the page."""
_LABEL_PX = 26
_GAP_PX = 8
_NODATA = SOURCE.classes[SOURCE.empty]
_OUTLINE: Colour = (255, 214, 10)
_SOURCE_LEGEND: dict[int, tuple[str, Colour]] = _legend(SOURCE)
_CLOUD_LEGEND: dict[int, tuple[str, Colour]] = {
    **_legend(CLOUD),
    NO_PIXEL: (_NODATA.name, _NODATA.colour),
}
_DAYS_BEGIN = (-75, -40, -20, -10, -5, 0, 1, 6, 11, 21, 41, 76)
"""Where each class of days but the first begins."""
_DAYS_CLASSES: tuple[tuple[str, Colour], ...] = (
    ("76 days before, or more", (112, 52, 8)),
    ("41 to 75 days before", (152, 72, 8)),
    ("21 to 40 days before", (198, 102, 12)),
    ("11 to 20 days before", (232, 144, 40)),
    ("6 to 10 days before", (253, 190, 104)),
    ("1 to 5 days before", (254, 230, 192)),
    ("the same day", (255, 255, 255)),
    ("1 to 5 days after", (214, 214, 240)),
    ("6 to 10 days after", (178, 171, 214)),
    ("11 to 20 days after", (150, 136, 196)),
    ("21 to 40 days after", (124, 106, 176)),
    ("41 to 75 days after", (102, 68, 152)),
    ("76 days after, or more", (80, 34, 128)),
    ("not made of other days", _NODATA.colour),
)
_NOT_OF_OTHER_DAYS = len(_DAYS_CLASSES) - 1
_RADAR_CUTS = (2, 98)
"""Percentiles of backscatter that become black and white."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPictures:
    """What the report shows of a step."""

    name: str
    """Its date."""
    bands: tuple[str, ...]
    """What the pictures show: red, green and blue, or one band in grey."""
    observed: UInt8Array
    """(y, x, 3): the scene as it was, clouds and all."""
    product: UInt8Array
    """(y, x, 3)."""
    source: UInt8Array
    """(y, x) codes."""
    reference_days: Int16Array | None
    """(y, x) days to the nearest reference, or NO_DAYS; None where the product does not say."""
    cloud: UInt8Array
    """(y, x) codes, or NO_PIXEL."""
    decibel: Float32Array
    """(y, x) of one channel; NaN where the radar has none."""
    counts: PixelCounts
    """Of the step's pixels at full resolution, in these bands."""


def picture_px(n_steps: int) -> int:
    """Return the longest side of a step's pictures.

    Together those of many steps have as many pixels as those of two, so that the page stays below
    about 5 MB however long an interval is.
    """
    share = max(1.0, n_steps / _FULL_STEPS)
    return max(_SMALLEST_PX, round(PREVIEW_PX / math.sqrt(share)))


def reduced_shape(shape: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Return a shape no longer than ``longest_px`` with about the same proportions."""
    scale = max(1.0, max(shape) / longest_px)
    return max(1, round(shape[0] / scale)), max(1, round(shape[1] / scale))


def true_colour(reflectance: Any, bands: tuple[str, ...], low: float, high: float) -> UInt8Array:
    """Return (y, x, 3) of reflectance numbers (band, y, x): red, green, blue or the first bands.

    ``low`` and ``high`` become black and white in each; 0 (nodata) becomes dark grey.
    """
    shown = reflectance[choose_shown(bands)]
    light = (shown - low) / max(high - low, 1.0)
    picture = np.where(shown == 0, 20, np.clip(light * 235 + 20, 20, 255)).astype(np.uint8)
    return np.moveaxis(picture, 0, -1)


def source_colours(source: UInt8Array) -> UInt8Array:
    """Return (y, x, 3) of ``source`` codes."""
    coloured: UInt8Array = _palette(_SOURCE_LEGEND)[source]
    return coloured


def _palette(legend: dict[int, tuple[str, Colour]]) -> UInt8Array:
    """Return (256, 3): the colour of each code."""
    table = np.zeros((256, 3), np.uint8)
    for code, (_, colour) in legend.items():
        table[code] = colour
    return table


def radar_grey(decibel: Float32Array) -> tuple[UInt8Array, tuple[float, float]]:
    """Return (y, x) of backscatter, and which decibels are black and white; missing is black."""
    known = decibel[~np.isnan(decibel)]
    low, high = (float(cut) for cut in np.percentile(known, _RADAR_CUTS)) if known.size else (0, 0)
    light = (np.nan_to_num(decibel, nan=low) - low) / max(high - low, 1e-6)
    return (np.clip(light, 0, 1) * 255).astype(np.uint8), (low, high)


def photo(picture: UInt8Array) -> str:
    """Return a picture as the address of a JPEG inside of a page."""
    return _address(Image.fromarray(picture), "jpeg", quality=82)


def source_map(source: UInt8Array) -> str:
    """Return a map of ``source`` codes as the address of a PNG inside of a page."""
    return _map(source, _SOURCE_LEGEND)


def cloud_map(cloud: UInt8Array) -> str:
    """Return a map of ``cloud`` codes as the address of a PNG inside of a page."""
    return _map(cloud, _CLOUD_LEGEND)


def days_map(days: Int16Array) -> str:
    """Return a map of the days to references as the address of a PNG inside of a page."""
    return _map(_class_days(days), dict(enumerate(_DAYS_CLASSES)))


def days_legend(days: Int16Array) -> list[tuple[str, str]]:
    """Return what their map shows: titles, and colours as a style sheet has them."""
    return [
        (name, _hex(colour))
        for name, colour in (_DAYS_CLASSES[code] for code in np.unique(_class_days(days)))
    ]


def _class_days(days: Int16Array) -> UInt8Array:
    """Return the codes of the map of the days to references."""
    codes = np.digitize(days, _DAYS_BEGIN)
    return np.where(days == REFERENCE_DAYS.empty, _NOT_OF_OTHER_DAYS, codes).astype(np.uint8)


def outline(source: UInt8Array) -> str:
    """Return a line around what was made, on nothing, as the address of a PNG."""
    made = is_made(source)
    image = Image.fromarray((made & ~binary_erosion(made, border_value=1)).astype(np.uint8))
    image.putpalette([0, 0, 0, *_OUTLINE])
    return _address(image, "png", transparency=0)


def source_legend() -> list[tuple[str, str]]:
    """Return what the map of sources shows: titles, and colours as a style sheet has them."""
    return _titles(SOURCE)


def cloud_legend() -> list[tuple[str, str]]:
    """Return what the map of clouds shows: titles, and colours as a style sheet has them."""
    return [*_titles(CLOUD), (_NODATA.title, _hex(_NODATA.colour))]


def cloud_names() -> dict[int, str]:
    """Return the names of ``cloud`` codes."""
    return {code: name for code, (name, _) in _CLOUD_LEGEND.items() if code != NO_PIXEL}


def _map(codes: UInt8Array, legend: dict[int, tuple[str, Colour]]) -> str:
    """Return a map whose pixels are entries of a palette: a third of the bytes of three colours."""
    image = Image.fromarray(codes)
    image.putpalette(_palette(legend).ravel().tolist())
    return _address(image, "png")


def _address(image: Image.Image, kind: str, **how: Any) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, optimize=True, **how)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


def draw_preview(pictures: list[StepPictures]) -> bytes:
    """Return a PNG: one row a step, side by side what was observed, the product and its source."""
    longest = PREVIEW_PX if len(pictures) == 1 else _CONTACT_PX
    rows = [
        (
            shown.name,
            [
                _shrink(shown.observed, longest, Image.Resampling.BOX),
                _shrink(shown.product, longest, Image.Resampling.BOX),
                _shrink(source_colours(shown.source), longest, Image.Resampling.NEAREST),
            ],
        )
        for shown in pictures
    ]
    height, width = rows[0][1][0].shape[:2]
    columns = ("observed", "cloud removed", "source")
    size = (
        len(columns) * (width + _GAP_PX) + _GAP_PX,
        len(rows) * (height + _LABEL_PX) + _LABEL_PX + _GAP_PX,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for index, (name, row) in enumerate(rows):
        top = index * (height + _LABEL_PX)
        for column, picture in enumerate(row):
            left = _GAP_PX + column * (width + _GAP_PX)
            draw.text((left, top + 5), f"{name}  {columns[column]}", "black", font)
            sheet.paste(Image.fromarray(picture), (left, top + _LABEL_PX))
    _draw_legend(draw, (_GAP_PX, size[1] - _LABEL_PX), font)
    stream = io.BytesIO()
    sheet.save(stream, "png", optimize=True)
    return stream.getvalue()


def draw_thumbnail(pictures: StepPictures) -> bytes:
    """Return a PNG of a step's product."""
    stream = io.BytesIO()
    Image.fromarray(pictures.product).save(stream, "png", optimize=True)
    return stream.getvalue()


def _shrink(picture: UInt8Array, longest_px: int, how: Image.Resampling) -> UInt8Array:
    height, width = reduced_shape((picture.shape[0], picture.shape[1]), longest_px)
    return np.asarray(Image.fromarray(picture).resize((width, height), how))


def _draw_legend(draw: Any, corner: tuple[int, int], font: Any) -> None:
    left, top = corner
    for name, colour in _SOURCE_LEGEND.values():
        draw.rectangle((left, top + 5, left + 14, top + 19), colour, "grey")
        draw.text((left + 20, top + 4), name, "black", font)
        left += 40 + int(draw.textlength(name, font))
