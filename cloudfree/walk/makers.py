"""Row 5 of the walk: what makes the pixels of a scene that no other day saw.

Seen pixels of the scene's sample are hidden under its own clouds; every maker restores them, fitted
at the rims as row 12 does, and the one that was measured to be best serves. It depends on the
sample alone, so that two areas which share a scene choose alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloudfree.core.bands import WHITE
from cloudfree.core.config import MIRRORS
from cloudfree.core.types import BoolArray, Float64Array
from cloudfree.pixels.observation import Observation
from cloudfree.pixels.radiometry import from_picture
from cloudfree.restoration.auto import FILLS, INPAINTING
from cloudfree.restoration.inpainting import Inpainting
from cloudfree.restoration.restore import PairModel, run_batch
from cloudfree.restoration.rims import fit_rims
from cloudfree.walk.hiding import FEWEST_PIXELS, borrow_cloud, draw_over

_MOST_WINDOWS = 12
"""Of the sample, evenly spread over those that show enough."""
_SEEN_SHARE = 0.1
"""A window that shows less says little."""
_CLOUDY = (0.05, 0.95)
"""Hidden share of a window that clouds are taken from; the more, the oftener it is taken."""
_MARGIN_SHARE = 1 / 8
"""Of a window, on each side: there other windows decide, which see more."""
_FEWEST_WINDOWS = 3
"""With fewer that say something nothing is measured."""
_GAIN_DB = 0.3
"""A network must be better than the best fill by this much."""
_SEED = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What makes the pixels of a scene that no other day saw, and what was measured."""

    maker: str
    """Name of the network, ``baseline`` or ``inpainting``."""
    why: str
    """In one line."""
    rmse: dict[str, float]
    """Maker -> root mean square error of hidden pixels, mean over bands, in reflectance numbers;
    empty where too little was seen to measure."""
    windows: int
    """In which pixels were hidden."""
    pixels: int
    """So many."""
    colour: tuple[float, ...]
    """(band,) reflectance number of what was seen, on average: what an inpainting begins with."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Choice:
        """Return the choice that ``dataclasses.asdict`` made plain values."""
        return cls(**{**values, "colour": tuple(values["colour"])})

    @property
    def smallest_rmse(self) -> float:
        """Of what makes the pixels; NaN where nothing was measured."""
        return self.rmse.get(self.maker, float("nan"))

    def describe(self) -> dict[str, Any]:
        """Return what run.json says."""
        return {
            "maker": self.maker,
            "why": self.why,
            "psnr_db": {name: round(_psnr_db(error), 2) for name, error in self.rmse.items()},
            "windows": self.windows,
            "pixels": self.pixels,
        }


def _psnr_db(rmse: float) -> float:
    return float(20 * np.log10(WHITE / max(rmse, 1e-3)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hidden:
    """A window of which seen pixels are hidden."""

    truth: Observation
    """What is there."""
    clouded: Observation
    """What is shown."""
    judged: BoolArray
    """(y, x): the hidden pixels that count."""


def choose_maker(sample: list[Observation], makers: Mapping[str, PairModel]) -> Choice:
    """Return which of the makers, fitted to the scene, serves best; fills are always among them.

    The network of the lowest error is chosen only if it beats the best fill by 0.3 dB, both in the
    mean of the windows' differences and pooled over their pixels; else that fill is. Where fewer
    than three windows can be judged the first fill is chosen.
    """
    windows = _hide(sample, next(iter(makers.values())).model.contract.window_px)
    counts = np.array([np.count_nonzero(one.judged) for one in windows], np.float64)
    fills = [name for name in FILLS if name in makers]
    maker, rmse = fills[0], {}
    if len(windows) < _FEWEST_WINDOWS:
        why = f"too little is seen to measure: {len(windows)} windows"
    else:
        errors = {
            name: np.array([_square_error(pair, one) for one in windows])
            for name, pair in makers.items()
        }
        maker, why = _decide(errors, counts, fills)
        rmse = {name: float(np.sqrt(_pool(one, counts))) for name, one in errors.items()}
    return Choice(
        maker=maker,
        why=why,
        rmse=rmse,
        windows=len(windows),
        pixels=int(counts.sum()),
        colour=_find_colour(makers[INPAINTING]),
    )


def _decide(
    errors: dict[str, Float64Array], counts: Float64Array, fills: list[str]
) -> tuple[str, str]:
    """Return the maker and why, of mean square errors (window,) of hidden pixels."""
    pooled = {name: _pool(one, counts) for name, one in errors.items()}
    fill = min(fills, key=lambda name: pooled[name])
    networks = [name for name in errors if name not in fills]
    if not networks:
        others = [name for name in fills if name != fill]
        return fill, f"{fill} is better than {others[0]}" if others else "there is no radar"
    network = min(networks, key=lambda name: pooled[name])
    gains = 10 * np.log10(np.maximum(errors[fill], 1e-6) / np.maximum(errors[network], 1e-6))
    gain = min(float(gains.mean()), float(10 * np.log10(pooled[fill] / pooled[network])))
    if gain >= _GAIN_DB:
        return network, f"{network} is better than {fill} by {gain:.1f} dB"
    return fill, f"{network} is not {_GAIN_DB} dB better than {fill}: {gain:+.1f} dB"


def _pool(errors: Float64Array, counts: Float64Array) -> float:
    """Return the mean over pixels of means over windows."""
    return max(float((errors * counts).sum() / counts.sum()), 1e-6)


def _find_colour(inpainting: PairModel) -> tuple[float, ...]:
    """Return (band,) the reflectance numbers of an inpainting's colour, bands as in the product."""
    assert isinstance(inpainting.model, Inpainting)
    picture = np.array(inpainting.model.colour, np.float32)[:, None, None]
    return tuple(float(one) for one in from_picture(picture, inpainting.optical).ravel())


def _hide(sample: list[Observation], window_px: int) -> list[_Hidden]:
    """Return the windows that are judged; samples of a cube smaller than a window are not."""
    whole = (window_px, window_px)
    there = [one for one in sample if one.masks.seen.shape == whole]
    known = [one.has_radar for one in there]
    any_radar = any(one.any() for one in known)
    usable = [
        one.masks.seen & radar if any_radar else one.masks.seen
        for one, radar in zip(there, known, strict=True)
    ]
    shown = [index for index, where in enumerate(usable) if where.mean() >= _SEEN_SHARE]
    cloudy = np.array([one.masks.made.mean() for one in there])
    cloudy[(cloudy < _CLOUDY[0]) | (cloudy > _CLOUDY[1])] = 0
    spread = np.linspace(0, len(shown) - 1, min(_MOST_WINDOWS, len(shown))).astype(int)
    middle = np.zeros(whole, bool)
    margin = int(window_px * _MARGIN_SHARE)
    middle[margin:-margin, margin:-margin] = True
    windows = []
    for index in (shown[i] for i in spread):
        rng = np.random.default_rng([_SEED, index])
        weight = np.where(np.arange(len(there)) == index, 0, cloudy)
        if weight.any():
            other = there[int(rng.choice(len(there), p=weight / weight.sum()))]
            axes = MIRRORS[int(rng.integers(len(MIRRORS)))]
            hidden, clouded = borrow_cloud(there[index], other, axes, (0, 0))
        else:
            hidden, clouded = draw_over(there[index], int(rng.integers(2**31)))
        judged = hidden & usable[index] & middle
        if np.count_nonzero(judged) >= FEWEST_PIXELS:
            windows.append(_Hidden(truth=there[index], clouded=clouded, judged=judged))
    return windows


def _square_error(pair: PairModel, window: _Hidden) -> float:
    """Return the mean square error of what a maker makes of a window's hidden pixels."""
    whole = (slice(None), slice(None))
    candidate = run_batch(window.clouded, [whole], pair, with_signs=False)[0]
    covered = window.clouded.has_radar | (not pair.model.contract.needs_radar)
    low, high = (
        np.array(limit, np.float32)[:, None, None]
        for limit in (pair.optical.low, pair.optical.high)
    )
    done = fit_rims(
        window.clouded.reflectance,
        window.clouded.masks,
        candidate=candidate,
        covered=covered,
        limits=(low, high),
        origin=(0, 0),
    )
    missed = done.reflectance.astype(np.float64) - window.truth.reflectance
    return float(np.mean(missed[:, window.judged] ** 2))
