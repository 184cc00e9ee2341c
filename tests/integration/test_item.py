"""The STAC of a product: an Item a step and their Collection, valid and true to the files."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import rioxarray  # noqa: F401  # gives datasets .rio
import shapely
import xarray as xr
from PIL import Image
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.eo import EOExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import RasterExtension
from pystac.extensions.render import RenderExtension
from pystac.validation import validate_dict

from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.engine.stac_files import describe_product
from cloudfree.planning.plan import Request, make_plan
from cloudfree.product.item import StepFiles, build_item, describe_lineage
from cloudfree.product.report import true_colour
from cloudfree.restoration.bundle import open_bundle
from cloudfree.synthetic.scenes import SyntheticScenes, write_year
from tests.integration.products import make, open_raw, summary

OFFSET = -1000
SELF = "https://stac.example.com/collections/s2/items/one"
BANDS = ("B02", "B03", "B04", "B08")
SCENES = ("optical", "radar", "reference")
DAYS = ("reference_days", "reference_count")
FIRST, SECOND = "2024-06-15", "2024-06-20"
KEYS = {"reflectance", *BANDS, "source", "source_names", "reference_days", "preview", "cube"}


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
    make(
        folder / "out",
        aoi=scenes.aoi,
        date="2024-06-14/2024-06-21",
        stac=items,
        bands=BANDS,
        references={"days": 75},
    )
    return folder / "out"


def read(product: Path, name: str = f"{FIRST}_item.json") -> dict[str, Any]:
    return json.loads((product / name).read_text())


def read_items(product: Path) -> dict[str, pystac.Item]:
    """Return date -> the Item that the Collection leads to."""
    collection = pystac.Collection.from_file(str(product / "collection.json"))
    return {f"{item.datetime:%Y-%m-%d}": item for item in collection.get_items()}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name that is looked up is an error."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [f"{FIRST}_item.json", f"{SECOND}_item.json", "collection.json"])
def test_it_is_valid_stac(product: Path, name: str) -> None:
    """The core by pystac's validation and the schemas that it brings along, with no network.

    No package brings the schemas of extensions: those that pystac has classes for are read through
    these in the tests below, of others the fields are checked by name. When this was written, all
    passed the published schemas of all but classification, whose second version was not at hand.
    """
    assert validate_dict(read(product, name), extensions=[])
    damaged = read(product, name)
    del damaged["links"]
    with pytest.raises(pystac.STACValidationError):
        validate_dict(damaged, extensions=[])


def test_every_step_is_an_item_with_the_same_keys(product: Path) -> None:
    items = read_items(product)
    assert list(items) == [FIRST, SECOND]
    for date, item in items.items():
        assert set(item.assets) == KEYS
        assert item.id.endswith(date)
        for key, asset in item.assets.items():
            if key not in ("cube", "source_names"):
                assert Path(asset.href).stem == f"{date}_{key}"


def test_the_collection_says_what_its_items_have_in_common(product: Path) -> None:
    collection = pystac.Collection.from_file(str(product / "collection.json"))
    items = read_items(product)
    assert set(collection.item_assets) == KEYS
    assert set(collection.assets) == {"cube", "preview", "report", "run", "scenes"}
    assert collection.extent.spatial.bboxes == [items[FIRST].bbox]
    assert collection.extent.temporal.intervals == [[item.datetime for item in items.values()]]
    assert collection.summaries.get_list("proj:code") == ["EPSG:32632"]
    assert collection.summaries.get_list("platform") == [items[FIRST].properties["platform"]]
    common = collection.item_assets["reflectance"].to_dict()
    assert [band["name"] for band in common["bands"]] == list(BANDS)
    assert "statistics" not in json.dumps(common) and "checksum" not in json.dumps(common)
    for key, render in read(product, "collection.json")["renders"].items():
        assert render["assets"] == [key]
        limits = [item.properties["renders"][key].get("rescale") for item in items.values()]
        if limits[0] is not None:
            assert render["rescale"][0] == [
                min(one[0][0] for one in limits),
                max(one[0][1] for one in limits),
            ]


def test_it_says_where_and_when(product: Path, scenes: SyntheticScenes) -> None:
    items = read_items(product)
    cube = open_raw(product)
    times = [np.datetime64(item.datetime.replace(tzinfo=None)) for item in items.values()]
    np.testing.assert_array_equal(times, cube.time.to_numpy())
    area = shapely.geometry.shape(json.loads(scenes.aoi.read_text())["geometry"])
    for item in items.values():
        place = ProjectionExtension.ext(item)
        assert place.code == f"EPSG:{cube.rio.crs.to_epsg()}"
        assert place.shape == [cube.sizes["y"], cube.sizes["x"]]
        assert place.transform == list(cube.rio.transform())[:6]
        assert place.bbox == list(cube.rio.bounds())
        assert shapely.geometry.shape(item.geometry).equals(area)
        assert item.bbox == list(area.bounds)
    assert read(product)["properties"]["proj:epsg"] == cube.rio.crs.to_epsg()  # for stackstac


def test_every_file_is_an_asset_whose_checksum_is_true(product: Path) -> None:
    items = read_items(product).values()
    collection = pystac.Collection.from_file(str(product / "collection.json"))
    assets = [asset for one in (*items, collection) for asset in one.assets.values()]
    stac = {"collection.json", *(Path(item.self_href).name for item in items)}
    written = {path.name for path in product.iterdir()}
    assert {asset.href.removeprefix("./") for asset in assets} == written - stac - {"ledger"}
    for asset in assets:
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
    for date in (FIRST, SECOND):
        assets = read(product, f"{date}_item.json")["assets"]
        for key in ("reflectance", *BANDS):
            asset = assets[key]
            with rasterio.open(product / asset["href"]) as file:
                assert [band["name"] for band in asset["bands"]] == list(file.descriptions)
                for index, band in enumerate(asset["bands"], 1):
                    assert band["raster:scale"] == file.scales[index - 1]
                    assert (band["data_type"], band["nodata"]) == (file.dtypes[0], file.nodata)
                    assert band["raster:spatial_resolution"] == file.res[0]
                    valid = file.read(index)
                    valid = valid[valid > 0]
                    assert band["statistics"]["minimum"] == valid.min()
                    assert band["statistics"]["maximum"] == valid.max()
                    assert band["statistics"]["mean"] == pytest.approx(valid.mean(), abs=1e-3)
                    assert file.tags(index)["STATISTICS_MAXIMUM"] == f"{valid.max()}"
                    if key == "reflectance":
                        said = file.tags(index, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]
                        assert band["eo:center_wavelength"] == float(said)
        common = [band["eo:common_name"] for band in assets["reflectance"]["bands"]]
        assert common == ["blue", "green", "red", "nir"]
        cube = {band["name"]: band for band in assets["cube"]["bands"]}
        assert set(cube) == {*BANDS, "source", "cloud", *(f"{one}_scene" for one in SCENES), *DAYS}
        assert "nodata" not in cube["cloud"]  # its 0 is a class: clear


def test_loaders_of_today_are_told_the_same(product: Path) -> None:
    item = read_items(product)[SECOND]
    for key in ("reflectance", *BANDS, "source", "reference_days"):
        asset = item.assets[key]
        bands, raster = asset.extra_fields["bands"], RasterExtension.ext(asset).bands
        assert raster is not None and len(raster) == len(bands)
        for said, other in zip(bands, raster, strict=True):
            assert other.nodata == said["nodata"]
            assert other.scale == said.get("raster:scale")
        if key in ("reflectance", *BANDS):
            names = [(one.name, one.common_name) for one in EOExtension.ext(asset).bands or ()]
            assert names == [(band["name"], band["eo:common_name"]) for band in bands]


def test_classes_have_names_and_colours(product: Path) -> None:
    cube = open_raw(product)
    for item in read_items(product).values():
        asset = item.assets["source"]
        classes = ClassificationExtension.ext(asset).classes
        assert classes is not None
        assert [one.value for one in classes] == cube.source.attrs["flag_values"]
        assert [one.name for one in classes] == cube.source.attrs["flag_meanings"].split()
        with rasterio.open(product / asset.href) as file:
            beside = product / item.assets["source_names"].href
            assert str(beside) in file.files  # where GDAL and QGIS look for the names
            for one in classes:
                colour = "".join(f"{part:02X}" for part in file.colormap(1)[one.value][:3])
                assert one.color_hint == colour
        cubes = item.assets["cube"].extra_fields["bands"]
        said = next(band for band in cubes if band["name"] == "cloud")
        names = [one["name"] for one in said["classification:classes"]]
        assert names == cube.cloud.attrs["flag_meanings"].split()


def test_renders_show_true_colour_and_classes(product: Path) -> None:
    item = read_items(product)[SECOND]
    renders = RenderExtension.ext(item).renders
    assert renders is not None
    assert set(renders) == {"reflectance", "source", "reference_days"}
    with rasterio.open(product / item.assets["source"].href) as file:
        assert renders["source"].colormap is not None
        for value, colour in renders["source"].colormap.items():
            assert file.colormap(1)[int(value)] == tuple(colour)
    one = renders["reflectance"]
    shown = one.properties["bidx"]
    with rasterio.open(product / item.assets["reflectance"].href) as file:
        assert [file.descriptions[index - 1] for index in shown] == ["B04", "B03", "B02"]
        assert one.rescale is not None
        ((low, high),) = {tuple(limits) for limits in one.rescale}  # one keeps the colours' balance
        pixels = file.read(shown)
        inside = (pixels >= low) & (pixels <= high)
        assert inside[pixels > 0].mean() > 0.8  # most of what there is is neither
    with Image.open(product / item.assets["preview"].href) as preview:
        small = np.asarray(preview)
    np.testing.assert_array_equal(
        small, true_colour(pixels, ("B04", "B03", "B02"), low, high)
    )  # the area is small enough to be shown whole


def watching(step: dict[str, Any]) -> set[str]:
    """Return the radar scenes that tell where the ground changed since a step's other days."""
    watches = [one["radar"] for found in step["references"].values() for one in found]
    return {name for one in watches if one for when in ("now", "then") for name in one[when]}


def test_it_says_what_it_was_made_of_and_by_what(product: Path, scenes: SyntheticScenes) -> None:
    facts, found = summary(product), json.loads((product / "items.json").read_text())["features"]
    places = {f"./items.json#{one['collection']}/{one['id']}": one["id"] for one in found}
    for step, (date, item) in zip(facts["steps"], read_items(product).items(), strict=True):
        links = {link.title: link for link in item.get_links("derived_from")}
        used = {one["id"] for one in step["reference_shares"] if one["share"]}
        assert set(links) == {*step["optical"], *step["radar"], *used, *watching(step)}
        for title, link in links.items():
            assert link.media_type == "application/geo+json"
            assert link.href == SELF or places[link.href] == title
        said = item.properties
        assert [one["scene"] for one in said["cloudfree:harmonisation"]] == step["optical"]
        assert all(one["offset_dn"] == OFFSET for one in said["cloudfree:harmonisation"])
        assert all("05.10" in one["why"] for one in said["cloudfree:harmonisation"])
        source = open_raw(product).source.sel(time=date)
        assert said["cloudfree:pixels"] == {
            name: int((source == code).sum())
            for name, code in (
                ("seen", 1), ("reconstructed", 2), ("not_restored", 3), ("other_days", 4),
            )
        }  # fmt: skip
        assert said["processing:software"] == facts["versions"]
        assert "baseline 1" in said["processing:lineage"]
        assert said["cloudfree:model"]["mlm:name"] == "baseline"
        assert "Copernicus" in said["attribution"] and said["providers"][0]["roles"]
        assert said["eo:cloud_cover"] == 0
        assert "secret" not in json.dumps(item.to_dict())
    first = read_items(product)[FIRST].get_links("derived_from")
    assert SELF in [link.href for link in first]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One step of a place that was seen on two other days."""
    folder = tmp_path_factory.mktemp("series")
    days = ("2024-06-05", "2024-06-15", "2024-06-25")
    year = write_year(folder / "scenes", seed=3, days=days, cloud_share=0.2)
    make(folder / "out", aoi=year.aoi, date=days[1], stac=year.items, references={"days": 75})
    return folder / "out"


def test_it_says_what_it_owes_to_other_days(series: Path) -> None:
    (item,) = read_items(series).values()
    cube = xr.open_zarr(series / "cube.zarr").isel(time=0)
    made = int(cube.source.isin([2, 4]).sum())
    counts = {
        name: int((cube.reference_scene == number).sum())
        for number, name in enumerate(cube.attrs["reference_scenes"], 1)
    }
    assert len(counts) == 2 and min(counts.values()) > 1000
    links = {one.title: one for one in item.get_links("derived_from")}
    (step,) = summary(series)["steps"]
    assert len(watching(step)) == 3
    assert set(links) == {*step["optical"], *step["radar"], *counts, *watching(step)}
    shares = {name: one.extra_fields.get("cloudfree:share") for name, one in links.items()}
    assert {name for name, share in shares.items() if share is None} == {
        *step["optical"], *step["radar"], *watching(step),
    }  # fmt: skip
    for said in step["reference_shares"]:
        assert said["share"] == pytest.approx(counts[said["id"]] / made, rel=1e-3)
        assert said["share"] == shares[said["id"]]
        there = cube.reference_scene == 1 + cube.attrs["reference_scenes"].index(said["id"])
        assert (cube.reference_days.where(there, said["days"]) == said["days"]).all()
    assert [said["days"] for said in step["reference_shares"]] == [-10, 10]
    known = {scene["id"] for scene in summary(series)["scenes"]}
    assert known == set(links)
    assert item.properties["cloudfree:pixels"]["other_days"] == sum(counts.values())
    lineage = item.properties["processing:lineage"]
    assert "made of what Sentinel-2 saw there on other days, or else reconstructed" in lineage
    assert lineage in read(series, "collection.json")["description"]
    render = item.properties["renders"]["reference_days"]
    assert render["rescale"] == [[-10.0, 10.0]] and render["nodata"] == -32768


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "unchanged; no pixel was made"),
        ({"other_days": 1}, "hid was made of what Sentinel-2 saw there on other days"),
        ({"reconstructed": 1}, "reconstructed from Sentinel-1 backscatter and surroundings by"),
    ],
)
def test_the_lineage_names_what_was_used(
    scenes: SyntheticScenes, counts: dict[str, int], said: str
) -> None:
    plan = make_plan(Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items),
                             settings=RunSettings()))  # fmt: skip
    pixels = {"seen": 5, "reconstructed": 0, "other_days": 0, "not_restored": 0, **counts}
    files = StepFiles(
        step=plan.steps[0], name="one", references=(), pixels=pixels, cogs=(), views={}, others=()
    )
    lineage = describe_lineage(plan.bundle.contract, [files])
    assert said in lineage
    assert ("other days" in lineage, "Sentinel-1" in lineage) == (
        "other_days" in counts, "reconstructed" in counts,
    )  # fmt: skip


@pytest.mark.usefixtures("offline")
def test_a_model_with_weights_is_told_by_their_checksums_and_its_check_is_kept(
    scenes: SyntheticScenes,
) -> None:
    tables = {"restoration": {"model": "small"}}
    settings = build(RunSettings, tables, "test")
    plan = make_plan(Request(aoi=scenes.aoi, date=scenes.date, stac=str(scenes.items),
                             settings=settings))  # fmt: skip
    figures = {"places": 8, "models": {"small": {"psnr_db": 17.3}}}
    choices = [
        {"optical": name, "radar": "", "maker": "inpainting"}
        for name in ("elsewhere", plan.steps[0].optical[0].id)
    ]
    state = {"key": "0123456789abcdef", "check": figures, "choices": choices}
    product = describe_product(plan, state)
    pixels = {"seen": 50, "reconstructed": 15, "other_days": 5, "not_restored": 30}
    files = StepFiles(
        step=plan.steps[0], name="one", references=(), pixels=pixels, cogs=(), views={}, others=()
    )
    item = build_item(product, files)
    assert validate_dict(item, extensions=[])
    folder = open_bundle("small").folder
    weights = item["properties"]["cloudfree:model"]["weights"]
    assert {one["role"] for one in weights} == {"sar2opt", "cloud_removal"}
    for one in weights:
        digest = hashlib.sha256((folder / one["file"]).read_bytes()).hexdigest()
        assert one["file:checksum"] == f"1220{digest}"
    assert item["properties"]["cloudfree:check"] == figures
    assert item["properties"]["cloudfree:choice"] == choices[1:]
    assert item["properties"]["eo:cloud_cover"] == 30


def test_a_product_of_an_earlier_cloudfree_goes_on_and_gets_the_files_of_today(
    product: Path, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(product, out)
    for name in (*KEYS, "item"):
        for path in out.glob(f"*_{name}.*"):
            path.unlink()
    (out / "collection.json").unlink()
    (out / "item.json").write_text("{}")  # one for all steps
    outcome = make(
        out,
        aoi=scenes.aoi, date="2024-06-14/2024-06-21", stac=product.parent / "items.json",
        bands=BANDS, references={"days": 75},
    )  # fmt: skip
    assert outcome.chunks_resumed == outcome.chunks_done == 2
    assert {path.name for path in out.iterdir()} == {path.name for path in product.iterdir()}
