"""Row 8 of the walk: cloud detectors, for scenes without a scene classification (Level-1C).

Neither finds the shadows of clouds. Judged by tests/bench/score_detectors.py on the cloud masks of
ten SEN12MS-CR patches and of Jiangsu, which no threshold was chosen on. "Let through" and "clear
hidden" are after specks are dropped and 100 m of dilation, as in a product: the share of the mask
that passes for ground, and the share of what is no brighter than its clear twin (by 0.04) that is
hidden.

==========  ========================  =========  ======  ====  ===========  ============
data        detector                  precision  recall  IoU   let through  clear hidden
==========  ========================  =========  ======  ====  ===========  ============
SEN12MS-CR  thresholds, six bands     0.91       0.89    0.82  0.006        0.25
SEN12MS-CR  thresholds, B02 and B04   0.99       0.62    0.61  0.22         0.15
SEN12MS-CR  s2cloudless 1.7.3         0.85       0.99    0.85  0.000        0.39
Jiangsu     thresholds, six bands     1.00       0.69    0.69  0.015        0.45
Jiangsu     s2cloudless 1.7.3         0.61       0.99    0.61  0.000        1.00
==========  ========================  =========  ======  ====  ===========  ============

So thresholds are the default: s2cloudless misses less, hides much more, and takes 10 to 20 us a
pixel on two cores, which is minutes a chunk.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from cloudfree.core.bands import SCENE_CLASSIFICATION
from cloudfree.core.config import MaskSettings
from cloudfree.core.errors import NoSceneError, SettingsError
from cloudfree.core.types import BoolArray, CloudDetector, Float32Array
from cloudfree.scenes.scene import Scene

_HAZE = 0.12
"""Haze-optimised transformation B02 - 0.5 B04 (Zhang et al. 2002, RSE 82, 173-187). Fmask asks for
0.08 among other tests (Zhu and Woodcock 2012, RSE 118, 83-94). On 22 cloudy/clear pairs of
Level-1C that alone takes most of the clear twins for cloud; 0.12 has the best IoU there, 0.91."""
_CIRRUS = 0.01
"""B10 sees high cloud only, the air below is opaque in it (Zhu et al. 2015, RSE 159, 269-277)."""
_SNOW_NDSI, _SNOW_NIR = 0.4, 0.11
"""Snow is bright in B03 and B08 and dark in B11 (Hall et al. 1995, RSE 54, 127-140)."""
_HAZE_BANDS, _SNOW_BANDS = ("B02", "B04"), ("B03", "B08", "B11")
_TESTED_BANDS = ("B02", "B03", "B04", "B08", "B10", "B11")
_PROBABILITY = 0.4
"""What s2cloudless's authors take for cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Published tests of single pixels: haze, not snow; or cirrus.

    With B02 and B04 alone snow passes for cloud, and so does a bright city under haze: 95 % of the
    clear scene of Los Angeles. Thresholds are of Level-1C; on Level-2A thin cloud is missed.
    """

    bands: tuple[str, ...]
    """B02 and B04 at least; B10 finds cirrus, B03, B08 and B11 together tell snow apart."""

    @property
    def name(self) -> str:
        """With its bands: what they are changes the answer."""
        return f"thresholds of {' '.join(self.bands)}"

    def __call__(self, reflectance: Float32Array) -> BoolArray:
        """Return (y, x): True where cloud hides the ground or some of it."""
        band = dict(zip(self.bands, reflectance, strict=True))
        cloud: BoolArray = band["B02"] - 0.5 * band["B04"] > _HAZE
        if set(_SNOW_BANDS) <= set(self.bands):
            # the index as a product: no division by a dark pixel
            snow = band["B03"] - band["B11"] >= _SNOW_NDSI * (band["B03"] + band["B11"])
            cloud &= ~(snow & (band["B08"] > _SNOW_NIR))
        if "B10" in self.bands:
            cloud |= band["B10"] > _CIRRUS
        return cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class S2Cloudless:
    """Sentinel Hub's s2cloudless: trees over ten bands of Level-1C, each pixel for itself.

    Its averaging and dilation are left out: masks.hidden_pixels drops specks and dilates.
    Compared with others in Skakun et al. 2022, RSE 274, 112990.
    """

    bands: tuple[str, ...] = (
        "B01", "B02", "B04", "B05", "B08", "B8A", "B09", "B10", "B11", "B12",
    )  # fmt: skip
    """In the order the trees know."""

    @property
    def name(self) -> str:
        """With the version of the package."""
        return f"s2cloudless {version('s2cloudless')}"

    def __call__(self, reflectance: Float32Array) -> BoolArray:
        """Return (y, x): True where the probability of cloud is above 0.4."""
        pixels = np.moveaxis(reflectance, 0, -1)[None]
        probability = _trees().get_cloud_probability_maps(pixels)[0]
        cloud: BoolArray = probability > _PROBABILITY
        return cloud


@functools.lru_cache(maxsize=1)
def _trees() -> Any:
    from s2cloudless import S2PixelCloudDetector

    return S2PixelCloudDetector(average_over=None, dilation_size=None)


def needs_detector(scene: Scene, settings: MaskSettings) -> bool:
    """Return whether a scene's clouds are found from its bands."""
    return settings.source == "detector" or scene.href(SCENE_CLASSIFICATION) is None


def choose_detector(scene: Scene, settings: MaskSettings) -> CloudDetector:
    """Return the detector that the settings name, for the bands that the scene has.

    Raises NoSceneError where it lacks them, SettingsError where a package is missing.
    """
    if settings.detector == "s2cloudless":
        return _choose_s2cloudless(scene)
    bands = tuple(band for band in _TESTED_BANDS if scene.href(band) is not None)
    if not set(_HAZE_BANDS) <= set(bands):
        raise NoSceneError(
            f"scene {scene.id} has neither a scene classification nor B02 and B04 to find its "
            f"clouds from; it has {', '.join(scene.hrefs)}. Choose another date"
        )
    if not set(_SNOW_BANDS) <= set(bands):
        bands = tuple(band for band in bands if band in (*_HAZE_BANDS, "B10"))
    return Thresholds(bands=bands)


def _choose_s2cloudless(scene: Scene) -> S2Cloudless:
    detector = S2Cloudless()
    if find_spec("s2cloudless") is None:
        raise SettingsError(
            "detector is s2cloudless, which is not installed; give thresholds, or install it "
            "with: pip install 'cloudfree[detect]'"
        )
    lacking = [band for band in detector.bands if scene.href(band) is None]
    if lacking:
        raise NoSceneError(
            f"scene {scene.id} has no {', '.join(lacking)} for the detector s2cloudless; "
            "give thresholds or a mask file"
        )
    return detector


def describe_mask(scene: Scene, settings: MaskSettings) -> str:
    """Return what says which pixels of a scene are hidden, where no mask file does."""
    if needs_detector(scene, settings):
        return choose_detector(scene, settings).name
    return SCENE_CLASSIFICATION
