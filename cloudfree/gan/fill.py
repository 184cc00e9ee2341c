"""What the cloud-removal network sees in place of hidden pixels, the same in training and in runs.

The paper leaves the cloud there. The other fills are the best guess without a network, which the
network then only has to improve on. All pictures are (batch, band, y, x) in [-1, 1].
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Fill = Literal["cloud", "mean", "inpaint", "regression"]
"""``cloud``: the cloudy picture as it is (the paper). ``mean``: the mean of the window's seen
pixels. ``inpaint``: seen colours spread into the gap. ``regression``: least squares of seen colours
on the guides (translated picture, smoothed radar), plus its error spread into the gap."""

RemovalFill = Literal[Fill, "reference"]
"""What GAN2 may ask for. ``reference``: the estimate of other days, which then counts as seen; what
they do not know either is filled as by ``regression``."""

RIDGE = 0.01
"""Weight of "change nothing" in the regression, as a share of the window's pixels."""
RADII_PX = (1, 4, 12)
"""The radar is smoothed this much for the regression."""
SPREAD = 0.05
"""How little seen area of a coarse pixel outweighs what its neighbourhood says."""


def fill_hidden(
    cloudy: Tensor, seen: Tensor, guides: Tensor, fill: Fill, prior: Tensor | None = None
) -> Tensor:
    """Return the picture with all that is not ``seen`` filled; seen pixels are unchanged.

    ``seen`` (batch, 1, y, x) is True where the ground shows. ``guides`` (batch, n, y, x) are
    known everywhere. ``prior`` is the guess that stands where nothing was seen: 0 if not given.
    """
    if fill not in get_args(Fill):
        raise ValueError(f"no fill is called {fill!r}. Choose one of {', '.join(get_args(Fill))}.")
    if fill == "cloud":
        return cloudy
    share = seen.to(cloudy.dtype)
    if fill == "mean":
        count = share.sum((2, 3), keepdim=True).clamp(min=1)
        guess = ((cloudy * share).sum((2, 3), keepdim=True) / count).expand_as(cloudy)
    elif fill == "inpaint":
        guess = spread(cloudy, share)
    else:
        start = torch.zeros_like(cloudy) if prior is None else prior
        guess = start + regress(cloudy - start, share, guides)
        guess = guess + spread(cloudy - guess, share)
    return torch.where(seen, cloudy, guess.clamp(-1, 1))


def radar_guides(radar: Tensor) -> Tensor:
    """Return what colour is regressed on: the radar (n, channel, y, x) smoothed, its squares."""
    smoothed = [smooth(radar, radius) for radius in RADII_PX]
    return torch.cat([*smoothed, *(picture**2 for picture in smoothed)], dim=1)


def regress(target: Tensor, seen: Tensor, guides: Tensor) -> Tensor:
    """Return least squares of ``target`` on 1 and ``guides``, fitted per window where ``seen``.

    A ridge pulls the answer to 0, fully where nothing was seen.
    """
    batch, bands, height, width = target.shape
    ones = torch.ones_like(guides[:, :1])
    design = torch.cat([ones, guides], dim=1).flatten(2).double()
    weighted = design * seen.flatten(2)
    normal = weighted @ design.transpose(1, 2)
    ridge = RIDGE * height * width * torch.eye(normal.shape[-1], dtype=normal.dtype)
    right = weighted @ target.flatten(2).double().transpose(1, 2)
    weights = torch.linalg.solve(normal + ridge.to(normal.device), right)
    fitted: Tensor = weights.transpose(1, 2) @ design
    return fitted.to(target.dtype).view(batch, bands, height, width)


def spread(values: Tensor, seen: Tensor) -> Tensor:
    """Return a smooth picture that follows ``values`` where ``seen`` is 1 and goes on between.

    Pull and push over a pyramid of halves (Gortler et al. 1996): hidden pixels take the mean of
    ever wider neighbourhoods until something was seen; 0 where nothing was.
    """
    sums, weights = [values * seen], [seen]
    while min(sums[-1].shape[-2:]) > 1:
        sums.append(functional.avg_pool2d(sums[-1], 2))
        weights.append(functional.avg_pool2d(weights[-1], 2))
    filled = sums[-1] / (weights[-1] + SPREAD)
    for total, weight in zip(sums[-2::-1], weights[-2::-1], strict=True):
        coarse = _enlarge(_enlarge(filled, total.shape[-2], dim=-2), total.shape[-1], dim=-1)
        filled = (total + SPREAD * coarse) / (weight + SPREAD)
    return filled


def _enlarge(picture: Tensor, size: int, *, dim: int) -> Tensor:
    """Return the picture linearly interpolated to ``size`` pixels along ``dim``, edges held.

    torch's own interpolation rounds differently with another number of threads.
    """
    last = picture.shape[dim] - 1
    where = (torch.arange(size, dtype=torch.float64) + 0.5) * ((last + 1) / size) - 0.5
    where = where.clamp(0, last)
    before = where.long()
    share = (where - before).to(picture.dtype).to(picture.device)
    share = share.view(-1, *[1] * (-1 - dim))
    low, high = (
        picture.index_select(dim, index.to(picture.device))
        for index in (before, (before + 1).clamp(max=last))
    )
    return low * (1 - share) + high * share


def smooth(picture: Tensor, radius_px: int) -> Tensor:
    """Return the picture under two box means of side 2 * radius + 1, cut at the edges."""
    side = 2 * radius_px + 1
    for _ in range(2):
        for kernel, pad in (((side, 1), (radius_px, 0)), ((1, side), (0, radius_px))):
            picture = functional.avg_pool2d(picture, kernel, 1, pad, count_include_pad=False)
    return picture
