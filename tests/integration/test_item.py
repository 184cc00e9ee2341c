"""The product's STAC Item: valid, true to the files, and it says what everything came from."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.warp
import rioxarray  # noqa: F401  # gives datasets .rio
import shapely
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.render import RenderExtension
from pystac.validation import validate_dict

from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.engine.stac_files import describe_product
from cloudfree.planning.plan import Request, make_plan
from cloudfree.product.item import build_item
from cloudfree.restoration.bundle import open_bundle
from cloudfree.storage.outputs import Checksum
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import make, open_raw, summary

OFFSET = -1000
SELF = "https://stac.example.com/collections/s2/items/one"
BANDS = ("B02", "B03", "B04", "B08")


def write_two_dates(scenes: SyntheticScenes, path: Path) -> Path:
    """The scenes twice, five days apart; the first optical one says where its Item is."""
    found = json.loads(scenes.items.read_text())
    later = json.loads(scenes.items.read_text())
    for item in later["features"]:
        item["id"] += "-later"
        moment = dt.datetime.fromisoformat(item["properties"]["datetime"]) + dt.timedelta(5)
        item["properties"]["datetime"] = moment.isoformat()
        item["properties"].pop("s2:datatake_id", None)
    found["features"][0]["links"] = [{"rel": "self", "href": f"{SELF}?sig=secret"}]
    found["features"] += later["features"]
    for item in found["features"]:
        for asset in item["assets"].values():
            asset["href"] = str(scenes.items.parent / asset["href"])
    path.write_text(json.dumps(found))
    return path


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of four bands."""
    folder = tmp_path_factory.mktemp("product")
    items = write_two_dates(scenes, folder / "items.json")
    make(folder / "out", aoi=scenes.aoi, date="2024-06-14/2024-06-21", stac=items, bands=BANDS)
    return folder / "out"


def read(product: Path) -> dict[str, Any]:
    return json.loads((product / "item.json").read_text())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name that is looked up is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
def test_it_is_valid_stac(product: Path) -> None:
    """The core by pystac's validation and the schemas that it brings along, with no network.

    No package brings the schemas of extensions: those that pystac has classes for are read through
    these in the tests below, of ``eo``, ``raster`` and ``processing`` the fields are checked by
    name. When this was written, the Item passed the published schemas of all but classification,
    whose second version was not at hand.
    """
    assert validate_dict(read(product), extensions=[])
    damaged = read(product)
    del damaged["properties"]["datetime"]
    with pytest.raises(pystac.STACValidationError):
        validate_dict(damaged, extensions=[])


def test_it_says_where_and_when(product: Path) -> None:
    item = pystac.Item.from_dict(read(product))
    cube = open_raw(product)
    place = ProjectionExtension.ext(item)
    assert place.code == f"EPSG:{cube.rio.crs.to_epsg()}"
    assert place.shape == [cube.sizes["y"], cube.sizes["x"]]
    assert place.transform == list(cube.rio.transform())[:6]
    assert place.bbox == list(cube.rio.bounds())
    assert item.datetime is None
    times = [np.datetime64(item.properties[f"{end}_datetime"].rstrip("Z")) for end in
             ("start", "end")]  # fmt: skip
    np.testing.assert_array_equal(times, cube.time.to_numpy())
    outline = shapely.geometry.shape(item.geometry)
    assert len(outline.exterior.coords) < 20
    bounds = rasterio.warp.transform_bounds(cube.rio.crs, "EPSG:4326", *cube.rio.bounds())
    np.testing.assert_allclose(outline.bounds, bounds, atol=3e-5)
    np.testing.assert_allclose(item.bbox, bounds, atol=3e-5)


def test_every_file_is_an_asset_whose_checksum_is_true(product: Path) -> None:
    item = pystac.Item.from_dict(read(product))
    names = {asset.href.removeprefix("./") for asset in item.assets.values()}
    others = {"ledger", "item.json", "items.json"}
    written = {path.name for path in product.iterdir() if path.suffix != ".xml"}
    assert names == written - others
    for asset in item.assets.values():
        path = product / asset.href
        if path.is_dir():
            assert asset.media_type == "application/vnd.zarr; version=3"
            continue
        file = FileExtension.ext(asset)
        content = path.read_bytes()
        assert file.size == len(content)
        assert file.checksum == "1220" + hashlib.sha256(content).hexdigest()


def test_bands_are_those_of_the_files(product: Path) -> None:
    """Fields of STAC 1.1, eo 2.0 and raster 2.0, by name: pystac has no classes for these yet."""
    assets = read(product)["assets"]
    cogs = {key: one for key, one in assets.items() if key.endswith("_reflectance")}
    assert len(cogs) == 2
    for asset in cogs.values():
        with rasterio.open(product / asset["href"]) as file:
            assert [band["name"] for band in asset["bands"]] == list(file.descriptions)
            assert asset["raster:scale"] == file.scales[0]
            assert (asset["data_type"], asset["nodata"]) == (file.dtypes[0], file.nodata)
            assert asset["raster:spatial_resolution"] == file.res[0]
            for index, band in enumerate(asset["bands"], 1):
                valid = file.read(index)
                valid = valid[valid > 0]
                assert band["statistics"]["minimum"] == valid.min()
                assert band["statistics"]["maximum"] == valid.max()
                assert band["statistics"]["mean"] == pytest.approx(valid.mean(), abs=1e-3)
                said = file.tags(index, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]
                assert band["eo:center_wavelength"] == float(said)
        common = [band["eo:common_name"] for band in asset["bands"]]
        assert common == ["blue", "green", "red", "nir"]
    cube = {band["name"]: band for band in assets["cube"]["bands"]}
    assert set(cube) == {*BANDS, "source", "cloud", "optical_scene", "radar_scene"}
    assert "nodata" not in cube["cloud"]  # its 0 is a class: clear


def test_classes_have_names_and_colours(product: Path) -> None:
    item = pystac.Item.from_dict(read(product))
    cube = open_raw(product)
    for key, asset in item.assets.items():
        if not key.endswith("_source"):
            continue
        classes = ClassificationExtension.ext(asset).classes
        assert classes is not None
        assert [one.value for one in classes] == cube.source.attrs["flag_values"]
        assert [one.name for one in classes] == cube.source.attrs["flag_meanings"].split()
        with rasterio.open(product / asset.href) as file:
            for one in classes:
                colour = "".join(f"{part:02X}" for part in file.colormap(1)[one.value][:3])
                assert one.color_hint == colour
    said = next(b for b in item.assets["cube"].extra_fields["bands"] if b["name"] == "cloud")
    names = [one["name"] for one in said["classification:classes"]]
    assert names == cube.cloud.attrs["flag_meanings"].split()


def test_renders_show_true_colour_and_classes(product: Path) -> None:
    item = pystac.Item.from_dict(read(product))
    renders = RenderExtension.ext(item).renders
    assert renders is not None
    assert set(renders) == {key for key in item.assets if "_reflectance" in key or "_source" in key}
    for key, one in renders.items():
        asset = item.assets[one.assets[0]]
        with rasterio.open(product / asset.href) as file:
            if key.endswith("_source"):
                assert one.colormap is not None
                for value, colour in one.colormap.items():
                    assert file.colormap(1)[int(value)] == tuple(colour)
                continue
            shown = one.properties["bidx"]
            assert [file.descriptions[index - 1] for index in shown] == ["B04", "B03", "B02"]
            assert one.rescale is not None
            for index, (low, high) in zip(shown, one.rescale, strict=True):
                pixels = file.read(index)
                inside = (pixels >= low) & (pixels <= high)
                assert inside[pixels > 0].mean() > 0.8  # most of what there is is neither


def test_it_says_what_it_was_made_of_and_by_what(product: Path, scenes: SyntheticScenes) -> None:
    item, facts = read(product), summary(product)
    origins = [link for link in item["links"] if link["rel"] == "derived_from"]
    assert {link["title"] for link in origins} == {scene["id"] for scene in facts["scenes"]}
    assert len(origins) == 4
    links = {link["title"]: link for link in origins}
    assert links["synthetic-sentinel-2-l2a-2024-06-15"]["href"] == SELF
    assert links["synthetic-sentinel-2-l2a-2024-06-15"]["type"] == "application/geo+json"
    assert Path(links["synthetic-sentinel-1-rtc-2024-06-14"]["href"]).is_file()
    assert "secret" not in json.dumps(item)
    said = item["properties"]
    assert {one["scene"]: one["offset_dn"] for one in said["cloudfree:harmonisation"]} == {
        scene["id"]: OFFSET for scene in facts["scenes"] if "sentinel-2" in scene["id"]
    }
    assert all("05.10" in one["why"] for one in said["cloudfree:harmonisation"])
    assert said["processing:software"] == facts["versions"]
    assert "baseline 1" in said["processing:lineage"]
    assert said["cloudfree:model"]["mlm:name"] == "baseline"
    assert "Copernicus" in said["attribution"] and said["providers"][0]["roles"]
    assert said["eo:cloud_cover"] == 0


@pytest.mark.usefixtures("offline")
def test_a_model_with_weights_is_told_by_their_checksums_and_its_check_is_kept(
    scenes: SyntheticScenes,
) -> None:
    tables = {"restoration": {"model": "small"}}
    settings = build(RunSettings, tables, "test")
    plan = make_plan(Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items),
                             settings=settings))  # fmt: skip
    none = Checksum(size=0, sha256=hashlib.sha256(b"").hexdigest())
    facts = {
        "model": "small 0.3",
        "pixels": {"seen": 50, "reconstructed": 20, "not_restored": 30, "limited": 0},
        "check": {"places": 8, "models": {"small": {"psnr_db": 17.3}}},
    }
    files = dict.fromkeys(("preview.png", "report.html", "run.json"), none)
    product = describe_product(plan)
    item = build_item(product, identifier="one", cogs=[], files=files, summary=facts)
    assert validate_dict(item, extensions=[])
    folder = open_bundle("small").folder
    weights = item["properties"]["cloudfree:model"]["weights"]
    assert {one["role"] for one in weights} == {"sar2opt", "cloud_removal"}
    for one in weights:
        digest = hashlib.sha256((folder / one["file"]).read_bytes()).hexdigest()
        assert one["file:checksum"] == f"1220{digest}"
    assert item["properties"]["cloudfree:check"] == facts["check"]
    assert item["properties"]["eo:cloud_cover"] == 30
