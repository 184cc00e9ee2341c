"""Pictures of products for the notebooks; needs matplotlib (extra ``notebooks``).

Every function draws and returns a figure; those that take ``axes`` draw there. Reflectance is as
``open_cube`` gives it: 1 for a white surface, NaN for nodata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import distance_transform_edt

from cloudfree.core.bands import choose_shown
from cloudfree.core.source import NODATA, NOT_RESTORED, OTHER_DAYS, RECONSTRUCTED, SEEN, is_made
from cloudfree.core.types import AnyArray, Float32Array

SEEN_COLOUR, MADE_COLOUR, TRUTH_COLOUR = "#c9a227", "#2678b2", "#55585c"
_SOURCES = {
    NODATA: ("nodata", "#f4f4f1"),
    SEEN: ("seen", "#d8d5c8"),
    RECONSTRUCTED: ("reconstructed", MADE_COLOUR),
    NOT_RESTORED: ("not restored", "#cd3e30"),
    OTHER_DAYS: ("of other days", "#f0c428"),
}
_BAR = np.timedelta64(8, "D")
_NOTHING = 0.957
"""Grey of nodata in pictures, as in source maps."""
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8}
_SHOULDER = 1.9
"""Strength of the curve that keeps some texture in clouds, far brighter than the ground."""


def new_figure(rows: int = 1, columns: int = 1, **how: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes, with little ink.

    By hand: rc_context would put back what a notebook's backend sets when it draws first.
    """
    figure, axes = plt.subplots(rows, columns, dpi=110, layout="constrained", **how)
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="#e6e6e2")
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=8)
    return figure, axes


def true_colour(reflectance: xr.DataArray, white: float | None = None) -> Float32Array:
    """Return (y, x, 3) from 0 to 1 of reflectance (band, y, x), nodata in light grey.

    ``white`` is the reflectance that becomes nearly white, for the same look of several pictures;
    without it the picture's own 99.5th percentile.
    """
    bands = tuple(str(name) for name in reflectance["band"].to_numpy())
    layers = reflectance.transpose("band", "y", "x").to_numpy()[choose_shown(bands)]
    if white is None:
        white = find_white(reflectance)
    light = 1 - np.exp(-_SHOULDER * np.clip(layers / white, 0, None))
    shown: Float32Array = np.where(np.isnan(layers), _NOTHING, light).astype(np.float32)
    return np.moveaxis(shown, 0, -1)


def find_white(reflectance: xr.DataArray) -> float:
    """Return the reflectance to show as white: the 99.5th percentile of the shown bands."""
    bands = tuple(str(name) for name in reflectance["band"].to_numpy())
    shown = reflectance.isel(band=choose_shown(bands)).to_numpy()
    return float(np.nanpercentile(shown, 99.5)) if np.isfinite(shown).any() else 1.0


def ndvi(reflectance: xr.DataArray) -> xr.DataArray:
    """Return the vegetation index (B08 - B04) / (B08 + B04), without the band dimension."""
    infrared, red = (reflectance.sel(band=name, drop=True) for name in ("B08", "B04"))
    return ((infrared - red) / (infrared + red)).rename("ndvi")


def draw_before_after(
    observed: xr.DataArray, restored: xr.DataArray, source: xr.DataArray
) -> Figure:
    """Return what was observed, what came out and the map of sources, side by side; one time."""
    white = find_white(restored)
    height, width = source.transpose("y", "x").shape
    figure, axes = new_figure(1, 3, figsize=(12, 4 * height / width + 0.6))
    for ax, name, picture in zip(
        axes, ("observed", "clouds removed"), (observed, restored), strict=False
    ):
        _show(ax, true_colour(picture, white), name)
    draw_source(axes[2], source)
    return figure


def draw_source(axes: Axes, source: xr.DataArray) -> None:
    """Draw the codes of where each pixel comes from, with a legend of those that occur."""
    colours = ListedColormap([colour for _, colour in _SOURCES.values()])
    shown = source.transpose("y", "x").to_numpy()
    norm = BoundaryNorm(np.arange(len(_SOURCES) + 1) - 0.5, len(_SOURCES))
    _show(axes, shown, "where it comes from", cmap=colours, norm=norm)
    total = max(int(np.count_nonzero(shown != NODATA)), 1)
    entries = [
        Patch(facecolor=colour, edgecolor="#999999", linewidth=0.5,
              label=f"{name} ({int(np.count_nonzero(shown == code)) / total:.0%})")
        for code, (name, colour) in _SOURCES.items()
        if code != NODATA and (shown == code).any()
    ]  # fmt: skip
    axes.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, **_LEGEND)


def draw_reference_days(axes: Axes, days: xr.DataArray) -> None:
    """Draw how far the nearest other day lies that a pixel was made of, with a bar of colours.

    ``days`` (y, x) as in the cube: negative before, NaN where no other day served.
    """
    shown = days.transpose("y", "x").to_numpy()
    most = max(float(np.nanmax(np.abs(shown))), 1.0) if np.isfinite(shown).any() else 1.0
    colours = plt.get_cmap("PuOr").with_extremes(bad="#141414")
    image = _show(axes, shown, "days to the nearest other day", cmap=colours, vmin=-most, vmax=most)
    axes.figure.colorbar(image, ax=axes, shrink=0.8, label="before | after")


def draw_pictures(
    pictures: Mapping[str, xr.DataArray], columns: int = 5, white: float | None = None
) -> Figure:
    """Return pictures (band, y, x) under their titles, all with one stretch.

    ``white`` as for true_colour; without it that of the picture with the least cloud.
    """
    if white is None:
        white = min(find_white(picture) for picture in pictures.values())
    count = len(pictures)
    columns = min(columns, count)
    rows = -(-count // columns)
    height, width = next(iter(pictures.values())).transpose("band", "y", "x").shape[1:]
    side = 12 / columns
    size = (12, rows * (side * height / width + 0.28))
    figure, axes = new_figure(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        _show(ax, true_colour(picture, white), title)
    return figure


def draw_series(
    axes: Axes, values: xr.DataArray, seen: xr.DataArray, truth: xr.DataArray | None = None
) -> None:
    """Draw a course in time: filled dots where the ground was seen, hollow where it was made.

    ``values`` and ``truth`` are (time,), ``seen`` (time,) is bool.
    """
    time, known = values["time"].to_numpy(), seen.to_numpy()
    if truth is not None:
        axes.plot(truth["time"], truth, color=TRUTH_COLOUR, linewidth=1, linestyle="--",
                  label="hidden truth")  # fmt: skip
    axes.plot(time, values, color=MADE_COLOUR, linewidth=1.2, alpha=0.6)
    axes.plot(time[known], values[known], "o", color=SEEN_COLOUR, label="seen", markersize=6)
    axes.plot(time[~known], values[~known], "o", markerfacecolor="white", markersize=6,
              markeredgecolor=MADE_COLOUR, label="made")  # fmt: skip


def draw_area_course(
    index: xr.DataArray, source: xr.DataArray, truth: xr.DataArray | None = None
) -> Figure:
    """Return the mean of an area in time: from seen pixels only, and with those that were made.

    ``index`` and ``source`` are (time, y, x), ``truth`` the same without clouds. Bars show which
    share of the area was seen.
    """
    area = source != NODATA
    share = (source == SEEN).sum(("y", "x")) / area.sum(("y", "x"))
    lines = {
        "seen pixels only": (index.where(source == SEEN), SEEN_COLOUR, "o:"),
        "seen and made": (index.where(area), MADE_COLOUR, "o-"),
    }
    figure, (top, below) = new_figure(2, 1, figsize=(10, 4.6), sharex=True, height_ratios=(4, 1))
    if truth is not None:
        mean = truth.where(area).mean(("y", "x"))
        top.plot(mean["time"], mean, color=TRUTH_COLOUR, linestyle="--", label="hidden truth")
    for name, (chosen, colour, style) in lines.items():
        mean = chosen.mean(("y", "x"))
        top.plot(mean["time"], mean, style, color=colour, label=name, markersize=5)
    top.set_ylabel(f"mean {index.name or 'value'}")
    top.legend(loc="upper left", **_LEGEND)
    below.bar(share["time"].to_numpy(), share, width=_BAR, color=SEEN_COLOUR)
    below.set_ylabel("share seen")
    below.set_ylim(0, 1)
    return figure


def draw_errors(
    restored: xr.DataArray, truth: xr.DataArray, source: xr.DataArray, pixel_m: float = 10.0
) -> Figure:
    """Return where and how far made pixels are from the truth: a map, and error by depth.

    Depth is the distance to the nearest seen pixel. One time: (band, y, x) and (y, x).
    """
    made = source.copy(data=is_made(source.to_numpy()))
    error = abs(restored - truth).mean("band").where(made)
    shown = error.transpose("y", "x").to_numpy()
    figure, (left, right) = new_figure(1, 2, figsize=(11, 4), width_ratios=(1.15, 1))
    limit = float(np.nanpercentile(shown, 98))
    image = _show(left, shown, "mean absolute error of reflectance", cmap="magma_r", vmin=0,
                  vmax=limit)  # fmt: skip
    figure.colorbar(image, ax=left, shrink=0.8, extend="max")
    depth_m = pixel_m * distance_transform_edt(source.transpose("y", "x").to_numpy() != SEEN)
    edges = np.quantile(depth_m[np.isfinite(shown)], np.linspace(0, 1, 9))
    _draw_binned(right, depth_m, shown, np.unique(edges))
    right.set_title("error by depth under the cloud", loc="left", fontsize=10)
    right.set_xlabel("metres to the nearest seen pixel")
    right.set_ylabel("absolute error of reflectance")
    return figure


def draw_calibration(uncertainty: xr.DataArray, error: xr.DataArray) -> Figure:
    """Return how large errors are where the product says how uncertain it is.

    Both are (y, x) in reflectance, NaN where nothing was made. On the dashed line the stated
    uncertainty is the mean error.
    """
    stated, found = (a.transpose("y", "x").to_numpy() for a in (uncertainty, error))
    known = np.isfinite(stated) & np.isfinite(found)
    edges = np.unique(np.quantile(stated[known], np.linspace(0, 1, 11)))
    figure, axes = new_figure(figsize=(5.5, 4.5))
    _draw_binned(axes, np.where(known, stated, np.nan), np.where(known, found, np.nan), edges)
    axes.axline((0, 0), slope=1, color=TRUTH_COLOUR, linestyle="--", linewidth=1)
    axes.set_xlabel("stated uncertainty")
    axes.set_ylabel("absolute error")
    axes.set_title("calibration: each tenth of the pixels", loc="left", fontsize=10)
    return figure


def draw_scores(scores: Mapping[str, float], title: str) -> Figure:
    """Return one bar a name, longest on top, with its figure."""
    names = sorted(scores, key=lambda name: scores[name])
    figure, axes = new_figure(figsize=(8, 0.5 * len(names) + 0.7))
    bars = axes.barh(names, [scores[name] for name in names], color=MADE_COLOUR, height=0.6)
    axes.bar_label(bars, fmt=" {:.3g}", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(0, 1.15 * max(scores.values()))
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return figure


def _draw_binned(axes: Axes, positions: AnyArray, values: AnyArray, edges: AnyArray) -> None:
    """Draw median, quartiles and mean of values by the bin that their position falls in."""
    known = np.isfinite(positions) & np.isfinite(values)
    number = np.clip(np.digitize(positions[known], edges[1:-1]), 0, len(edges) - 2)
    groups = [values[known][number == index] for index in range(len(edges) - 1)]
    centres = [float(np.median(positions[known][number == i])) for i in range(len(edges) - 1)]
    low, middle, high = (
        [float(np.percentile(group, share)) for group in groups] for share in (25, 50, 75)
    )
    axes.fill_between(centres, low, high, color=MADE_COLOUR, alpha=0.18, linewidth=0,
                      label="quartiles")  # fmt: skip
    axes.plot(centres, middle, "o-", color=MADE_COLOUR, markersize=4, label="median")
    axes.plot(centres, [float(g.mean()) for g in groups], ":", color=TRUTH_COLOUR, label="mean")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend(loc="upper left", **_LEGEND)


def _show(axes: Axes, picture: AnyArray, title: str, **how: Any) -> Any:
    image = axes.imshow(picture, interpolation="nearest", **how)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_axis_off()
    return image
