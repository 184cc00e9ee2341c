"""The walk against a real STAC API: `rustac serve`, in its own process on loopback."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudfree.core.config import CatalogSettings, SceneSettings
from cloudfree.core.errors import CatalogError
from cloudfree.geometry.aoi import read_aoi
from cloudfree.scenes import catalog
from cloudfree.scenes.providers import find_sources
from cloudfree.scenes.scene import parse_period
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, make, open_raw
from tests.servers.faults import Faults
from tests.servers.processes import serve_files

PROGRAM = Path(sys.executable).parent / "rustac"


@pytest.fixture(scope="module")
def api(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API that serves the synthetic scenes and one elsewhere."""
    collection = json.loads(scenes.items.read_text())
    for item in collection["features"]:
        for asset in item["assets"].values():
            asset["href"] = str((scenes.items.parent / asset["href"]).resolve())
    far = json.loads(json.dumps(collection["features"][0]))
    far["id"], far["bbox"] = "far-away", [100, 10, 101, 11]
    far["geometry"]["coordinates"] = [[[100, 10], [101, 10], [101, 11], [100, 11], [100, 10]]]
    collection["features"].append(far)
    items = tmp_path_factory.mktemp("api") / "items.json"
    items.write_text(json.dumps(collection))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [PROGRAM, "serve", "--create-collections", "-a", f"127.0.0.1:{port}", str(items)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(address, server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)


def test_search_finds_what_lies_in_the_area(api: str, scenes: SyntheticScenes) -> None:
    items = catalog.search(
        find_sources(CatalogSettings(), api),
        area=read_aoi(scenes.aoi).geometry,
        period=parse_period(scenes.date),
        catalog=CatalogSettings(),
        scenes=SceneSettings(),
    )
    assert {item["collection"] for item in items} == {"sentinel-1-rtc", "sentinel-2-l2a"}
    assert "far-away" not in {item["id"] for item in items}


def test_a_collection_the_server_lacks_is_named(
    api: str, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    table = tmp_path / "mine.toml"
    table.write_text('[[optical]]\nid = "landsat"\nlevel = "L2A"\noffset = "asset"\n')
    with pytest.raises(CatalogError, match="has none of the collections landsat"):
        catalog.search(
            find_sources(CatalogSettings(provider=str(table)), api),
            area=read_aoi(scenes.aoi).geometry,
            period=parse_period(scenes.date),
            catalog=CatalogSettings(),
            scenes=SceneSettings(),
        )


@pytest.fixture
def web_server(scenes: SyntheticScenes) -> Iterator[str]:
    """The address of a plain web server over the folder of the synthetic scenes."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command,
        cwd=scenes.items.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split("port ")[1].split()[0]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def test_a_file_on_a_web_server_is_read_as_a_file(web_server: str, scenes: SyntheticScenes) -> None:
    def ask(name: str) -> list[catalog.Item]:
        return catalog.search(
            find_sources(CatalogSettings(), f"{web_server}/{name}"),
            area=read_aoi(scenes.aoi).geometry,
            period=parse_period(scenes.date),
            catalog=CatalogSettings(),
            scenes=SceneSettings(),
        )

    items = ask("items.json")
    assert {item["collection"] for item in items} == {"sentinel-1-rtc", "sentinel-2-l2a"}
    hrefs = [asset["href"] for item in items for asset in item["assets"].values()]
    assert f"{web_server}/B04.tif" in hrefs
    with pytest.raises(CatalogError, match="does not answer as one: 404"):
        ask("elsewhere.json")


def test_a_catalog_on_a_server_that_is_overloaded_is_asked_again(scenes: SyntheticScenes) -> None:
    with serve_files(scenes.items.parent, Faults(unavailable=0.6, seed=1)) as server:
        items = catalog.search(
            find_sources(CatalogSettings(), f"{server.files}/items.json"),
            area=read_aoi(scenes.aoi).geometry,
            period=parse_period(scenes.date),
            catalog=CatalogSettings(),
            scenes=SceneSettings(),
        )
        assert server.told().faults["unavailable"] > 0
    assert len(items) == 2


def test_a_page_that_leads_to_itself_ends_the_search(caplog: pytest.LogCaptureFixture) -> None:
    pages = [{"features": [{"id": "a"}, {"id": "b"}]}, {"features": [{"id": "c"}]}]
    endless = itertools.chain(pages, itertools.repeat(pages[1]))
    items = catalog._read_pages(endless, "http://here?sig=secret")
    assert [item["id"] for item in items] == ["a", "b", "c"]
    assert "http://here gives the same page again" in caplog.text


def test_api_and_file_give_the_same_product(
    api: str, scenes: SyntheticScenes, tmp_path: Path
) -> None:
    request = {"aoi": scenes.aoi, "date": scenes.date}
    make(tmp_path / "api", stac=api, **request)
    make(tmp_path / "file", stac=scenes.items, **request)
    assert_same_pixels(open_raw(tmp_path / "api"), open_raw(tmp_path / "file"))
