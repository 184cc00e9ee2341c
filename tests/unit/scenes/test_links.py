"""Links as people write them lead to the file that was meant."""

from pathlib import Path

import pytest

from cloudfree.core.keys import unsigned
from cloudfree.scenes.links import alternates, resolve, with_links


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "Süd #1 (50%20)"
    folder.mkdir()
    for name in ("B 02.tif", "B03#x.tif", "B04%20!.tif", "ö?[1].tif", "a.zip"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    ("href", "name"),
    [
        ("./B 02.tif", "B 02.tif"),
        ("./B%2002.tif", "B 02.tif"),
        ("B03#x.tif", "B03#x.tif"),
        ("B03%23x.tif", "B03#x.tif"),
        ("B04%20!.tif", "B04%20!.tif"),
        ("B04%2520!.tif", "B04%20!.tif"),
        ("%C3%B6%3F%5B1%5D.tif", "ö?[1].tif"),
        ("ö?[1].tif", "ö?[1].tif"),
    ],
)
def test_relative_links_quoted_or_not(folder: Path, href: str, name: str) -> None:
    assert Path(resolve(href, str(folder / "items.json"))).read_text() == name


@pytest.mark.parametrize("name", ["B 02.tif", "B03#x.tif", "B04%20!.tif", "ö?[1].tif"])
@pytest.mark.parametrize("start", ["file://", "file://localhost", "file:", "FILE://"])
def test_file_links_quoted_or_not(folder: Path, start: str, name: str) -> None:
    path = folder / name
    quoted = path.as_uri().removeprefix("file://")
    for written in (quoted, str(path)):
        assert resolve(start + written, "https://x.org/items.json") == str(path)


def test_a_file_link_is_decoded_though_a_file_is_called_like_the_code(tmp_path: Path) -> None:
    (tmp_path / "a b.tif").write_text("decoded")
    (tmp_path / "a%20b.tif").write_text("as written")
    assert resolve(f"file://{tmp_path}/a%20b.tif", "items.json") == str(tmp_path / "a b.tif")
    assert resolve("a%20b.tif", str(tmp_path / "items.json")) == str(tmp_path / "a%20b.tif")


def test_what_does_not_exist_stays_as_written(tmp_path: Path) -> None:
    document = str(tmp_path / "items.json")
    assert resolve("no%20file.tif", document) == str(tmp_path / "no%20file.tif")


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("/vsizip/./a.zip/x/B02.tif", "/vsizip/{}/a.zip/x/B02.tif"),
        ("/vsitar/../t.tar/B02.tif", "/vsitar/{}/../t.tar/B02.tif"),
        ("zip://./a.zip!/x/B02.tif", "zip://{}/a.zip!/x/B02.tif"),
    ],
)
def test_archives_lie_beside_the_document(folder: Path, href: str, expected: str) -> None:
    found = resolve(href, str(folder / "items.json"))
    assert found == expected.replace("{}/..", str(folder.parent)).format(folder)


@pytest.mark.parametrize(
    "href",
    [
        "/vsizip//data/a.zip/B02.tif",
        "/vsis3/bucket/B 02.tif",
        "s3://bucket/B%2002.tif",
        "https://x.org/a%20b/B02.tif?sig=a%2Fb%3D#part",
        "zip:///data/a.zip!/B02.tif",
    ],
)
def test_whole_links_stay(folder: Path, href: str) -> None:
    assert resolve(href, str(folder / "items.json")) == href


def test_what_gdal_would_read_by_http_is_read_by_http() -> None:
    assert resolve("/vsicurl/https://x.org/B02.tif", "items.json") == "https://x.org/B02.tif"


def test_links_of_a_document_on_a_server_lie_beside_it() -> None:
    found = resolve("./a%20b.tif", "https://x.org/stac/items.json")
    assert found == "https://x.org/stac/a%20b.tif"


def test_alternate_links_are_resolved_and_what_is_none_is_passed_over(folder: Path) -> None:
    asset = {
        "href": "s3://bucket/B02.tif",
        "alternate": {"local": {"href": "B%2002.tif"}, "odd": "B02", "empty": {}},
    }
    resolved = with_links(asset, str(folder / "items.json"))
    assert list(alternates(resolved)) == [str(folder / "B 02.tif")]
    assert resolved["href"] == "s3://bucket/B02.tif"
    assert list(alternates({"href": "a", "alternate": ["b"]})) == []


def test_only_signatures_are_taken_off() -> None:
    assert unsigned("https://x.org/B02.tif?sig=1#a") == "https://x.org/B02.tif"
    assert unsigned("/data/Süd #1/B02?.tif") == "/data/Süd #1/B02?.tif"
