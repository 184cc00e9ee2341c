"""Compare what `auto` measures on hidden seen pixels with the truth under the real clouds.

python tests/bench/score_choice.py [--seeds 1,2,0] [--cloud 0.12,0.12,0.27]: painted scenes of
1024 x 768 px, whose truth is known. Both are PSNR (peak 3558) of each maker in the inner part of
windows, fitted at the rims; a line a scene, with the difference of network and regression. Takes a
minute a scene.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.ndimage import binary_dilation

from cloudfree.core.bands import WHITE
from cloudfree.core.config import RadiometrySettings
from cloudfree.core.types import Masks
from cloudfree.pixels.observation import Observation
from cloudfree.restoration.auto import Auto
from cloudfree.restoration.bundle import open_bundle
from cloudfree.restoration.restore import run_batch
from cloudfree.restoration.rims import fit_rims
from cloudfree.synthetic.landscape import paint_landscape
from cloudfree.walk.measure import learn_pair

BANDS = ("B02", "B03", "B04")
SIDE, MARGIN = 256, 32
DILATION_PX = 10
WHOLE = (slice(None), slice(None))


def observe(numbers: np.ndarray, decibel: np.ndarray, hidden: np.ndarray) -> list[Observation]:
    """Return the windows of a picture, side by side."""
    windows = []
    for top in range(0, hidden.shape[0], SIDE):
        for left in range(0, hidden.shape[1], SIDE):
            part = (slice(top, top + SIDE), slice(left, left + SIDE))
            scene = np.ones((SIDE, SIDE), np.uint16)
            windows.append(
                Observation(
                    reflectance=numbers[:, *part],
                    masks=Masks(seen=~hidden[part], made=hidden[part]),
                    decibel=decibel[:, *part],
                    optical_scene=scene,
                    radar_scene=scene,
                )
            )
    return windows


def score(seed: int, cloud_share: float, model: Auto) -> str:
    """Return a scene's line."""
    land = paint_landscape(np.random.default_rng(seed), (768, 1024), cloud_share)
    cloudy, clear = (
        np.rint(picture[: len(BANDS)] * 1e4).astype(np.uint16)
        for picture in (land.cloudy, land.clear)
    )
    hidden = np.isin(land.classes, (3, 8, 9, 10)).repeat(2, 0).repeat(2, 1)
    y, x = np.mgrid[-DILATION_PX : DILATION_PX + 1, -DILATION_PX : DILATION_PX + 1]
    hidden = binary_dilation(hidden, y**2 + x**2 <= DILATION_PX**2)
    decibel = (10 * np.log10(land.power[:1])).astype(np.float32)
    sample, truth = (observe(one, decibel, hidden) for one in (cloudy, clear))
    settings = RadiometrySettings()
    statistics = learn_pair(sample, model, BANDS, settings)
    assert statistics.choice is not None
    said = statistics.choice.describe()["psnr_db"]
    true = {}
    for name, maker in model.makers(BANDS, with_radar=True).items():
        pair = learn_pair(sample, maker, BANDS, settings).pair(maker, BANDS)
        low, high = (
            np.array(limit, np.float32)[:, None, None]
            for limit in (pair.optical.low, pair.optical.high)
        )
        squares = []
        for shown, real in zip(sample, truth, strict=True):
            made = fit_rims(
                shown.reflectance,
                shown.masks,
                candidate=run_batch(shown, [WHOLE], pair, with_signs=False)[0],
                covered=np.ones((SIDE, SIDE), bool),
                limits=(low, high),
                origin=(0, 0),
            ).reflectance
            missed = (made.astype(np.float64) - real.reflectance) ** 2
            inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
            squares.append(missed[:, *inner][:, shown.masks.made[inner]].ravel())
        true[name] = float(10 * np.log10(WHITE**2 / np.concatenate(squares).mean()))
    gains = [f"{one['small'] - one['baseline']:+.2f}" for one in (said, true) if one]
    rounded = {name: round(one, 2) for name, one in true.items()}
    return (
        f"seed {seed}, cloud {cloud_share}: said {said}, true {rounded}, small - baseline {gains}"
    )


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1,2,0")
    parser.add_argument("--cloud", default="0.12,0.12,0.27")
    arguments = parser.parse_args()
    model = open_bundle("auto").load()
    assert isinstance(model, Auto)
    for seed, share in zip(arguments.seeds.split(","), arguments.cloud.split(","), strict=True):
        print(score(int(seed), float(share), model), flush=True)


if __name__ == "__main__":
    main()
