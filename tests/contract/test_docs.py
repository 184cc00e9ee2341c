"""What the documentation promises: its links lead somewhere, and what it names exists."""

from __future__ import annotations

import dataclasses
import re
import shlex
import tomllib
import typing
from pathlib import Path

import click
import pytest

import cloudfree
from cloudfree.cli import main
from cloudfree.core.config import RunSettings
from cloudfree.core.tables import build
from cloudfree.product.item import COLLECTION, name_item, name_view
from cloudfree.product.layers import ALL_LAYERS, Layer
from cloudfree.product.provenance import ITEMS, RUN
from cloudfree.product.store import CUBE, create_cube
from cloudfree.storage.outputs import open_storage
from cloudfree.train.__main__ import main as train
from cloudfree.train.settings import TrainSettings
from tests.cubes import make_grid, make_step

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INSIDE = [ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs" / "internals").glob("*.md"))]
PRODUCT = ROOT / "docs" / "product.md"
_BLOCK = re.compile(r"^([ ]*)```(\w*)\n(.*?)^\1```$", re.M | re.S)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read_prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text("utf-8"))


def read_blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks in some languages; "" are those that name none."""
    found = _BLOCK.findall(page.read_text("utf-8"))
    return [re.sub(f"^{pad}", "", code, flags=re.M) for pad, name, code in found
            if name in languages]  # fmt: skip


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`]+)`", read_prose(page))


def anchors(page: Path) -> set[str]:
    """Return what can stand behind # in a link to a page, by GitHub's rule."""
    titles = re.findall(r"^#+ (.+)$", read_prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, *INSIDE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read_prose(page)):
        assert not re.match(r"\w+:", target), f"{target} leaves the project"
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists() and file.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {page.name for page in PAGES} - {"README.md"}
    assert pages == set(re.findall(r"\((\w+\.md)\)", index))
    inside = {page.name for page in INSIDE[1:]}
    assert inside == set(re.findall(r"\(internals/(\w+\.md)\)", index))


def command_lines(page: Path) -> list[list[str]]:
    """Return the words of each line of a block that calls cloudfree."""
    lines = [
        line.strip()
        for block in read_blocks(page, "", "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line)[1:] for line in lines if line.startswith("cloudfree ")]


@every_page
def test_command_lines_are_taken(page: Path) -> None:
    for words in command_lines(page):
        context = click.Context(main, info_name="cloudfree", **main.context_settings)
        rest = main.make_parser(context).parse_args(words)[1]
        name, *arguments = rest
        command = main.get_command(context, name)
        assert command is not None, words
        command.make_context(name, arguments, parent=context)


@every_page
def test_options_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(["--help"])
    known = set(re.findall(r"-{1,2}[a-z][a-z-]*", capsys.readouterr().out))
    for command in (main, *main.commands.values()):
        known |= {name for one in command.params for name in one.opts}
    said = [words for words in command_lines(page) if words[0] == "train"]
    words = [word for code in inline_code(page) for word in code.split()]
    foreign = {"--constraint"}  # pip's
    for word in (*words, *(word for line in said for word in line)):
        if re.match(r"--?[a-z]", word):
            assert word in known | foreign, word


@every_page
def test_inline_commands_exist(page: Path) -> None:
    for code in inline_code(page):
        words = [word for word in code.split() if not word.startswith("-")]
        if len(words) > 1 and words[0] == "cloudfree":
            assert words[1] in {*main.commands, "COMMAND"}, code


def known_settings() -> dict[str, set[str]]:
    """Return the keys of each section, of runs and of trainings."""
    return {
        section: {field.name for field in dataclasses.fields(kind)}
        for settings in (TrainSettings, RunSettings)
        for section, kind in typing.get_type_hints(settings).items()
        if dataclasses.is_dataclass(kind)
    }


@every_page
def test_settings_exist(page: Path) -> None:
    for block in read_blocks(page, "toml"):
        build(RunSettings, tomllib.loads(block), page.name)
    known = known_settings()
    for code in inline_code(page):
        if named := re.fullmatch(r"\[(\w+)\](?: (\w+))?", code):
            section, key = named.groups()
            assert section in known, code
            assert key is None or key in known[section], code


def test_the_guide_lists_every_section() -> None:
    table = re.findall(r"^\| `\[(\w+)\]` \|", (ROOT / "docs" / "guide.md").read_text("utf-8"), re.M)
    assert table == [field.name for field in dataclasses.fields(RunSettings)]


@every_page
def test_python_is_python_and_names_what_there_is(page: Path) -> None:
    code = read_blocks(page, "python")
    for block in code:
        compile(block, page.name, "exec")
    text = "\n".join([*code, *(one for one in inline_code(page) if "(" in one)])
    for name in re.findall(r"\bcloudfree\.(\w+)\(", text):
        assert hasattr(cloudfree, name), name


@every_page
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # the mean of an empty cube
@pytest.mark.filterwarnings("ignore:Consolidated metadata")  # xarray writes them, and zarr warns
def test_python_that_needs_only_a_cube_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cube_only = [
        block
        for block in read_blocks(page, "python")
        if re.search(rf"open_cube|out/{CUBE}", block)
        and not re.search(r"cloudfree\.run|\.tif", block)
    ]
    if cube_only:
        steps, bands = [make_step(3), make_step(8)], ("B02", "B03", "B04")
        create_cube(open_storage(tmp_path / "out"), make_grid(), steps, bands, {}, ALL_LAYERS)
    monkeypatch.chdir(tmp_path)
    for block in cube_only:
        exec(block, {})


def table_rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table of product.md below a line, without its head."""
    below = PRODUCT.read_text("utf-8").split(f"\n{heading}\n", 1)[1].lstrip("\n")
    table = below[below.index("|") :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in table]


def describe(layer: Layer) -> list[str]:
    dimensions = "time, band, y, x" if layer.has_bands else "time, y, x"
    scale = "" if layer.scale is None else f"{layer.scale:g}"
    nodata = "" if layer.nodata is None else f"{layer.nodata}"
    return [layer.name, dimensions, layer.dtype, scale, nodata]


def test_arrays_are_those_of_the_product() -> None:
    rows = table_rows("## Arrays of the cube")
    assert [row[:5] for row in rows] == [describe(layer) for layer in ALL_LAYERS]
    assert all(layer.title in row[5] for layer, row in zip(ALL_LAYERS, rows, strict=True))


@pytest.mark.parametrize("layer", [one for one in ALL_LAYERS if one.classes], ids=lambda x: x.name)
def test_classes_are_those_of_the_product(layer: Layer) -> None:
    rows = table_rows(f"`{layer.name}`:")
    assert [(row[0], row[1]) for row in rows] == [(f"{c.value}", c.name) for c in layer.classes]


def test_files_are_those_of_the_product() -> None:
    named = {row[0] for row in table_rows("## Files")}
    cogs = {f"DATE_{layer.name}.tif" for layer in ALL_LAYERS if layer.exported}
    assert {name for name in named if name.endswith(".tif")} == cogs
    assert {CUBE, RUN, COLLECTION, ITEMS, name_item("DATE"), name_view("DATE", "B04")} <= {
        name.split("`")[0] for name in named
    }
