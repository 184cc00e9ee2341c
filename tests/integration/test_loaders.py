"""Products of two runs in one catalog, as the loaders that people use stack them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401  # gives datasets .rio
import stackstac
import xarray as xr
from rio_tiler.io import STACReader

from cloudfree.product.catalog import add_to_catalog
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import make
from tests.integration.test_item import BANDS, write_two_dates

DATES = ("2024-06-15", "2024-06-20")
COMMON = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}


@pytest.fixture(scope="module")
def catalog(small_scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a catalog of two runs, a date each; their bands are in another order."""
    folder = tmp_path_factory.mktemp("loaders")
    items = write_two_dates(small_scenes, folder / "items.json")
    for date, bands in zip(DATES, (BANDS, BANDS[::-1]), strict=True):
        make(
            folder / date, aoi=small_scenes.aoi, date=date, stac=items, bands=bands,
            references={"days": 75},
        )  # fmt: skip
        add_to_catalog(folder / "catalog", open_storage(folder / date))
    return folder / "catalog"


@pytest.fixture
def items(catalog: Path) -> list[pystac.Item]:
    found = pystac.Catalog.from_file(str(catalog / "catalog.json")).get_items(recursive=True)
    return sorted(found, key=lambda item: str(item.datetime))


def pixels(catalog: Path, date: str, band: str) -> np.ndarray:
    """Return what a product's COG holds of a band, or its source, from where the run wrote it."""
    key = "source" if band == "source" else "reflectance"
    with rasterio.open(catalog.parent / date / f"{date}_{key}.tif") as cog:
        return cog.read(cog.descriptions.index(band) + 1)


def test_odc_stac_loads_both_dates_by_the_names_of_bands(
    catalog: Path, items: list[pystac.Item]
) -> None:
    by_name = odc.stac.load(items, bands=[*BANDS, "source"])
    by_common_name = odc.stac.load(items, bands=list(COMMON.values()))
    assert [str(time)[:10] for time in by_name.time.values] == list(DATES)
    for index, date in enumerate(DATES):
        for band in (*BANDS, "source"):
            expected = pixels(catalog, date, band)
            assert expected.max() > 1
            np.testing.assert_array_equal(by_name[band].values[index], expected, band)
            if band in COMMON:
                np.testing.assert_array_equal(by_common_name[COMMON[band]].values[index], expected)
    assert by_name.B04.dtype == np.uint16
    assert by_name.B04.nodata == by_name.source.nodata == 0
    everything = odc.stac.load(items, chunks={})
    assert everything.sizes["time"] == 2
    assert everything.odc.geobox == by_name.odc.geobox


def test_stackstac_stacks_both_dates_by_the_names_of_bands(
    catalog: Path, items: list[pystac.Item]
) -> None:
    for item in items:
        item.make_asset_hrefs_absolute()
    place = items[0].properties
    stack = stackstac.stack(
        items,
        assets=[*BANDS, "source"],
        epsg=int(place["proj:code"].removeprefix("EPSG:")),
        resolution=place["gsd"],
        bounds=place["proj:bbox"],
        fill_value=np.uint16(0),
        dtype="uint16",
        rescale=False,
    ).compute()
    assert [str(time)[:10] for time in stack.time.values] == list(DATES)
    for index, date in enumerate(DATES):
        for band in (*BANDS, "source"):
            found = stack.sel(band=band).values[index]
            np.testing.assert_array_equal(found, pixels(catalog, date, band), band)


def test_stackstac_knows_grid_and_scale_of_items_as_they_are(catalog: Path) -> None:
    """Not by way of pystac, which takes ``proj:epsg`` away when it reads."""
    texts = []
    for item in catalog.glob("*/*/*.json"):
        content = pystac.StacIO.default().read_json(item)
        for asset in content["assets"].values():
            asset["href"] = str((item.parent / asset["href"]).resolve())
        texts.append(content)
    stack = stackstac.stack(texts, assets=["B04"]).compute()
    assert stack.shape[0] == 2
    for index, date in enumerate(sorted(DATES)):
        expected = pixels(catalog, date, "B04")
        known = np.where(expected == 0, np.nan, expected * 1e-4)
        np.testing.assert_allclose(stack.values[index, 0], known)


@pytest.mark.filterwarnings("ignore:Some statistics")  # it misses those of classes
def test_rio_tiler_reads_an_item(catalog: Path, items: list[pystac.Item]) -> None:
    for date, item in zip(DATES, items, strict=True):
        with STACReader(item.self_href) as reader:
            assert reader.assets == ["reflectance", "source", "reference_days"]
            for asked, bands in (
                ({"name": "reflectance", "bands": ["nir", "red"]}, ("B08", "B04")),
                ("source", ("source",)),
            ):
                read = reader.part(reader.bounds, assets=[asked], bounds_crs=reader.crs)
                expected = np.stack([pixels(catalog, date, band) for band in bands])
                np.testing.assert_array_equal(read.data, expected)


def test_the_cube_is_an_asset_of_items_and_collections(
    catalog: Path, items: list[pystac.Item]
) -> None:
    for date, item in zip(DATES, items, strict=True):
        collection = item.get_collection()
        assert collection is not None
        places = {str(one.assets["cube"].get_absolute_href()) for one in (item, collection)}
        assert places == {str(catalog.parent / date / "cube.zarr")}
        cube = xr.open_zarr(places.pop(), mask_and_scale=False)
        found = cube.reflectance.sel(time=date, band="B03").squeeze("time")
        np.testing.assert_array_equal(found.values, pixels(catalog, date, "B03"))
