"""A catalog over many runs: sound after each, whatever runs at the same time or was broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.validation import validate_dict

from cloudfree.core.errors import OutputError
from cloudfree.product.catalog import add_to_catalog, check_catalog
from cloudfree.storage.outputs import open_storage
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import make

ITEM = "2024-06-15_item.json"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def scenes(small_scenes: SyntheticScenes) -> SyntheticScenes:
    """Small ones."""
    return small_scenes


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("product") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    return out


def like(product: Path, folder: Path, *, identifier: str, east: float = 0, day: int = 15) -> Path:
    """Write the STAC that a product of another place and day would have."""
    text = {name: (product / name).read_text() for name in ("collection.json", ITEM)}
    own = json.loads(text["collection.json"])["id"]
    files = {name: json.loads(one.replace(own, identifier)) for name, one in text.items()}
    item, collection = files[ITEM], files["collection.json"]
    item["bbox"] = [edge + east * (index % 2 == 0) for index, edge in enumerate(item["bbox"])]
    item["geometry"]["coordinates"] = [
        [[x + east, y] for x, y in ring] for ring in item["geometry"]["coordinates"]
    ]
    item["properties"]["datetime"] = f"2024-06-{day}T10:20:31Z"
    collection["extent"]["spatial"]["bbox"] = [item["bbox"]]
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def read_back(folder: Path) -> list[pystac.Item]:
    """Return the items, everything valid by pystac's own validation and with relative links."""
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    children = list(catalog.get_children())
    for one in (catalog, *children):
        assert validate_dict(one.to_dict(), extensions=[])
    for path in folder.rglob("*.json"):
        for link in json.loads(path.read_text())["links"]:
            if link["rel"] in ("root", "parent", "child", "item", "collection"):
                assert link["href"].startswith("."), (path, link)
    items = list(catalog.get_items(recursive=True))
    for item in items:
        assert validate_dict(item.to_dict(), extensions=[])
    return items


def test_a_run_lists_its_product_and_again_replaces_it(
    scenes: SyntheticScenes, tmp_path: Path, cloudfree: Command
) -> None:
    command = (
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--no-check",
        "--model", "baseline", "--out", tmp_path / "a" / "out", "--catalog", tmp_path / "catalog",
    )  # fmt: skip
    for _ in range(2):
        code, _, said = cloudfree(*command)
        assert code == 0, said
        (item,) = read_back(tmp_path / "catalog")
        collection = item.get_collection()
        assert collection is not None
        assert collection.id == item.collection_id
        assert collection.extent.spatial.bboxes == [item.bbox]
        for asset in (*item.assets.values(), *collection.assets.values()):
            assert not Path(asset.href).is_absolute()
            assert Path(asset.get_absolute_href() or "").exists()
        origins = [link.href.split("#")[0] for link in item.get_links("derived_from")]
        assert len(origins) == 2
        for href in origins:
            assert (Path(item.self_href).parent / href).samefile(tmp_path / "a/out/items.json")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("a", "catalog"):
        (tmp_path / name).rename(moved / name)
    (item,) = read_back(moved / "catalog")
    assert Path(item.assets["cube"].get_absolute_href() or "").is_dir()


def test_products_come_together_and_one_made_again_is_replaced(
    product: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    for name, east, day in (("a", 0, 15), ("b", 3, 20), ("a", -2, 11)):
        other = tmp_path / f"{name}{day}"
        like(product, other, identifier=name, east=east, day=day)
        add_to_catalog(folder, open_storage(other))
    items = {item.collection_id: item for item in read_back(folder)}
    assert set(items) == {"a", "b"}
    assert {one: item.datetime.day for one, item in items.items()} == {"a": 11, "b": 20}
    assert items["b"].bbox[0] - items["a"].bbox[0] == pytest.approx(5)
    collection = items["a"].get_collection()
    assert collection is not None
    assert collection.extent.spatial.bboxes == [items["a"].bbox]
    assert collection.assets["run"].get_absolute_href() == str(tmp_path / "a11" / "run.json")


ADD = """
import sys
from pathlib import Path
from cloudfree.product.catalog import add_to_catalog
from cloudfree.storage.outputs import open_storage
for out in sys.argv[2:]:
    add_to_catalog(Path(sys.argv[1]), open_storage(out))
"""


def test_processes_at_once_lose_nothing(product: Path, tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(12)]
    outs = [like(product, tmp_path / name, identifier=name) for name in names]
    adders = [
        subprocess.Popen([sys.executable, "-c", ADD, tmp_path / "catalog", *outs[start::3]])
        for start in range(3)
    ]
    assert [adder.wait(timeout=120) for adder in adders] == [0, 0, 0]
    found = [item.collection_id for item in read_back(tmp_path / "catalog")]
    assert sorted(found) == sorted(names)


def test_what_others_keep_there_stays(product: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    mine = pystac.Catalog(id="mine", description="of somebody else", title="Mine")
    child = pystac.Catalog(id="child", description="of somebody else")
    child.add_item(pystac.Item.from_file(str(product / ITEM)))
    mine.add_child(child)
    mine.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    before = {path: path.read_bytes() for path in (folder / "child").rglob("*.json")}
    add_to_catalog(folder, open_storage(product))
    assert {path: path.read_bytes() for path in before} == before
    again = pystac.Catalog.from_file(str(folder / "catalog.json"))
    assert (again.id, again.title) == ("mine", "Mine")
    own = pystac.Collection.from_file(str(product / "collection.json"))
    assert {one.id for one in again.get_children()} == {"child", own.id}
    assert len(list(again.get_items(recursive=True))) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("catalog.json", b"{"),
        ("catalog.json", b'{"type": "Catalog"}'),
        ("catalog.json", b'{"type": "FeatureCollection", "features": []}'),
        ("catalog.json", b"[]"),
        ("catalog.json", b"\xff\xfe"),
    ],
)
def test_a_damaged_catalog_is_one_line_before_the_run_and_loses_nothing(
    product: Path,
    scenes: SyntheticScenes,
    tmp_path: Path,
    cloudfree: Command,
    name: str,
    content: bytes,
) -> None:
    folder = tmp_path / "catalog"
    add_to_catalog(folder, open_storage(like(product, tmp_path / "p", identifier="p")))
    (folder / name).write_bytes(content)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    code, printed, said = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--no-check",
        "--model", "baseline", "--out", tmp_path / "out", "--catalog", folder,
    )  # fmt: skip
    assert code == 2
    assert not printed and len(said.strip().splitlines()) == 1, said
    assert name in said and "--catalog" in said
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError):  # and where it was damaged while the run ran
        add_to_catalog(folder, open_storage(product))
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


def test_a_catalog_of_an_earlier_cloudfree_is_one_line_before_the_run(
    product: Path, scenes: SyntheticScenes, tmp_path: Path, cloudfree: Command
) -> None:
    """One Collection of that name held an Item a run."""
    folder = tmp_path / "catalog"
    old = pystac.Catalog(id="cloudfree-products", description="Products of cloudfree")
    one = pystac.Collection.from_file(str(product / "collection.json")).full_copy()
    one.id = "cloudfree"
    old.add_child(one)
    old.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    assert folder / "cloudfree" / "collection.json" in before
    code, printed, said = cloudfree(
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--no-check", "--model", "baseline", "--out", tmp_path / "out", "--catalog", folder,
    )  # fmt: skip
    assert code == 2
    assert not printed and len(said.strip().splitlines()) == 1, said
    assert "an earlier cloudfree" in said and "Give a new folder" in said
    assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before


def test_places_that_cannot_hold_a_catalog_are_refused(tmp_path: Path) -> None:
    out = open_storage(tmp_path / "out")
    (tmp_path / "file").write_text("")
    wrong: dict[Any, str] = {
        "s3://bucket/prefix": "no local folder",
        tmp_path / "out": "lies in --out",
        tmp_path / "out" / "catalog": "lies in --out",
        tmp_path / "file": "Not a directory",
        tmp_path / "file" / "below": "Not a directory",
    }
    for folder, why in wrong.items():
        with pytest.raises(OutputError, match=why) as caught:
            check_catalog(str(folder), out)
        assert "\n" not in str(caught.value)
    assert check_catalog(str(tmp_path / "new"), out) == tmp_path / "new"
    assert not (tmp_path / "new").exists()
    assert check_catalog(str(tmp_path), out) == tmp_path  # with the output inside


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said_before_the_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_catalog(str(tmp_path / "catalog"), open_storage(tmp_path.parent / "out"))
    tmp_path.chmod(0o700)


def test_a_product_that_is_gone_does_not_stop_others(product: Path, tmp_path: Path) -> None:
    gone = like(product, tmp_path / "gone", identifier="gone")
    add_to_catalog(tmp_path / "catalog", open_storage(gone))
    shutil.rmtree(gone)
    add_to_catalog(tmp_path / "catalog", open_storage(product))
    assert len(read_back(tmp_path / "catalog")) == 2
