"""What describes a scene as a whole: measured on its own grid, the same for every area."""

import contextlib
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.config import (
    CubeSettings,
    GridSettings,
    MaskSettings,
    RadiometrySettings,
    RunSettings,
)
from cloudfree.core.contract import Contract
from cloudfree.core.errors import ReadError
from cloudfree.core.types import Float32Array, Masks, Model, Unsigned
from cloudfree.pixels.radiometry import OpticalStatistics, RadarStatistics
from cloudfree.pixels.remote import Fetcher
from cloudfree.restoration.baseline import Baseline
from cloudfree.scenes.harmonisation import Offset
from cloudfree.scenes.scene import Scene
from cloudfree.walk.measure import PairStatistics, measure_pair

HEIGHT, WIDTH = 128, 192
PLACE = Affine(10, 0, 464640, 0, -10, 3773760)
BANDS = ("B04", "B02")
CONTRACT = Contract(name="b", version="1", network="baseline", window_px=64, stride_px=48)
FETCHER = Fetcher(CubeSettings(), Unsigned())
RNG = np.random.default_rng(41)
DN = RNG.integers(1100, 6000, (2, HEIGHT, WIDTH)).astype(np.uint16)
CLASSES = np.full((HEIGHT, WIDTH), 4, np.uint8)
CLASSES[:, 100:130] = 9
POWER = RNG.uniform(0.01, 0.6, (HEIGHT, WIDTH)).astype(np.float32)
POWER[:50] = np.nan


class Count(Counter[str]):
    """Counts how often each row of the walk is begun."""

    @contextlib.contextmanager
    def row(self, name: str) -> Iterator[None]:
        self[name] += 1
        yield


@dataclass(frozen=True)
class Plain:
    """A model that learns nothing."""

    contract: Contract = CONTRACT

    def __call__(self, optical: Float32Array, radar: Float32Array, masks: Masks) -> Float32Array:
        return optical


def scene(folder: Path, name: str, layers: dict[str, np.ndarray], baseline: str = "") -> Scene:
    hrefs = {}
    for key, pixels in layers.items():
        hrefs[key] = str(folder / f"{name}_{key}.tif")
        with rasterio.open(
            hrefs[key], "w", driver="GTiff", height=pixels.shape[0], width=pixels.shape[1],
            count=1, dtype=pixels.dtype, crs="EPSG:32611", transform=PLACE,
        ) as file:  # fmt: skip
            file.write(pixels, 1)
    grid = GeoBox((HEIGHT, WIDTH), PLACE, "EPSG:32611")
    return Scene(
        id=name,
        collection="c",
        time=dt.datetime(2024, 6, 15, tzinfo=dt.UTC),
        platform="s",
        footprint=shapely.box(*grid.geographic_extent.boundingbox.bbox),
        hrefs=hrefs,
        datatake="",
        tile="",
        orbit_state="",
        baseline=baseline,
        kind="L2A",
        offset=Offset(dn=-1000 if baseline >= "04" else 0, why="test"),
        cloud_percent=None,
        assets={},
    )


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Scene, Scene]:
    layers = {"B04": DN[0], "B02": DN[1], "SCL": CLASSES}
    return scene(tmp_path, "o", layers, "05.10"), scene(tmp_path, "r", {"vv": POWER})


def settings(sample_windows: int = 36) -> RunSettings:
    return RunSettings(
        grid=GridSettings(bands=BANDS),
        masks=MaskSettings(dilation_m=0),
        radiometry=RadiometrySettings(sample_windows=sample_windows, low_percent=5),
    )


def measure(pair: tuple[Scene, Scene], model: Model, sample_windows: int = 36) -> PairStatistics:
    return measure_pair(
        *pair,
        polarizations=("vv",),
        model=model,
        settings=settings(sample_windows),
        fetcher=FETCHER,
        clock=Count(),
    )


def test_a_scene_of_whole_windows_is_measured_whole(pair: tuple[Scene, Scene]) -> None:
    found = measure(pair, Plain())
    seen = CLASSES == 4
    assert found.optical.seen_pixels == seen.sum()
    for band in range(2):
        low, high = np.percentile(DN[band][seen].astype(int) - 1000, [5, 99.5])
        assert (found.optical.low[band], found.optical.high[band]) == pytest.approx((low, high))
    decibel = 10 * np.log10(POWER[50:].astype(float))
    assert found.radar.pixels == decibel.size
    assert found.radar.mean_db == pytest.approx((decibel.mean(),), abs=1e-4)
    assert found.radar.std_db == pytest.approx((decibel.std(),), abs=1e-4)
    assert found.learnt == []


def test_every_polarisation_has_statistics_of_its_own(
    pair: tuple[Scene, Scene], tmp_path: Path
) -> None:
    both = scene(tmp_path, "both", {"vv": POWER, "vh": POWER[:, ::-1] / 4})
    found = measure_pair(
        pair[0],
        both,
        polarizations=("vh", "vv"),
        model=Plain(),
        settings=settings(),
        fetcher=FETCHER,
        clock=Count(),
    )
    alone = measure(pair, Plain()).radar
    assert found.radar.pixels == alone.pixels
    quarter = alone.mean_db[0] + 10 * np.log10(0.25)
    assert found.radar.mean_db == pytest.approx((quarter, alone.mean_db[0]), abs=1e-4)
    assert found.radar.std_db == pytest.approx(alone.std_db * 2, abs=1e-4)


@pytest.mark.parametrize(("asked", "most"), [(1, 1), (4, 4), (5, 5), (6, 6), (36, 6)])
def test_no_more_windows_are_read_than_asked(
    pair: tuple[Scene, Scene], asked: int, most: int
) -> None:
    clock = Count()
    measure_pair(
        *pair,
        polarizations=("vv",),
        model=Plain(),
        settings=settings(asked),
        fetcher=FETCHER,
        clock=clock,
    )
    assert 1 <= clock["cube.load"] <= most


def test_a_model_that_learns_from_scenes_does_and_is_made_ready(pair: tuple[Scene, Scene]) -> None:
    model = Baseline(contract=CONTRACT)
    found = measure(pair, model)
    assert len(found.learnt) == len(BANDS)
    ready = found.pair(model, BANDS)
    assert ready.model == model.fitted(found.learnt)
    assert ready.optical == found.optical
    plain = Plain()
    assert found.pair(plain, BANDS).model is plain


def test_measuring_twice_gives_the_same(pair: tuple[Scene, Scene]) -> None:
    model = Baseline(contract=CONTRACT)
    assert measure(pair, model, 4) == measure(pair, model, 4)


def test_a_mask_file_is_of_an_area_and_not_of_the_scene(pair: tuple[Scene, Scene]) -> None:
    asked = settings()
    own = replace(asked, masks=replace(asked.masks, source=pair[0].hrefs["SCL"]))  # all hidden
    found = measure_pair(
        *pair,
        polarizations=("vv",),
        model=Plain(),
        settings=own,
        fetcher=FETCHER,
        clock=Count(),
    )
    assert found == measure(pair, Plain())


def test_a_scene_smaller_than_a_window_is_measured(tmp_path: Path) -> None:
    small = (slice(0, 40), slice(0, 50))
    layers = {"B04": DN[0][small], "B02": DN[1][small], "SCL": CLASSES[small]}
    pair = scene(tmp_path, "o", layers, "05.10"), scene(tmp_path, "r", {"vv": POWER})
    assert measure(pair, Plain()).optical.seen_pixels == 40 * 50


def test_statistics_pass_through_json() -> None:
    statistics = PairStatistics(
        optical=OpticalStatistics(low=(1.5, 2.0), high=(300.0, 1 / 3), seen_pixels=7),
        radar=RadarStatistics(mean_db=(-11.123456789, -17.5), std_db=(2.0, 1 / 3), pixels=9),
        learnt=[[0.1, -2.0], [1e-9, 4.0]],
    )
    sent = json.loads(json.dumps(statistics.as_json()))
    assert PairStatistics.from_json(sent) == statistics


def test_a_file_that_is_gone_is_named_in_one_line(pair: tuple[Scene, Scene]) -> None:
    Path(pair[0].hrefs["B04"]).unlink()
    with pytest.raises(ReadError, match=r"B04 of scene o at .*o_B04\.tif") as caught:
        measure(pair, Plain())
    assert "\n" not in str(caught.value)
