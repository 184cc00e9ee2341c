"""The demo: a run on a synthetic place of several days, scored against what the clouds hide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox

from cloudfree.core.bands import WHITE
from cloudfree.core.config import RunSettings
from cloudfree.core.errors import OutputError
from cloudfree.core.progress import Progress
from cloudfree.core.source import OTHER_DAYS, RECONSTRUCTED, SEEN, is_made
from cloudfree.core.types import Float64Array, UInt8Array
from cloudfree.engine.pipeline import Outcome, run
from cloudfree.geometry.sampling import locate, take_nearest
from cloudfree.planning.plan import Request
from cloudfree.scenes.harmonisation import SINCE_0400_DN
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.items import BANDS
from cloudfree.synthetic.scenes import Pass, SyntheticScenes, write_scenes

PASSES = tuple(
    Pass(days=days, cloud_share=share)
    for days, share in ((-25, 0.15), (-15, 0.4), (-5, 0.3), (5, 0.35), (10, 0.25), (20, 0.15))
)
"""Other days on which the demo's place is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo made."""

    outcome: Outcome
    """The run."""
    scenes: SyntheticScenes
    """Its input."""
    psnr_db: float
    """PSNR of made pixels against the hidden ground; the peak is 0.3558."""
    mean_colour_psnr_db: float
    """The same for each band's mean colour of the seen pixels."""
    psnr_db_by_source: dict[int, float]
    """The same for the made pixels of each code of ``source`` that is there."""


def run_demo(
    folder: Path, *, seed: int, settings: RunSettings, progress: Progress | None = None
) -> Demo:
    """Write synthetic scenes to ``folder/scenes``, run on them into ``folder/product``, score."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "scenes").is_dir():
        raise OutputError(f"{folder} holds other files; give another folder")
    scenes = write_scenes(folder / "scenes", seed=seed, passes=PASSES)
    request = Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items), settings=settings)
    outcome = run(request, open_storage(folder / "product"), overwrite=True, progress=progress)
    made, truth, source = _read(folder / "product", scenes, settings.grid.bands)
    mean = np.array([band[source == SEEN].mean() for band in made])[:, None, None]
    return Demo(
        outcome=outcome,
        scenes=scenes,
        psnr_db=_psnr((made - truth)[:, is_made(source)]),
        mean_colour_psnr_db=_psnr((mean - truth)[:, is_made(source)]),
        psnr_db_by_source={
            code: _psnr((made - truth)[:, source == code])
            for code in (OTHER_DAYS, RECONSTRUCTED)
            if (source == code).any()
        },
    )


def _read(
    product: Path, scenes: SyntheticScenes, bands: tuple[str, ...]
) -> tuple[Float64Array, Float64Array, UInt8Array]:
    """Return numbers of the product and of the truth, (band, y, x), and ``source``, (y, x)."""
    with rasterio.open(product / f"{scenes.date}_reflectance.tif") as file:
        made = file.read().astype(np.float64)
        grid = GeoBox(file.shape, file.transform, file.crs.to_wkt())
    with rasterio.open(product / f"{scenes.date}_source.tif") as file:
        source = file.read(1)
    with rasterio.open(scenes.truth) as file:
        positions = locate(grid, file.crs.to_wkt(), file.transform)
        numbers = [BANDS.index(band) + 1 for band in bands]
        hidden = file.read(numbers)
    stored = np.stack([take_nearest(band, positions, (0, 0), 0) for band in hidden])
    return made, np.maximum(stored.astype(np.float64) + SINCE_0400_DN, 1), source


def _psnr(error: Float64Array) -> float:
    return float(10 * np.log10(WHITE**2 / np.mean(error**2)))
