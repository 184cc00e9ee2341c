import json
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.features
import rasterio.warp
from numpy.typing import NDArray
from scipy import ndimage

from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes

SIZE_PX = 384
BANDS = ("B02", "B03", "B04", "B08")
RASTERS = (*BANDS, "SCL", "vv", "vh", "truth")
CLOUDS = (8, 9, 10)
SHADOW, WATER = 3, 6


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    return write_scenes(tmp_path_factory.mktemp("scenes"), seed=0, size_px=SIZE_PX)


def read(scenes: SyntheticScenes, name: str) -> NDArray[np.generic]:
    with rasterio.open(scenes.truth.with_name(f"{name}.tif")) as source:
        return np.squeeze(source.read())


def read_bands(scenes: SyntheticScenes) -> NDArray[np.generic]:
    return np.stack([read(scenes, band) for band in BANDS])


def read_scl(scenes: SyntheticScenes) -> NDArray[np.generic]:
    """Scene classification, repeated onto the grid of the bands."""
    return read(scenes, "SCL").repeat(2, 0).repeat(2, 1)


def test_same_seed_gives_same_pixels_and_another_does_not(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    again = write_scenes(tmp_path / "again", seed=0, size_px=SIZE_PX)
    other = write_scenes(tmp_path / "other", seed=4, size_px=SIZE_PX)
    for name in RASTERS:
        np.testing.assert_array_equal(read(again, name), read(scenes, name), err_msg=name)
        assert (read(other, name) != read(scenes, name)).mean() > 0.2, name


@pytest.mark.parametrize("seed", [0, 5, 6])
def test_clouds_cover_a_quarter_to_a_third_and_the_item_says_so(seed: int, tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, seed=seed, size_px=SIZE_PX)
    scl = read(scenes, "SCL")
    cloud_share = np.isin(scl, CLOUDS).sum() / (scl > 0).sum()
    assert 0.25 < cloud_share < 0.35
    assert 0.05 < (scl == SHADOW).sum() / (scl > 0).sum() < 0.25
    optical = pystac.ItemCollection.from_file(str(scenes.items)).items[0]
    assert optical.properties["eo:cloud_cover"] == pytest.approx(100 * cloud_share, abs=0.01)


def test_thick_cloud_is_bright_and_shadow_is_dark(scenes: SyntheticScenes) -> None:
    scl, cloudy, truth = read_scl(scenes), read_bands(scenes), read(scenes, "truth")
    assert np.median(cloudy[:3, scl == 9]) > np.percentile(truth[:3], 99)
    loss = truth[:, scl == SHADOW].astype(float) - cloudy[:, scl == SHADOW]
    assert (loss > 0).mean() > 0.95  # the rest lies under a thin edge of cloud as well
    assert np.median(loss[3]) > 500


def test_shadows_lie_460_m_north_and_270_m_west_of_their_clouds(scenes: SyntheticScenes) -> None:
    scl = read(scenes, "SCL")
    south_east, north_west = (slice(23, None), slice(14, None)), (slice(-23), slice(-14))
    shadow, cloud = scl == SHADOW, np.isin(scl, CLOUDS)
    assert cloud[south_east][shadow[north_west]].mean() > 0.7
    assert cloud[north_west][shadow[south_east]].mean() < 0.5


def test_every_pixel_away_from_clouds_and_shadows_is_the_truth(scenes: SyntheticScenes) -> None:
    scl = read_scl(scenes)
    labelled = np.isin(scl, (0, SHADOW, *CLOUDS))
    differs = (read_bands(scenes) != read(scenes, "truth")).any(0)
    assert differs[np.isin(scl, (SHADOW, *CLOUDS))].mean() > 0.9
    inner = (slice(16, -16), slice(16, -16))  # further out the clouds may lie outside of the scene
    far = ~ndimage.binary_dilation(labelled, np.ones((13, 13), dtype=bool))[inner]
    assert far.mean() > 0.1
    assert not differs[inner][far].any()
    assert 0 < (differs & ~labelled).mean() < 0.1  # an edge that the classification misses


def test_nodata_is_the_same_wedge_in_bands_truth_and_classification(
    scenes: SyntheticScenes,
) -> None:
    wedge = read_scl(scenes) == 0
    for name in BANDS:
        np.testing.assert_array_equal(read(scenes, name) == 0, wedge, err_msg=name)
    np.testing.assert_array_equal(
        read(scenes, "truth") == 0, np.broadcast_to(wedge, (4, *wedge.shape))
    )
    assert 0.02 < wedge.mean() < 0.08
    width_by_row = wedge.sum(1)
    assert width_by_row[0] == 0
    assert (np.diff(width_by_row) >= 0).all()
    assert wedge[-1, -width_by_row[-1] :].all()


@pytest.mark.parametrize("polarisation", ["vv", "vh"])
def test_radar_is_whole_and_linear(scenes: SyntheticScenes, polarisation: str) -> None:
    power = read(scenes, polarisation)
    assert power.dtype == np.float32
    assert power.min() > 0
    assert 10 * np.log10(np.median(power)) == pytest.approx(
        {"vv": -10, "vh": -16}[polarisation], abs=3
    )


def test_radar_tells_water_field_and_town_apart(scenes: SyntheticScenes) -> None:
    vv, vh, truth = read(scenes, "vv"), read(scenes, "vh"), read(scenes, "truth").astype(float)
    blue, infrared = truth[0], truth[3]
    seen = truth[0] > 0
    water = ndimage.binary_erosion(seen & (infrared < 1300), iterations=2)
    halls = seen & (blue > 2800)
    forest = ndimage.binary_erosion(seen & (blue < 1300) & (infrared > 2800), iterations=2)
    for chosen in (water, halls, forest):
        assert chosen.sum() > 100
    assert vv[water].mean() * 30 < vv[forest].mean() * 3 < vv[halls].mean()
    assert vh[water].mean() * 10 < vh[forest].mean()
    assert 2 < (vv[water].mean() / vv[water].std()) ** 2 < 6


def test_rasters_are_cogs_on_the_grid_of_their_items(scenes: SyntheticScenes) -> None:
    collection = pystac.ItemCollection.from_file(str(scenes.items))
    assert [item.collection_id for item in collection] == ["sentinel-2-l2a", "sentinel-1-rtc"]
    assert collection.items[0].datetime.date().isoformat() == scenes.date
    assert collection.items[1].datetime < collection.items[0].datetime
    for feature in json.loads(scenes.items.read_text(encoding="utf-8"))["features"]:
        for name, asset in feature["assets"].items():
            grid = feature["properties"] | asset
            with rasterio.open(scenes.items.parent / asset["href"]) as source:
                assert source.crs.to_epsg() == grid["proj:epsg"]
                assert list(source.shape) == grid["proj:shape"]
                assert list(source.transform)[:6] == grid["proj:transform"]
                assert list(source.bounds) == grid["proj:bbox"]
                assert source.nodata == (-32768 if name in ("vv", "vh") else 0)
                assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert set(collection.items[0].assets) == {*BANDS, "SCL"}
    assert set(collection.items[1].assets) == {"vv", "vh"}


def test_footprint_of_the_optical_item_leaves_out_the_wedge(scenes: SyntheticScenes) -> None:
    optical = pystac.ItemCollection.from_file(str(scenes.items)).items[0]
    with rasterio.open(scenes.items.parent / "SCL.tif") as source:
        footprint = rasterio.warp.transform_geom("EPSG:4326", source.crs, optical.geometry)
        outside = rasterio.features.geometry_mask([footprint], source.shape, source.transform)
        valid = source.read(1) > 0
    assert (outside == valid).mean() < 0.001
    west, south, east, north = optical.bbox
    assert 9 < west < east < 12 and 47 < south < north < 49


def test_area_reaches_into_cloud_water_and_the_wedge(scenes: SyntheticScenes) -> None:
    area = json.loads(scenes.aoi.read_text(encoding="utf-8"))["geometry"]
    with rasterio.open(scenes.items.parent / "SCL.tif") as source:
        polygon = rasterio.warp.transform_geom("EPSG:4326", source.crs, area)
        inside = rasterio.features.geometry_mask(
            [polygon], source.shape, source.transform, invert=True
        )
        scl = source.read(1)
    assert 0.4 < inside.mean() < 0.8
    for classes in ((0,), CLOUDS, (SHADOW,), (WATER,)):
        assert np.isin(scl[inside], classes).sum() > 50, classes


@pytest.mark.parametrize("size_px", [224, 400])
def test_a_size_that_does_not_fit_is_refused(size_px: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(size_px)):
        write_scenes(tmp_path, size_px=size_px)
