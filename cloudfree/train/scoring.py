"""Scores on whole validation windows, beside baselines, as means over pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloudfree.core.types import BoolArray, Float32Array
from cloudfree.restoration.metrics import mae, psnr, sam, ssim
from cloudfree.synthetic.clouds import Cloud, CloudSettings, lay_sky, make_sky
from cloudfree.train.batches import Batch, grow
from cloudfree.train.pairs import Half, Pair

MADE_GROWTH_PX = 5
"""A mask is a little larger than a drawn cloud, as a detector's is after dilation."""
REAL_GROWTH_PX = 10
"""Masks of real clouds are dilated by 100 m, as in a run."""

Scores = dict[str, dict[str, float]]
"""Set of pictures -> name of the figure -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One picture to be judged on."""

    group: str
    """The set it belongs to."""
    radar: Tensor
    """(channel, y, x)."""
    truth: Tensor
    """(band, y, x)."""
    cloudy: Tensor | None = None
    """(band, y, x)."""
    made: Tensor | None = None
    """(1, y, x): True where it may be made."""
    under_cloud: BoolArray | None = None
    """(y, x): True where "cloudy" figures are taken."""
    opaque: BoolArray | None = None
    """(y, x): True under drawn cloud that nothing shows through; unknown of real cloud."""
    translated: Tensor | None = None
    """(band, y, x): GAN1's picture."""


def make_windows(
    windows: Sequence[Pair],
    *,
    clouds: CloudSettings | None = None,
    library: Sequence[Cloud] = (),
    translated: Mapping[str, Half] | None = None,
    seed: int = 0,
) -> list[Window]:
    """Return windows to judge on; with ``clouds``, under real cloud or a sky drawn by ``seed``."""
    made_windows = []
    for index, pair in enumerate(windows):
        truth = pair.optical.astype(np.float32)
        cloudy: Float32Array | None = None
        made: BoolArray | None = None
        under_cloud: BoolArray | None = None
        opaque: BoolArray | None = None
        if clouds is not None:
            if pair.cloudy is not None and pair.made is not None:
                cloudy, under_cloud = pair.cloudy.astype(np.float32), pair.made
                made = grow(pair.made, REAL_GROWTH_PX)
            else:
                shape = (truth.shape[1], truth.shape[2])
                sky = make_sky(shape, len(truth), clouds, library, seed=seed, index=index)
                cloudy = lay_sky(truth, sky, pair.low_dn, pair.high_dn)
                made = grow(sky.hidden, MADE_GROWTH_PX)
                under_cloud, opaque = sky.cloudy, sky.opaque
        made_windows.append(
            Window(
                group=pair.kind,
                radar=torch.from_numpy(pair.radar.astype(np.float32)),
                truth=torch.from_numpy(truth),
                cloudy=None if cloudy is None else torch.from_numpy(cloudy),
                made=None if made is None else torch.from_numpy(made)[None],
                under_cloud=under_cloud,
                opaque=opaque,
                translated=None
                if translated is None
                else torch.from_numpy(translated[pair.name].astype(np.float32)),
            )
        )
    return made_windows


def join(windows: Sequence[Window]) -> Batch:
    """Return validation windows as a batch."""
    radar = torch.stack([window.radar for window in windows])
    nothing = torch.zeros(len(windows), 0, *radar.shape[2:])

    def stack(layers: list[Tensor | None]) -> Tensor:
        given = [layer for layer in layers if layer is not None]
        return torch.stack(given) if given else nothing

    return Batch(
        radar=radar,
        truth=torch.stack([window.truth for window in windows]),
        valid=torch.ones_like(radar[:, :1], dtype=torch.bool),
        has_colour=torch.ones(len(windows), 1, 1, 1, dtype=torch.bool),
        cloudy=stack([window.cloudy for window in windows]),
        made=stack([window.made for window in windows]).bool(),
        translated=stack([window.translated for window in windows]),
    )


def score(windows: Sequence[Window], restore: Callable[[list[Window]], Tensor]) -> Scores:
    """Return per group the mean of each figure over its pictures.

    ``restore`` gives candidates (n, band, y, x) for a few windows. PSNR has MAX = 2, the full range
    of [-1, 1]; SSIM, MAE and the spectral angle (degrees) are taken on [0, 1]. Figures that a
    picture does not have (no cloudy pixel) are left out of its mean.
    """
    groups: dict[str, list[dict[str, float]]] = defaultdict(list)
    for window, figures in zip(windows, judge_each(windows, restore), strict=True):
        groups[window.group].append(figures)
    return {group: average(figures) for group, figures in groups.items()}


@torch.no_grad()
def judge_each(
    windows: Sequence[Window], restore: Callable[[list[Window]], Tensor]
) -> list[dict[str, float]]:
    """Return the figures of each picture; see ``score``."""
    figures = []
    for first in range(0, len(windows), 8):
        few = list(windows[first : first + 8])
        restored = restore(few).float().cpu().numpy()
        figures += [judge(picture, window) for picture, window in zip(restored, few, strict=True)]
    return figures


def average(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over pictures that have it, and ``n``, how many there are."""
    names = dict.fromkeys(name for each in figures for name in each)
    means = {}
    for name in names:
        values = [each[name] for each in figures if np.isfinite(each.get(name, np.nan))]
        if values:
            means[name] = float(np.mean(values))
    return {**means, "n": float(len(figures))}


def judge(candidate: Float32Array, window: Window) -> dict[str, float]:
    """Return the figures of one picture."""
    truth = window.truth.numpy()
    x, y = (candidate + 1) / 2, (truth + 1) / 2
    figures = {
        "psnr": psnr(x, y, 1.0),
        "ssim": ssim(x, y, 1.0),
        "mae": mae(x, y),
        "sam": sam(x, y),
    }
    if window.under_cloud is not None:
        figures["psnr_cloudy"] = psnr(x, y, 1.0, window.under_cloud)
        figures["psnr_clear"] = psnr(x, y, 1.0, ~window.under_cloud)
    if window.opaque is not None:
        figures["psnr_opaque"] = psnr(x, y, 1.0, window.opaque)
    return figures
