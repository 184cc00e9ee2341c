"""How much a datatake shows of an area, whatever its chunks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from cloudfree.core.config import MaskSettings, RunSettings
from cloudfree.core.types import Unsigned
from cloudfree.geometry.grid import GridPlan
from cloudfree.pixels.remote import Fetcher
from cloudfree.planning.screen import coarse_geobox, passed_over, seen_share
from cloudfree.scenes.providers import load_provider
from cloudfree.scenes.scene import Step, read_scene
from cloudfree.synthetic.scenes import SyntheticScenes

LEFT, TOP = 613_020.0, 5_343_000.0
FETCHER = Fetcher(RunSettings().cube, Unsigned())
PLAIN = RunSettings(masks=MaskSettings(dilation_m=0, min_area_m2=0))


def plan_of(geobox: GeoBox, area: shapely.Polygon, chunk_px: int = 2048) -> GridPlan:
    return GridPlan(geobox=geobox, area=area, chunk_px=chunk_px, halo_px=8)


@pytest.fixture
def step(scenes: SyntheticScenes) -> Step:
    collection = json.loads(scenes.items.read_text())
    item = next(i for i in collection["features"] if i["collection"] == "sentinel-2-l2a")
    for asset in item["assets"].values():
        asset["href"] = str(scenes.items.parent / asset["href"])
    found = read_scene(
        item, next(c for c in load_provider("local").optical if c.id == "sentinel-2-l2a")
    )
    return Step(
        time=found.time, optical=(found,), radar=(), polarizations=("vv",), radar_age_h=None
    )


def test_a_share_is_that_of_the_areas_pixels(step: Step) -> None:
    area = shapely.Polygon(
        [(LEFT + 900, TOP - 600), (LEFT + 7000, TOP - 1500), (LEFT + 3000, TOP - 5100)]
    )
    geobox = GeoBox((500, 700), Affine(10, 0, LEFT + 600, 0, -10, TOP - 300), "EPSG:32632")
    with rasterio.open(step.optical[0].href("SCL") or "") as file:
        classes = np.kron(file.read(1), np.ones((2, 2), np.uint8))[30:530, 60:760]
    x, y = np.meshgrid(LEFT + 605 + 10 * np.arange(700), TOP - 305 - 10 * np.arange(500))
    inside = shapely.contains_xy(area, x, y)
    seen = np.isin(classes, (2, 4, 5, 6, 7, 11))
    expected = seen[inside].mean()
    assert 0.1 < expected < 0.95
    shares = {seen_share(step, plan_of(geobox, area, side), PLAIN, FETCHER) for side in (256, 2048)}
    assert len(shares) == 1
    assert shares.pop() == pytest.approx(expected, abs=1e-12)


def test_nothing_shown_is_no_share_at_all(step: Step, tmp_path: Path) -> None:
    overcast = tmp_path / "SCL.tif"
    with rasterio.open(step.optical[0].href("SCL") or "") as file:
        classes, profile = np.minimum(file.read(1), 1) * 9, {**file.profile, "driver": "GTiff"}
    with rasterio.open(overcast, "w", **profile) as file:
        file.write(classes.astype(np.uint8), 1)
    scene = step.optical[0]
    hidden = replace(scene, hrefs={**scene.hrefs, "SCL": str(overcast)})
    geobox = GeoBox((90, 130), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32632")
    area = shapely.box(*geobox.boundingbox.bbox)
    assert (
        seen_share(replace(step, optical=(hidden,)), plan_of(geobox, area), PLAIN, FETCHER) == 0.0
    )


def test_wide_areas_are_looked_at_in_larger_pixels() -> None:
    small = GeoBox((1500, 2048), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32632")
    assert coarse_geobox(plan_of(small, shapely.box(0, 0, 1, 1))) == small
    wide = GeoBox((4097, 12_289), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32632")
    coarse = coarse_geobox(plan_of(wide, shapely.box(0, 0, 1, 1)))
    assert coarse.shape == (586, 1756)
    assert coarse.affine == Affine(70, 0, LEFT, 0, -70, TOP)


def test_what_is_left_out_is_passed_over_by_its_scenes() -> None:
    left_out = [{"optical": ["a", "b"]}, {"optical": ["c"]}]
    assert passed_over(left_out) == {"a", "b", "c"}
    assert passed_over([]) == frozenset()
