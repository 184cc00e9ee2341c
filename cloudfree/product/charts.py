"""Charts as SVG that is written into a page: colours come from its style sheet, by class.

Classes: ``axis`` and ``grid`` (lines), ``seen`` and ``made`` (shapes and lines), ``border``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _HEIGHT = 380, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 10, 24, 38
_QUARTERS = (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10)
"""Ends of an axis whose quarters are short numbers too."""
_STEPS = (1, 2, 5, 10)
"""Steps between the numbers of an axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where a chart's numbers lie in its drawing."""

    x: tuple[float, float]
    y_end: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return a point of the drawing, rounded to a tenth."""
        first, last = self.x
        across = (x - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        up = y / self.y_end * (_HEIGHT - _TOP - _BOTTOM)
        return round(_LEFT + across, 1), round(_HEIGHT - _BOTTOM - up, 1)

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """Return the commands of a line through points."""
        return "M" + "L".join("{:g} {:g}".format(*self.at(x, y)) for x, y in points)


def draw_histogram(
    seen: Sequence[float], made: Sequence[float], *, bin_width: float, alternative: str
) -> Markup:
    """Return a histogram of two kinds of pixels: shares (0..1) of each kind, from 0 upwards."""
    end = bin_width * len(seen)
    frame = _Frame(x=(0, end), y_end=round_up(max([*seen, *made, 1e-9])))
    area = frame.path([(0, 0), *_stairs(seen, bin_width), (end, 0)])
    line = frame.path(_stairs(made, bin_width))
    return _svg(
        _axes(frame, "reflectance", "share of pixels", _ticks(end), _percent),
        Markup('<path class="seen" d="{}Z"/><path class="made" d="{}"/>').format(area, line),
        alternative,
    )


def draw_seam(steps: Sequence[float | None], *, alternative: str) -> Markup:
    """Return the profile of a seam: mean steps by distance, that across the border in the middle.

    None stands where there was no pair of pixels.
    """
    reach = len(steps) // 2
    known = [(at - reach, step) for at, step in enumerate(steps) if step is not None]
    frame = _Frame(
        x=(-reach - 0.5, reach + 0.5), y_end=round_up(max([*(step for _, step in known), 1e-9]))
    )
    lines, dots = Markup(), Markup()
    for name, points in (
        ("seen", [p for p in known if p[0] < 0]),
        ("made", [p for p in known if p[0] > 0]),
    ):
        if points:
            lines += Markup('<path class="line {}" d="{}"/>').format(name, frame.path(points))
    for distance, step in known:
        kind = "seen" if distance < 0 else "made" if distance > 0 else "border"
        x, y = frame.at(distance, step)
        dots += Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(
            kind, x, y, 3 if distance else 5
        )
    x, bottom = frame.at(0, 0)
    rule = Markup('<line class="grid" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
        x, _TOP, bottom
    )
    ticks = [float(distance) for distance in range(-reach, reach + 1, 2)]
    axes = _axes(frame, "pixels from the border: seen left, made right", "mean step", ticks, _plain)
    return _svg(axes, rule + lines + dots, alternative)


def draw_bar(share: float) -> Markup:
    """Return a bar as long as a share (0..1) of the longest, for a table that has the number."""
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="10"/></svg>'
    ).format(round(100 * share, 1))


def round_up(value: float, ends: Sequence[float] = _QUARTERS) -> float:
    """Return the next number above, one of ``ends`` (1 to 10) times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(end * power for end in ends if end * power >= value * (1 - 1e-9))


def _stairs(shares: Sequence[float], width: float) -> list[tuple[float, float]]:
    """Return the outline of a histogram's top."""
    return [(edge * width, share) for at, share in enumerate(shares) for edge in (at, at + 1)]


def _ticks(end: float) -> list[float]:
    """Return round numbers from 0 to an end, about six."""
    step = round_up(end / 6, _STEPS)
    return [at * step for at in range(int(end / step + 1e-6) + 1)]


def _percent(value: float) -> str:
    return f"{value:.2g}" if value == 0 else f"{100 * value:.3g} %"


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _axes(
    frame: _Frame,
    x_name: str,
    y_name: str,
    x_ticks: Sequence[float],
    y_text: Callable[[float], str],
) -> Markup:
    drawn = Markup()
    for part in range(5):
        value = frame.y_end * part / 4
        x, y = frame.at(frame.x[0], value)
        drawn += Markup(
            '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" class="y">{}'
            "</text>"
        ).format("grid" if part else "axis", x, _WIDTH - _RIGHT, y, y, x - 5, y + 4, y_text(value))
    for tick in x_ticks:
        x, y = frame.at(tick, 0)
        drawn += Markup('<text x="{}" y="{}" class="x">{}</text>').format(x, y + 14, f"{tick:.3g}")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return drawn + Markup(
        '<text x="{}" y="{}" class="x">{}</text><text x="4" y="9">{}</text>'
    ).format(middle, _HEIGHT - 5, x_name, y_name)


def _svg(axes: Markup, content: Markup, alternative: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>'
    ).format(_WIDTH, _HEIGHT, alternative, axes, content)
