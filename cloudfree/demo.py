"""The demo: a run on a synthetic pair of scenes, scored against what the clouds hide."""

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
from cloudfree.core.source import SEEN, is_made
from cloudfree.core.types import Float64Array
from cloudfree.engine.pipeline import Outcome, run
from cloudfree.geometry.sampling import locate, take_nearest
from cloudfree.planning.plan import Request
from cloudfree.scenes.harmonisation import SINCE_0400_DN
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.scenes import BANDS, Pass, SyntheticScenes, write_scenes

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


def run_demo(
    folder: Path, *, seed: int, settings: RunSettings, progress: Progress | None = None
) -> Demo:
    """Write synthetic scenes to ``folder/scenes``, run on them into ``folder/product``, score."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "scenes").is_dir():
        raise OutputError(f"{folder} holds other files; give another folder")
    scenes = write_scenes(folder / "scenes", seed=seed, passes=PASSES)
    request = Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items), settings=settings)
    outcome = run(request, open_storage(folder / "product"), overwrite=True, progress=progress)
    psnr, mean_colour = _score(folder / "product", scenes, settings.grid.bands)
    return Demo(outcome=outcome, scenes=scenes, psnr_db=psnr, mean_colour_psnr_db=mean_colour)


def _score(product: Path, scenes: SyntheticScenes, bands: tuple[str, ...]) -> tuple[float, float]:
    """Return the PSNR in dB under cloud, of the product and of mean colour."""
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
    truth = np.maximum(stored.astype(np.float64) + SINCE_0400_DN, 1)
    where = is_made(source)
    mean = np.array([band[source == SEEN].mean() for band in made])
    return (
        _psnr(made[:, where] - truth[:, where]),
        _psnr(mean[:, None] - truth[:, where]),
    )


def _psnr(error: Float64Array) -> float:
    return float(10 * np.log10(WHITE**2 / np.mean(error**2)))
