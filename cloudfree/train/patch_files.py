"""Reader of the patches that ``cloudfree patches`` cuts from a user's own scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cloudfree.core.contract import Channels
from cloudfree.core.types import AnyArray
from cloudfree.train.pairs import Pair, pick_channels

PATCH_LAYERS = (
    "optical", "radar", "bands", "polarizations", "low_dn", "high_dn", "scene", "place",
)  # fmt: skip
"""What is used of a file that ``cloudfree patches`` wrote."""


def read_patch(path: Path, channels: Channels) -> Pair:
    """Return what ``cloudfree patches`` wrote; ValueError or TypeError for anything else."""
    patch = _load_layers(path)
    bands, polarizations = (
        [str(name) for name in patch[names].ravel()] for names in ("bands", "polarizations")
    )
    optical, radar = patch["optical"], patch["radar"]
    picked = pick_channels(channels, bands, polarizations)
    for name, shape in (
        ("optical", optical.shape[:1]),
        ("low_dn", patch["low_dn"].shape),
        ("high_dn", patch["high_dn"].shape),
    ):
        if shape != (len(bands),):
            raise ValueError(f"{name} is of {shape} bands, {len(bands)} are named")
    if optical.ndim != 3 or radar.shape != (len(polarizations), *optical.shape[1:]):
        raise ValueError(
            f"radar is {radar.shape}, optical {optical.shape}, of {', '.join(polarizations)}"
        )
    if not np.isfinite(optical).all() or not np.isfinite(radar).all():
        raise ValueError("some pixels are not finite")
    return Pair(
        name=f"{patch['scene']}_{path.stem}",
        scene=str(patch["scene"]),
        kind="patches",
        radar=radar[picked.radar].astype(np.float16),
        optical=optical[picked.bands].astype(np.float16),
        low_dn=patch["low_dn"][picked.bands].astype(np.float32),
        high_dn=patch["high_dn"][picked.bands].astype(np.float32),
        place=str(patch["place"]),
    )


def _load_layers(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of a patch; ValueError where one is missing or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            layers = dict(file)
    except Exception as error:  # of a damaged file: from zlib.error to SyntaxError
        raise ValueError(f"it cannot be read: {' '.join(str(error).split())}") from error
    missing = [name for name in PATCH_LAYERS if name not in layers]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return layers
