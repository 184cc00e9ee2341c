"""What a self-check comes to: errors against what was seen, pooled over places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloudfree.core.bands import REFLECTANCE_SCALE, WHITE
from cloudfree.core.types import AnyArray, BoolArray, Float32Array
from cloudfree.restoration import metrics
from cloudfree.restoration.uncertainty import Calibration, calibrate, judge

_NO_CONTRAST_DN = 10
"""In reflectance numbers: about the noise of Sentinel-2 over dark ground."""
_DRAWS = 1000
"""Of the bootstrap over places."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceCheck:
    """What was found in one place of pixels of one kind."""

    pixels: int
    """Hidden and restored."""
    contrast: float
    """Standard deviation of what was seen there, in reflectance numbers, root mean square over
    bands."""
    sums: dict[str, dict[str, float]]
    """Model -> figure -> sum over these pixels."""
    signs: Float32Array
    """(sign, n) of a sample of them; n is 0 where no uncertainty is asked for."""
    errors: Float32Array
    """(n,) their absolute errors in reflectance numbers, means over bands."""
    days: float = 0.0
    """Sum over these pixels of the days to the nearest reference, where they were made of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a self-check came to."""

    figures: dict[str, Any]
    """What ``run.json`` says under ``check``."""
    calibrations: dict[str, Calibration]
    """Kind of made pixels, as the classes of ``source`` are called -> what turns its signs into an
    error; where an uncertainty is asked for."""


def score(
    made: AnyArray, actual: AnyArray, where: BoolArray, bands: tuple[str, ...]
) -> dict[str, float]:
    """Return sums over pixels of squared and absolute error, spectral angle and similarity.

    Arrays are (band, y, x) reflectance numbers. Squared error and similarity are those of the
    pictures up to white; the others of the numbers as they are. ``ndvi`` is there with B04 and B08.
    """
    made, actual = made.astype(np.float64), actual.astype(np.float64)
    shown, real = np.minimum(made, WHITE), np.minimum(actual, WHITE)
    pixels = int(np.count_nonzero(where))
    sums = {
        "squared": float(((shown - real) ** 2)[:, where].mean(axis=0).sum()),
        "absolute": float(np.abs(made - actual)[:, where].mean(axis=0).sum()),
        "sam_deg": metrics.sam(made, actual, where) * pixels,
    }
    if min(where.shape) >= metrics.SSIM_WINDOW:
        patched = np.where(where, shown, real)
        sums["ssim"] = float(metrics.ssim_map(patched, real, WHITE)[:, where].mean(axis=0).sum())
    if {"B04", "B08"} <= set(bands):
        red, nir = bands.index("B04"), bands.index("B08")
        index = [(one[nir] - one[red]) / (one[nir] + one[red] + 1e-9) for one in (made, actual)]
        sums["ndvi"] = float(np.abs(index[0] - index[1])[where].sum())
    return sums


def summarise(
    reconstructed: list[PlaceCheck], other_days: list[PlaceCheck], *, seed: int, uncertain: bool
) -> Check:
    """Return the figures of places: means over their pixels, intervals by places drawn anew.

    Both kinds of made pixels are told of apart. There are none where the ground has no contrast: it
    would be called well restored by anything.
    """
    figures, calibration = _summarise_kind(reconstructed, seed, uncertain)
    others, of_others = _summarise_kind(other_days, seed, uncertain)
    if other_days:
        days = sum(one.days for one in other_days) / sum(one.pixels for one in other_days)
        figures["other_days"] = {**others, "mean_days": round(days, 1)}
    kinds = {"reconstructed": calibration, "other_days": of_others}
    return Check(
        figures={"seed": seed, **figures},
        calibrations={kind: one for kind, one in kinds.items() if one is not None},
    )


def _summarise_kind(
    checks: list[PlaceCheck], seed: int, uncertain: bool
) -> tuple[dict[str, Any], Calibration | None]:
    why_not = _why_not(checks)
    told = [] if why_not else checks
    figures: dict[str, Any] = {
        "places": len(checks),
        "pixels": sum(one.pixels for one in checks),
        "why_not": why_not,
        "models": {name: _figures(name, told, seed) for name in (told[0].sums if told else ())},
        "calibration": None,
    }
    if not uncertain or not told:
        return figures, None
    signs, errors = [one.signs for one in checks], [one.errors for one in checks]
    calibration = calibrate(np.concatenate(signs, axis=1), np.concatenate(errors))
    if len(checks) > 1:
        expected, true, rank = judge(signs, errors)
        figures["calibration"] = {
            "expected": [round(float(v) * REFLECTANCE_SCALE, 5) for v in expected],
            "true": [round(float(v) * REFLECTANCE_SCALE, 5) for v in true],
            "rank_correlation": round(rank, 3),
        }
    return figures, calibration


def _why_not(checks: list[PlaceCheck]) -> str:
    """Return why places say nothing; empty where they do."""
    if not checks:
        return "no place was seen that a cloud could be laid over"
    squared = sum(one.pixels * one.contrast**2 for one in checks)
    contrast = math.sqrt(squared / sum(one.pixels for one in checks))
    if contrast >= _NO_CONTRAST_DN:
        return ""
    return (
        f"the ground that was checked varies by {contrast * REFLECTANCE_SCALE:.4f} within a place, "
        "less than the noise of the instrument, so that any fill would seem right"
    )


def warn(figures: dict[str, Any] | None) -> list[str]:
    """Return what the user should know of what a self-check found: where a fill was closer."""
    if not figures:
        return []
    said = []
    for of_kind in (figures, figures.get("other_days")):
        if of_kind is None or len(of_kind["models"]) < 2:
            continue
        (model, own), *fills = of_kind["models"].items()
        name, best = min(fills, key=lambda one: one[1]["mae"])
        if best["mae"] < own["mae"]:
            said.append(
                f"the self-check found {name} closer to what was seen than {model}: wrong by "
                f"{best['mae']:.4f} on average, not {own['mae']:.4f}"
            )
    return said


def _figures(name: str, checks: list[PlaceCheck], seed: int) -> dict[str, float | None]:
    pixels = np.array([one.pixels for one in checks], np.float64)
    squared = np.array([one.sums[name]["squared"] for one in checks])
    drawn = np.random.default_rng(seed).integers(len(checks), size=(_DRAWS, len(checks)))
    resampled = _psnr(squared[drawn].sum(axis=1) / pixels[drawn].sum(axis=1))
    low, high = np.percentile(resampled, [2.5, 97.5]) if len(checks) > 1 else (None, None)

    def mean(figure: str, scale: float = 1.0) -> float | None:
        held = [one for one in checks if figure in one.sums[name]]
        if not held:
            return None
        total = sum(one.sums[name][figure] for one in held) / sum(one.pixels for one in held)
        return round(scale * total, 4)

    return {
        "psnr_db": round(float(_psnr(squared.sum() / pixels.sum())), 2),
        "psnr_db_low": None if low is None else round(float(low), 2),
        "psnr_db_high": None if high is None else round(float(high), 2),
        "ssim": mean("ssim"),
        "mae": mean("absolute", REFLECTANCE_SCALE),
        "sam_deg": mean("sam_deg"),
        "ndvi_mae": mean("ndvi"),
    }


def _psnr(squared: Any) -> Any:
    """Return dB of mean squared errors in reflectance numbers; the peak is white."""
    return 10 * np.log10(WHITE**2 / np.maximum(squared, 1e-3))
