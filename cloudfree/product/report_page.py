"""Row 14 of the walk: one page of HTML that shows the product; it asks nobody for anything.

``report_page.html`` holds its words and pictures; this holds what they are filled in with. Whatever
comes from settings, catalogs and files is escaped, and the page's policy forbids every request and
every script but its own.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cloudfree.core.bands import BANDS, REFLECTANCE_SCALE, RGB
from cloudfree.core.source import NOT_RESTORED, OTHER_DAYS, RECONSTRUCTED, SEEN
from cloudfree.core.types import Int16Array, Int64Array
from cloudfree.product import report
from cloudfree.product.charts import draw_bar, draw_histogram, draw_seam
from cloudfree.product.layers import REFERENCE_DAYS
from cloudfree.product.pixel_counts import BIN_DN, NO_PIXEL, SEAM_REACH, PixelCounts
from cloudfree.product.printout import choice_text
from cloudfree.product.report import StepPictures

_SHOWN_SHARE = 0.995
"""A histogram ends where it holds this share of the pixels of either kind."""
_MOST_BINS = 50
_NUMBER = 1 / REFLECTANCE_SCALE
"""Reflectance numbers in a reflectance of 1."""
_KINDS = {
    "seen": SEEN,
    "made of other days": OTHER_DAYS,
    "reconstructed": RECONSTRUCTED,
    "not restored": NOT_RESTORED,
}
"""What the page calls kinds of pixels, and their code."""


def make_report(pictures: Sequence[StepPictures], summary: dict[str, Any]) -> str:
    """Return the page of a product; ``summary`` is what run.json says."""
    script = files("cloudfree.product").joinpath("report_page.js").read_text("utf-8")
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _environment().from_string(
        files("cloudfree.product").joinpath("report_page.html").read_text("utf-8")
    )
    return page.render(
        title=_title(pictures),
        summary=summary,
        rules=summary["request"]["settings"]["scenes"],
        scenes={scene["id"]: scene for scene in summary["scenes"]},
        steps=[_step(*both) for both in zip(pictures, summary["steps"], strict=True)],
        tiles=_tiles(summary["pixels"]),
        helped_by=_helped_by(summary),
        wants_other_days="references" in summary["request"]["settings"],
        checks=_checks(summary.get("check")),
        verdict=_verdict(summary.get("check")),
        figures=_figures(summary),
        timings=_timings(summary["seconds"]),
        undrawn=1 - _SHOWN_SHARE,
        source_legend=report.source_legend(),
        cloud_legend=report.cloud_legend(),
        script=Markup(script),
        script_sha256=sha256,
    )


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "percent": _percent,
        "figure": _figure,
        "moment": _moment,
        "age": _age,
        "days": _away,
    }
    return environment


def _percent(share: float) -> str:
    """Return a share (0..1) in words; what is little is not called nothing, nor nearly all all."""
    if 0 < share < 0.001:
        return "below 0.1 %"
    if 0.999 < share < 1:
        return "above 99.9 %"
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %")


def _figure(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:,.{digits}f}"


def _moment(time: str) -> str:
    return f"{dt.datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC"


def _age(hours: float) -> str:
    return f"{abs(hours):.1f} h {'before' if hours < 0 else 'after'}"


def _away(days: int) -> str:
    return f"{abs(days)} {'before' if days < 0 else 'after'}" if days else "the same day"


def _title(pictures: Sequence[StepPictures]) -> str:
    first, last = pictures[0].name, pictures[-1].name
    return first if len(pictures) == 1 else f"{first} to {last}"


def _tiles(pixels: dict[str, int]) -> list[tuple[str, int, str, str]]:
    """Return name, count, share and unit of what the page begins with."""
    kinds = {
        "seen": pixels["seen"],
        "made of other days": pixels["other_days"],
        "reconstructed": pixels["reconstructed"],
        "not restored": pixels["not_restored"],
    }
    whole = sum(kinds.values()) or 1
    made = pixels["other_days"] + pixels["reconstructed"]
    return [(name, count, _percent(count / whole), "px") for name, count in kinds.items()] + [
        (
            "as bright or dark as allowed",
            pixels["limited"],
            _percent(pixels["limited"] / (made or 1)),
            "px, of those made",
        )
    ]


def _helped_by(summary: dict[str, Any]) -> str:
    """Return what made pixels were made with, in words; nothing where there are none."""
    pixels = summary["pixels"]
    radar = any(step["radar"] for step in summary["steps"])
    ways = {"other days": pixels["other_days"], "Sentinel-1 radar": pixels["reconstructed"] * radar}
    return " and ".join(way for way, count in ways.items() if count)


def _checks(check: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return kind of made pixels -> what the self-check found of it."""
    if not check:
        return {}
    others = {"pixels made of other days": check["other_days"]} if "other_days" in check else {}
    return {**others, "reconstructed pixels": check}


def _verdict(check: dict[str, Any] | None) -> str:
    """Return in sentences how wrong the made pixels are; nothing where that was not measured."""
    return " ".join(_verdict_of(kind, one) for kind, one in _checks(check).items() if one["models"])


def _verdict_of(pixels: str, check: dict[str, Any]) -> str:
    (_, own), *others = check["models"].items()
    said = (
        f"As measured on this very scene, {pixels} are off by {own['mae']:.4f} in "
        "reflectance on average, where 1 is a white surface"
    )
    if not others:
        return f"{said}."
    name, best = min(others, key=lambda one: one[1]["mae"])
    return f"{said}; the best of what is compared with them, {name}, by {best['mae']:.4f}."


def _step(shown: StepPictures, facts: dict[str, Any]) -> dict[str, Any]:
    height, width = shown.source.shape
    radar, (low_db, high_db) = report.radar_grey(shown.decibel)
    polarization = facts["polarizations"][0].upper() if facts["radar"] else ""
    return {
        "name": shown.name,
        "facts": facts,
        "width": width,
        "height": height,
        "observed": report.photo(shown.observed),
        "product": report.photo(shown.product),
        "outline": report.outline(shown.source),
        "colours": _colours(shown.bands),
        "cloud_map": report.cloud_map(shown.cloud),
        "mask_said": _mask_said(shown),
        "source_map": report.source_map(shown.source),
        "shares": _shares(shown.counts),
        "days": _days(shown.reference_days),
        "radar": report.photo(radar) if facts["radar"] else None,
        "radar_said": f"Radar: backscatter in {polarization}, {low_db:.0f} dB (black) to "
        f"{high_db:.0f} dB (white), missing black",
        "histograms": [
            _histogram(name, *shown.counts.histogram[:, index])
            for index, name in enumerate(shown.bands)
        ],
        "seam": _seam(shown.counts),
    }


def _colours(bands: Sequence[str]) -> str:
    if set(bands) == set(RGB):
        return "True colour, stretched alike on both sides."
    return f"{', '.join(bands)}, stretched alike on both sides."


def _shares(counts: PixelCounts) -> str:
    """Return how much there is of each kind, in words; what there is none of is not named."""
    kinds = {name: int(counts.pixels[code]) for name, code in _KINDS.items()}
    whole = sum(kinds.values()) or 1
    return ", ".join(f"{_percent(n / whole)} {name}" for name, n in kinds.items() if n)


def _days(days: Int16Array | None) -> dict[str, Any] | None:
    """Return the map of the days to references, and what it says; None where there are none."""
    there = None if days is None else days[days != REFERENCE_DAYS.empty]
    if days is None or there is None or not there.size:
        return None
    middle = int(np.median(np.abs(there.astype(np.int32))))
    return {
        "map": report.days_map(days),
        "legend": report.days_legend(days),
        "said": f"half of the pixels made of other days were seen within {middle} days",
    }


def _mask_said(shown: StepPictures) -> str:
    """Return the shares of a map of clouds in words."""
    there = shown.cloud[shown.cloud != NO_PIXEL]
    counts = np.bincount(there, minlength=256) / max(there.size, 1)
    names = report.cloud_names()
    return ", ".join(f"{_percent(counts[code])} {name}" for code, name in names.items())


def _histogram(band: str, seen: Int64Array, made: Int64Array) -> dict[str, Any]:
    """Return one band's chart and what it says; dense bins are joined."""
    end = max(_quantile(seen, _SHOWN_SHARE), _quantile(made, _SHOWN_SHARE)) + 1
    joined = -(-end // _MOST_BINS)
    whole = -(-end // joined) * joined
    shares = []
    for counts in (seen, made):
        padded = np.zeros(whole)
        kept = min(whole, len(counts))
        padded[:kept] = counts[:kept]
        shares.append((padded.reshape(-1, joined).sum(axis=1) / max(counts.sum(), 1)).tolist())
    name = f"{band} ({BANDS[band].common_name})"
    said = f"{name}: median {_median(seen)} seen, {_median(made)} made"
    drawing = draw_histogram(
        shares[0],
        shares[1],
        bin_width=joined * BIN_DN / _NUMBER,
        alternative=f"Histogram of {said}",
    )
    return {"drawing": drawing, "said": said}


def _quantile(counts: Int64Array, share: float) -> int:
    """Return the bin in which the share of the pixels is reached; 0 where there are none."""
    return int(np.searchsorted(np.cumsum(counts), share * counts.sum()))


def _median(counts: Int64Array) -> str:
    if not counts.sum():
        return "none"
    return f"{(_quantile(counts, 0.5) + 0.5) * BIN_DN / _NUMBER:.3f}"


def _seam(counts: PixelCounts) -> dict[str, Any] | None:
    """Return the chart of the seams and what it says; None where there are none."""
    if not counts.seam_pairs[SEAM_REACH]:
        return None
    per_step = counts.histogram.shape[1] * _NUMBER
    steps = [
        float(total / pairs / per_step) if pairs else None
        for total, pairs in zip(counts.seam_steps, counts.seam_pairs, strict=True)
    ]
    seen, made = (
        _side(counts, part, per_step)
        for part in (slice(0, SEAM_REACH), slice(SEAM_REACH + 1, None))
    )
    said = (
        f"Across the border neighbours differ by {steps[SEAM_REACH]:.4f} on average, within "
        f"{SEAM_REACH} px of it by {seen} on the seen side and by {made} on the made side"
    )
    at, peak = max(enumerate(steps), key=lambda one: one[1] or 0)
    if peak and at != SEAM_REACH:
        side = "seen" if at < SEAM_REACH else "made"
        said += f"; most, by {peak:.4f}, {abs(at - SEAM_REACH)} px into the {side} side"
    drawing = draw_seam(steps, alternative=f"Profile of the seam. {said}")
    return {"drawing": drawing, "said": said}


def _side(counts: PixelCounts, part: slice, per_step: float) -> str:
    pairs = counts.seam_pairs[part].sum()
    return f"{counts.seam_steps[part].sum() / pairs / per_step:.4f}" if pairs else "an unknown step"


def _figures(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the table of figures."""
    retries = ", ".join(f"{kind} {count:,}" for kind, count in summary["retries"].items())
    bounds = ", ".join(f"{edge:,.0f}" for edge in summary["bounds"])
    return [
        ("model", summary["model"]),
        *(("what no other day saw", choice_text(one)) for one in summary["choice"]),
        ("grid", f"{summary['crs']}, {summary['resolution_m']:g} m, bounds {bounds}"),
        ("area", f"{summary['area_km2']:,.1f} km²"),
        ("bands", ", ".join(summary["request"]["settings"]["grid"]["bands"])),
        *((f"windows {name}", f"{count:,}") for name, count in summary["windows"].items()),
        ("chunks", f"{summary['chunks']:,} of {summary['chunk_px']:,} px"),
        ("mask file", summary["mask_file"] or "none"),
        ("servers asked again", retries or "never"),
        ("peak memory", f"{summary['peak_memory_bytes'] / 1e9:.2f} GB in one process"),
        ("began", _moment(summary["began"])),
        ("finished", _moment(summary["finished"])),
        ("versions", ", ".join(f"{name} {one}" for name, one in summary["versions"].items())),
        ("key", summary["key"]),
    ]


def _timings(seconds: dict[str, float]) -> list[dict[str, Any]]:
    """Return the rows of the table of times, longest first."""
    whole, longest = sum(seconds.values()) or 1, max(seconds.values(), default=0) or 1
    return [
        {"name": name, "seconds": one, "share": one / whole, "bar": draw_bar(one / longest)}
        for name, one in sorted(seconds.items(), key=lambda row: -row[1])
    ]
