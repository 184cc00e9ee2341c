"""Cloud detectors: pixels whose kind is known, and which detector a scene gets."""

import datetime as dt
from importlib.util import find_spec

import numpy as np
import pytest
import shapely

from cloudfree.core.config import MaskSettings
from cloudfree.core.errors import NoSceneError, SettingsError
from cloudfree.core.types import CloudDetector
from cloudfree.pixels import detectors
from cloudfree.pixels.detectors import (
    S2Cloudless,
    Thresholds,
    choose_detector,
    describe_mask,
    needs_detector,
)
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene

SIX = ("B02", "B03", "B04", "B08", "B10", "B11")
KINDS = {  # reflectance of Level-1C in the order of SIX, and whether it is cloud
    "forest": ((0.09, 0.07, 0.04, 0.25, 0.001, 0.12), False),
    "water": ((0.10, 0.08, 0.05, 0.03, 0.001, 0.01), False),
    "dry soil": ((0.16, 0.19, 0.25, 0.32, 0.002, 0.40), False),
    "sand": ((0.25, 0.33, 0.42, 0.48, 0.002, 0.55), False),
    "snow": ((0.80, 0.79, 0.78, 0.75, 0.002, 0.10), False),
    "cumulus": ((0.55, 0.54, 0.55, 0.60, 0.003, 0.45), True),
    "ice cloud": ((0.70, 0.68, 0.68, 0.70, 0.080, 0.20), True),
    "thin cirrus over forest": ((0.11, 0.09, 0.06, 0.27, 0.014, 0.13), True),
    "cirrus over snow": ((0.80, 0.79, 0.78, 0.75, 0.030, 0.10), True),
}
S2CLOUDLESS = find_spec("s2cloudless") is not None


def scene(*assets: str) -> Scene:
    return Scene(
        id="S2_made",
        collection="sentinel-2-l1c",
        time=dt.datetime(2024, 6, 15, 10, tzinfo=dt.UTC),
        platform="sentinel-2a",
        footprint=shapely.box(9, 48, 10, 49),
        hrefs={name: f"{name}.tif" for name in assets},
        datatake="",
        tile="",
        orbit_state="",
        baseline="",
        kind="L1C",
        offset=Offset(dn=0, why="made"),
        cloud_percent=None,
        assets={},
    )


def pixels(bands: tuple[str, ...]) -> np.ndarray:
    """Return (band, 1, kind)."""
    table = np.array([values for values, _ in KINDS.values()], np.float32).T
    return table[[SIX.index(band) for band in bands], None]


@pytest.mark.parametrize("kind", KINDS)
def test_six_bands_tell_every_kind(kind: str) -> None:
    found = Thresholds(bands=SIX)(pixels(SIX))[0]
    assert found[list(KINDS).index(kind)] == KINDS[kind][1]


def test_visible_bands_take_snow_for_cloud_and_miss_thin_cirrus() -> None:
    found = Thresholds(bands=("B02", "B04"))(pixels(("B02", "B04")))[0]
    wrong = [
        kind for kind, is_cloud in zip(KINDS, found, strict=True) if is_cloud != KINDS[kind][1]
    ]
    assert wrong == ["snow", "thin cirrus over forest"]


@pytest.mark.parametrize(
    "detector",
    [
        Thresholds(bands=SIX),
        Thresholds(bands=("B02", "B04")),
        pytest.param(
            S2Cloudless(),
            marks=pytest.mark.skipif(not S2CLOUDLESS, reason="the extra detect is not installed"),
        ),
    ],
)
def test_a_pixel_is_judged_for_itself(detector: CloudDetector) -> None:
    rng = np.random.default_rng(7)
    picture = rng.uniform(0, 0.8, (len(detector.bands), 23, 31)).astype(np.float32)
    whole = detector(picture)
    assert 0.1 < whole.mean() < 1
    assert not whole.all()
    np.testing.assert_array_equal(detector(picture[:, 5:17, 3:30]), whole[5:17, 3:30])
    np.testing.assert_array_equal(detector(picture[:, ::-1].copy()), whole[::-1])


@pytest.mark.skipif(not S2CLOUDLESS, reason="the extra detect is not installed")
def test_s2cloudless_finds_a_cloud_over_a_field() -> None:
    field = (0.13, 0.11, 0.08, 0.11, 0.28, 0.30, 0.10, 0.002, 0.18, 0.10)
    cloud = (0.60, 0.58, 0.57, 0.58, 0.62, 0.63, 0.25, 0.004, 0.42, 0.33)
    found = S2Cloudless()(np.array([field, cloud], np.float32).T[:, None])
    assert found.tolist() == [[False, True]]


def test_a_scene_gets_the_tests_that_its_bands_allow() -> None:
    settings = MaskSettings()
    for assets, expected in (
        (SIX, SIX),
        (("blue", "green", "red", "nir", "swir16", "visual"), ("B02", "B03", "B04", "B08", "B11")),
        (("B02", "B03", "B04", "B08"), ("B02", "B04")),
        (("B02", "B03", "B04", "B10", "B11"), ("B02", "B04", "B10")),
    ):
        chosen = choose_detector(scene(*assets), settings)
        if assets[0] == "blue":
            assert set(chosen.bands) == set(expected)
        else:
            assert chosen.bands == expected


def test_the_classification_goes_first_unless_told_otherwise() -> None:
    with_classes, without = scene("B02", "B04", "SCL"), scene("B02", "B04")
    assert describe_mask(with_classes, MaskSettings()) == "SCL"
    assert describe_mask(with_classes, MaskSettings(source="own.tif")) == "SCL"
    assert describe_mask(without, MaskSettings()) == "thresholds of B02 B04"
    assert needs_detector(with_classes, MaskSettings(source="detector"))


def test_a_scene_without_the_bands_is_refused() -> None:
    with pytest.raises(NoSceneError, match=r"S2_made.*B02 and B04.*it has B08"):
        choose_detector(scene("B08"), MaskSettings())


def test_s2cloudless_is_refused_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MaskSettings(detector="s2cloudless")
    monkeypatch.setattr(detectors, "find_spec", lambda _: None)  # as where it is not installed
    with pytest.raises(SettingsError, match=r"cloudfree\[detect\]"):
        choose_detector(scene(*S2Cloudless().bands), settings)
    monkeypatch.setattr(detectors, "find_spec", lambda _: object())
    with pytest.raises(NoSceneError, match="no B10 for"):
        choose_detector(scene(*(b for b in S2Cloudless().bands if b != "B10")), settings)
