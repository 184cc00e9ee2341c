"""Sample sheets: what the network makes of a few pictures, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from cloudfree.core.bands import choose_shown
from cloudfree.core.contract import POLARIZATIONS


def write_sheet(
    path: Path, columns: list[Tensor], bands: tuple[str, ...], *, side_px: int = 192
) -> None:
    """Write a PNG with one row per picture and one column per kind of picture.

    Each column is (picture, channel, y, x) in [-1, 1], of ``bands``, of radar or a mask; pictures
    are shown as ``bands.choose_shown`` says, others by their channels in order.
    """
    rows = []
    for index in range(len(columns[0])):
        tiles = []
        for column in columns:
            count = column.shape[1]
            shown = choose_shown(bands if count == len(bands) else POLARIZATIONS[:count])
            picture = column[index, shown].float().cpu().permute(1, 2, 0).numpy()
            eight_bit = np.clip((picture + 1) * 127.5, 0, 255).astype(np.uint8)
            tiles.append(np.asarray(Image.fromarray(eight_bit).resize((side_px, side_px))))
        rows.append(np.concatenate(tiles, axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)
