"""Row 14 of the walk: the preview picture and a page that shows the product."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image, ImageDraw, ImageFont

from cloudfree.bands import choose_shown
from cloudfree.blend import NODATA, NOT_RESTORED, RECONSTRUCTED, SEEN
from cloudfree.errors import OutputError
from cloudfree.types import Float32Array, UInt8Array

PREVIEW_PX = 900
_LABEL_PX = 26
_GAP_PX = 8
_SOURCE_COLOURS = {
    NODATA: (20, 20, 20),
    SEEN: (222, 222, 216),
    RECONSTRUCTED: (38, 120, 178),
    NOT_RESTORED: (205, 62, 48),
}

_SOURCE_NAMES = {
    SEEN: "seen",
    RECONSTRUCTED: "reconstructed",
    NOT_RESTORED: "not restored",
    NODATA: "nodata",
}


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object the product holds; OutputError where it cannot be read."""
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return value
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path} cannot be read: {error}. Use --overwrite to start anew"
        ) from None


def read_reduced(path: Path, shape: tuple[int, int]) -> Any:
    """Return (band, y, x) of a GeoTIFF at about ``shape``, from its overviews."""
    with rasterio.open(path) as source:
        return source.read(out_shape=(source.count, *shape))


def reduced_shape(shape: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Return a shape no longer than ``longest_px`` with about the same proportions."""
    scale = max(1.0, max(shape) / longest_px)
    return max(1, round(shape[0] / scale)), max(1, round(shape[1] / scale))


def true_colour(
    reflectance: Any, bands: tuple[str, ...], low: Float32Array, high: Float32Array
) -> UInt8Array:
    """Return (y, x, 3) of reflectance numbers (band, y, x): red, green, blue or the first bands.

    ``low`` and ``high`` (band,) become black and white; 0 (nodata) becomes dark grey.
    """
    index = choose_shown(bands)
    span = np.maximum(high[index] - low[index], 1)[:, None, None]
    light = (reflectance[index] - low[index][:, None, None]) / span
    picture = np.where(reflectance[index] == 0, 20, np.clip(light * 235 + 20, 20, 255)).astype(
        np.uint8
    )
    return np.moveaxis(picture, 0, -1)


def source_colours(source: UInt8Array) -> UInt8Array:
    """Return (y, x, 3) of ``source`` codes."""
    table = np.zeros((256, 3), np.uint8)
    for code, colour in _SOURCE_COLOURS.items():
        table[code] = colour
    coloured: UInt8Array = table[source]
    return coloured


def write_preview(path: Path, rows: list[tuple[str, list[UInt8Array]]]) -> None:
    """Write a PNG: one row a step, side by side what was observed, the product and its source."""
    height, width = rows[0][1][0].shape[:2]
    columns = ("observed", "cloud removed", "source")
    size = (
        len(columns) * (width + _GAP_PX) + _GAP_PX,
        len(rows) * (height + _LABEL_PX) + _LABEL_PX + _GAP_PX,
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for index, (name, pictures) in enumerate(rows):
        top = index * (height + _LABEL_PX)
        for column, picture in enumerate(pictures):
            left = _GAP_PX + column * (width + _GAP_PX)
            draw.text((left, top + 5), f"{name}  {columns[column]}", "black", font)
            sheet.paste(Image.fromarray(picture), (left, top + _LABEL_PX))
    _draw_legend(draw, (_GAP_PX, size[1] - _LABEL_PX), font)
    sheet.save(path, optimize=True)


def _age(hours: float | None) -> str:
    return "" if hours is None else f"{hours:+.1f}"


def _draw_legend(draw: Any, corner: tuple[int, int], font: Any) -> None:
    left, top = corner
    for code, name in _SOURCE_NAMES.items():
        draw.rectangle((left, top + 5, left + 14, top + 19), _SOURCE_COLOURS[code], "grey")
        draw.text((left + 20, top + 4), name, "black", font)
        left += 40 + int(draw.textlength(name, font))


def write_report(out: Path, summary: dict[str, Any]) -> None:
    """Write ``report.html``: the preview and the figures on one page, no outside request."""
    picture = base64.b64encode((out / "preview.png").read_bytes()).decode()
    figures = {
        "model": summary["model"],
        "grid": f"{summary['crs']}, {summary['resolution_m']:g} m, "
        f"{summary['shape'][1]} x {summary['shape'][0]} px",
        **{f"pixels {name.replace('_', ' ')}": f"{n:,}" for name, n in summary["pixels"].items()},
        **{f"windows {name}": f"{n:,}" for name, n in summary["windows"].items()},
    }
    scenes = "".join(
        f"<tr><td>{html.escape(step['time'])}</td>"
        f"<td>{html.escape(', '.join(step['optical']))}</td>"
        f"<td>{html.escape(', '.join(step['radar']) or 'none in reach')}</td>"
        f"<td>{_age(step['radar_age_h'])}</td></tr>"
        for step in summary["steps"]
    )
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in figures.items()
    )
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>cloudfree report</title>
<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;
max-width:76rem;padding:0 1rem}}img{{max-width:100%}}table{{border-collapse:collapse;margin:1rem 0}}
th,td{{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}}</style>
<h1>cloudfree report</h1>
<p>Light pixels of the source map were seen and are passed on exactly; blue ones were
reconstructed from radar and their surroundings and are an estimate; red ones stayed hidden.</p>
<img src="data:image/png;base64,{picture}" alt="Observed picture, product and source map, per date">
<h2>Figures</h2><table>{rows}</table>
<h2>Scenes</h2><table><tr><th>time</th><th>optical</th><th>radar</th><th>radar age, h</th></tr>
{scenes}</table><p>{html.escape(summary["attribution"])}.</p></html>
"""
    (out / "report.html").write_text(page, encoding="utf-8")
