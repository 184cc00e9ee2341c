"""Damaged input of every kind, drawn by a seed: one clear line and exit code 1 or 2, or the truth.

No case may end in a traceback. Exit code 0 is right where the damage does no harm; a resumed run
must then give the product of the undamaged one, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import random
import shutil
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import safetensors.numpy
import shapely

from cloudfree.cli import entry
from cloudfree.synthetic.scenes import SyntheticScenes, write_scenes
from tests.integration.products import assert_same_pixels, open_raw

logger = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SEED = 20241125
"""Every case is drawn by it, its kind and its number."""
MOST_LINES = 20
"""Of stderr, progress among them."""
LONGEST_LINE = 1500

Draw = random.Random
Case = tuple[str, Sequence[str | Path]]
"""What was done, and the command line."""


class Judge:
    """Runs the command line in this process and keeps what came of each case of a kind."""

    def __init__(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._kind, self._capsys = kind, capsys
        self._codes: Counter[int] = Counter()
        self._wrong: list[str] = []
        self._began = time.monotonic()

    def run(self, number: int, what: str, words: Sequence[str | Path]) -> int | None:
        """Return the exit code; None, and a note, where it ended as nothing may end."""
        before, sys.argv = sys.argv, ["cloudfree", *map(os.fspath, words)]
        self._capsys.readouterr()
        code = 0
        try:
            entry()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException as error:
            self.note(number, what, f"raised {type(error).__name__}: {error}")
            logger.exception("%s %d: %s", self._kind, number, what)
            return None
        finally:
            sys.argv = before
        self._codes[code] += 1
        said = self._capsys.readouterr().err
        if (fault := find_fault(code, said)) is not None:
            self.note(number, what, f"{fault}: {said[-600:]}")
        logger.info("%s %d (%s): %d, %s", self._kind, number, what, code, said.strip()[-300:])
        return code

    def note(self, number: int, what: str, fault: str) -> None:
        """Keep a case that went wrong."""
        self._wrong.append(f"{self._kind} {number} ({what}): {fault}")

    def close(self, least: int) -> None:
        """Log the outcomes; fail where a case went wrong, or too few were tried."""
        count, took_s = self._codes.total(), time.monotonic() - self._began
        codes = dict(sorted(self._codes.items()))
        logger.warning("fuzzed %s: %d cases, by exit code %s, %.0f s",
                       self._kind, count, codes, took_s)  # fmt: skip
        assert not self._wrong, "\n".join(self._wrong)
        assert count >= least


def find_fault(code: int, said: str) -> str | None:
    """Return what is wrong with an exit code and what stderr holds, or None."""
    lines = said.splitlines()
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if "Traceback" in said:
        return "a traceback"
    if len(lines) > MOST_LINES:
        return f"{len(lines)} lines"
    if code and not (lines and lines[-1].startswith("cloudfree: ")):
        return "no last line that says why"
    if any(len(line) > LONGEST_LINE for line in lines):
        return "a line without end"
    return None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScenes:
    """Scenes of 512 px."""
    return write_scenes(tmp_path_factory.mktemp("tiny"), seed=3, size_px=512)


@pytest.fixture
def judge(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[Judge]:
    yield Judge(request.node.name.removeprefix("test_"), capsys)


def words(command: str, scenes: SyntheticScenes, **other: str | Path) -> list[str | Path]:
    """Return a command line; ``other`` options replace those of the scenes or are added."""
    options = {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items,
               "model": "baseline", **other}  # fmt: skip
    return [command, *(part for name, value in options.items() for part in (f"--{name}", value))]


def draw_for(kind: str, number: int) -> Draw:
    return Draw(f"{SEED} {kind} {number}")


# How bytes and JSON are damaged.


def damage_bytes(draw: Draw, content: bytes) -> tuple[str, bytes]:
    """Return what was done, and the damaged content."""
    at = draw.randrange(len(content))
    end = min(len(content), at + draw.choice((1, 7, 300)))
    some = draw.randbytes(draw.choice((1, 16, 400)))
    return draw.choice([
        (f"cut at {at}", content[:at]),
        (f"without {at}:{end}", content[:at] + content[end:]),
        (f"{at}:{end} twice", content[:end] + content[at:]),
        (f"{len(some)} bytes put in at {at}", content[:at] + some + content[at:]),
        (f"zeros at {at}:{end}", content[:at] + bytes(end - at) + content[end:]),
        flip_bytes(draw, content),
        ("empty", b""),
    ])  # fmt: skip


def flip_bytes(draw: Draw, content: bytes) -> tuple[str, bytes]:
    flipped, places = bytearray(content), sorted(draw.sample(range(len(content)), 3))
    for place in places:
        flipped[place] ^= 1 << draw.randrange(8)
    return f"bits flipped at {places}", bytes(flipped)


WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, float("nan"), float("inf"), "", "x" * 3000, "\x00", "é\u202e",
    [], {}, [[]], [None], {"a": None}, 10**40, "../../etc/passwd", "2024-06-15",
)  # fmt: skip


def damage_json(draw: Draw, document: Any) -> tuple[str, Any]:
    """Return a copy of a document with one value replaced, wrapped or gone, and what was done."""
    document = json.loads(json.dumps(document))
    parents = list(walk(document, "$"))
    path, parent, key = draw.choice(parents)
    deed = draw.choice(["replace", "replace", "replace", "remove", "wrap"])
    if deed == "remove":
        del parent[key]
    elif deed == "wrap":
        parent[key] = [[parent[key]]]
    else:
        parent[key] = draw.choice(WRONG)
        deed = f"{str(parent[key])[:20]!r} for"
    return f"{deed} {path}", document


def walk(value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield path, parent and key of everything in a JSON document."""
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, item in pairs:
        yield f"{path}.{key}", value, key
        yield from walk(item, f"{path}.{key}")


# The kinds.


def rings(*corners: tuple[float, float]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[*map(list, corners), list(corners[0])]]}


def wrong_areas() -> list[tuple[str, bytes]]:
    nan, deep = float("nan"), 5000
    square = [[10.5, 48.2], [10.55, 48.2], [10.55, 48.22], [10.5, 48.2]]
    documents: list[tuple[str, Any]] = [
        ("NaN", rings((nan, 48), (10, 48), (10, 49))),
        ("infinite", rings((float("inf"), 48), (10, 48), (10, 49))),
        ("self-crossing", rings((10, 48), (11, 49), (11, 48), (10, 49))),
        ("the whole globe", rings((-180, -90), (180, -90), (180, 90), (-180, 90))),
        ("half the globe", rings((-90, -80), (89, -80), (89, 80), (-90, 80))),
        ("beyond the pole", rings((10, 88), (11, 88), (11, 95), (10, 95))),
        ("at the pole", rings((10, 89.9), (11, 89.9), (11, 90), (10, 90))),
        ("beyond 360", rings((350, 48), (730, 48), (730, 49), (350, 49))),
        ("huge numbers", rings((1e300, 1e300), (1e301, 1e300), (1e301, 1e301))),
        ("a line", rings((10, 48), (11, 49))),
        ("a dot of a polygon", rings((10, 48), (10, 48), (10, 48))),
        ("two corners", {"type": "Polygon", "coordinates": [square[:2]]}),
        ("not closed", {"type": "Polygon", "coordinates": [square[:3]]}),
        ("a flat list", {"type": "Polygon", "coordinates": square}),
        ("numbers as words", {"type": "Polygon", "coordinates": [[["10.5", "48.2"]] * 4]}),
        ("single numbers", {"type": "Polygon", "coordinates": [[[1], [2], [3], [1]]]}),
        ("six dimensions", {"type": "Polygon", "coordinates": [[[1, 2, 3, 4, 5, 6]] * 4]}),
        ("no coordinates", {"type": "Polygon"}),
        ("null coordinates", {"type": "Polygon", "coordinates": None}),
        ("a point", {"type": "Point", "coordinates": [10, 48]}),
        ("a line string", {"type": "LineString", "coordinates": square}),
        ("an empty multi", {"type": "MultiPolygon", "coordinates": []}),
        ("a feature of null", {"type": "Feature", "geometry": None, "properties": {}}),
        ("a feature of a list", {"type": "Feature", "geometry": []}),
        ("features that are words", {"type": "FeatureCollection", "features": ["a", 1]}),
        ("features that are a table", {"type": "FeatureCollection", "features": {}}),
        ("an empty collection", {"type": "GeometryCollection", "geometries": []}),
        ("TopoJSON", {"type": "Topology", "objects": {}, "arcs": []}),
        ("a type that is a list", {"type": ["Polygon"], "coordinates": [square]}),
        ("a word", "Polygon"), ("a list", [rings((10, 48), (11, 48), (11, 49))]), ("null", None),
    ]  # fmt: skip
    texts = [(name, json.dumps(document).encode()) for name, document in documents]
    whole = json.dumps(rings((10.53, 48.2), (10.56, 48.2), (10.56, 48.22))).encode()
    nested = b'{"type":"GeometryCollection","geometries":[' * deep + whole + b"]}" * deep
    return [
        *texts,
        ("nested collections", nested),
        ("nested lists", b"[" * 100_000),
        ("nested coordinates", b'{"type":"Polygon","coordinates":%s}' % (b"[" * 900 + b"]" * 900)),
        ("a byte order mark", b"\xef\xbb\xbf" + whole),
        ("UTF-16", whole.decode().encode("utf-16")),
        ("Latin 1", b'{"name": "\xe9t\xe9", ' + whole[1:]),
        ("nothing", b""), ("blanks", b" \n\t"), ("zeros", bytes(4096)),
        ("a shapefile's head", b"\x00\x00\x27\x0a" + bytes(96)),
        ("XML", b"<kml><Polygon/></kml>"),
        ("a number of 5000 digits", b'{"type": "Polygon", "coordinates": ' + b"9" * 5000 + b"}"),
    ]  # fmt: skip


def test_areas(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    cases, whole = wrong_areas(), tiny.aoi.read_bytes()
    for number in range(12):
        draw = draw_for("areas", number)
        what, document = damage_json(draw, json.loads(whole))
        cases += [(what, json.dumps(document).encode()), damage_bytes(draw, whole)]
    file = tmp_path / "area.geojson"
    for number, (what, content) in enumerate(cases):
        file.write_bytes(content)
        judge.run(number, what, words("plan", tiny, aoi=file))
    judge.run(len(cases), "a folder", words("plan", tiny, aoi=tmp_path))
    judge.close(least=60)


def area_files(scenes: SyntheticScenes, folder: Path) -> list[Path]:
    """Write the scenes' area in the formats that people have; return the files."""
    polygon = shapely.from_geojson(json.dumps(json.loads(scenes.aoi.read_text())["geometry"]))
    drivers = {"gpkg": "GPKG", "fgb": "FlatGeobuf", "kml": "KML", "gml": "GML",
               "shp": "ESRI Shapefile"}  # fmt: skip
    files = [folder / f"area.{suffix}" for suffix in drivers]
    for file, driver in zip(files, drivers.values(), strict=True):
        pyogrio.raw.write(
            file, np.array([polygon.wkb], object), [np.array(["a"], object)], ["name"],
            driver=driver, geometry_type="Polygon", crs="EPSG:4326",
        )  # fmt: skip
    with zipfile.ZipFile(folder / "area.zip", "w") as archive:
        for part in folder.glob("area.[sdp]*"):
            archive.write(part, part.name)
    with zipfile.ZipFile(folder / "area.kmz", "w") as archive:
        archive.write(folder / "area.kml", "doc.kml")
    (folder / "area.wkt").write_text(f"SRID=4326;{polygon.wkt}")
    return [*files, folder / "area.zip", folder / "area.kmz", folder / "area.wkt"]


def test_area_files(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    whole = area_files(tiny, tmp_path)
    for number in range(5 * len(whole)):
        draw = draw_for("area files", number)
        file = whole[number % len(whole)]
        what, content = damage_bytes(draw, file.read_bytes())
        damaged = tmp_path / f"damaged{number}" / file.name
        damaged.parent.mkdir()
        for beside in tmp_path.glob(f"{file.stem}.*") if file.suffix == ".shp" else ():
            shutil.copy(beside, damaged.parent)
        damaged.write_bytes(content)
        judge.run(number, f"{file.name} {what}", words("plan", tiny, aoi=damaged))
    judge.close(least=40)


def test_mask_files(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    whole = area_files(tiny, tmp_path)
    with rasterio.open(tiny.items.parent / "SCL.tif") as source:
        pixels, profile = source.read(), source.profile
    whole += [tmp_path / "mask.tif"] * 3
    for number in range(3 * len(whole)):
        draw = draw_for("mask files", number)
        file = whole[number % len(whole)]
        if file.suffix == ".tif":
            dtype = draw.choice(("uint8", "int16", "float32", "complex64"))
            values = draw.choice((pixels, pixels * 0, pixels * 0 + 1, pixels > 7, pixels * 25.5))
            given = {**profile, "driver": "GTiff", "dtype": dtype, "nodata": draw.choice((None, 0))}
            with rasterio.open(file, "w", **given) as target:
                target.write(values.astype(dtype))
            what, content = f"{dtype} {given['nodata']}", file.read_bytes()
        else:
            what, content = "whole", file.read_bytes()
        if number % 2:
            what, content = damage_bytes(draw, content)
        damaged = tmp_path / f"damaged{number}" / file.name
        damaged.parent.mkdir()
        damaged.write_bytes(content)
        judge.run(number, f"{file.name} {what}", [*words(
            "run", tiny, aoi=small_area(tiny, tmp_path), mask=damaged, out=tmp_path / f"o{number}"
        ), "--no-check"])  # fmt: skip
    judge.close(least=30)


DATES = (
    "", " ", "/", "//", "..", "2024", "2024-06", "June", "yesterday", "2024-02-30", "2024-13-01",
    "0000-01-01", "0001-01-01", "9999-12-31", "-2024-06-15", "+2024-06-15", "2024-06-15/",
    "/2024-06-15", "2024-06-20/2024-06-10", "2024-06-10/2024-06-20/2024-06-30", "2024-06-15T10:00",
    "2024-06-15T10:00:00Z/2024-06-16T00:00:00Z", "\u0662\u0660\u0662\u0664-06-15",
    "\uff12\uff10\uff12\uff14-06-15",
    "2024\u201306\u201315",
    "2024-6-15", "15.06.2024", "20240615", "2024-06-15" * 500, "2024-06-15\n", "\x1b[31m",
    "2024-06-15/..", "1e3", "NaN", "2199-12-31/2200-12-31", "1970-01-01/2200-12-31",
)  # fmt: skip


def test_dates(judge: Judge, tiny: SyntheticScenes) -> None:
    for number, date in enumerate(DATES):
        judge.run(number, repr(date[:40]), [*words("plan", tiny), f"--date={date}"])
    judge.close(least=len(DATES))


SETTINGS = (
    "[grid]\nresolution_m = nan", "[grid]\nresolution_m = inf", "[grid]\nresolution_m = 1e-9",
    "[grid]\nresolution_m = 1e300", "[grid]\nresolution_m = -10", "[grid]\nresolution_m = '10'",
    "[grid]\nchunk_px = 0", "[grid]\nchunk_px = 25600000000000000000000",
    "[grid]\nchunk_px = 256.0",
    "[grid]\nbands = []", "[grid]\nbands = 'B02'", "[grid]\nbands = ['B02', 'B02']",
    "[grid]\nbands = [2, 3]", "[grid]\ncrs = ''", "[grid]\ncrs = 'EPSG:4326'",
    "[grid]\ncrs = 'EPSG:32733'", "[grid]\ncrs = 'EPSG:3413'", "[grid]\ncrs = '+proj=utm'",
    "[grid]\ncrs = '\\u0000'", "[grid]\ncrs = 7", "[grid]\nchunkpx = 256", "[gird]\n", "grid = 7",
    "grid = [1]", "[[grid]]\nchunk_px = 256", "[grid.crs]\na = 1", "x = 1",
    "[scenes]\noptical_days = nan", "[scenes]\noptical_days = 1e9", "[scenes]\nsar_days = inf",
    "[scenes]\nday_cost = nan", "[scenes]\nday_cost = inf", "[scenes]\nmin_seen = nan",
    "[scenes]\nmin_seen = true", "[catalog]\nmax_cloud_percent = nan",
    "[catalog]\ntimeout_s = nan", "[catalog]\nprovider = 'nobody'",
    "[catalog]\nprovider = 'x.toml'",
    "[catalog]\nprovider = '\\u0000.toml'", "[catalog]\nradar_provider = 'earth-search'",
    "[radiometry]\nlow_percent = nan", "[radiometry]\nsample_windows = 1000000000000000000000",
    "[radiometry]\nfloor_db = nan", "[masks]\nsource = ''", "[masks]\nsource = '\\u0000'",
    "[masks]\ndetector = 'eyes'", "[masks]\ncloudy = [99]", "[masks]\ncloudy = [8, 8]",
    "[masks]\ndilation_m = nan", "[masks]\ndilation_m = 1e9", "[restoration]\nmodel = ''",
    "[restoration]\nmodel = '/'", "[restoration]\nmodel = '\\u0000'",
    "[restoration]\nbatch_windows = 0", "[engine]\nworkers = -1", "[engine]\nscheduler = 'ftp://x'",
    "[engine]\ngpu = 'yes'", "[engine]\ntls_ca = 'a'", "[engine]\ndrain_s = nan",
    "[cube]\nattempts = 0", "[cube]\ntimeout_s = nan", "[kubernetes]\nnamespace = 'A b'",
    "[kubernetes]\nworkers_min = 9\nworkers_max = 2",
    "[grid", "= 1", "[grid]\nchunk_px = 256\nchunk_px = 512", "a.b = 1\na = 2", "\ufeff[grid]",
    "[grid]\nbands = [[[[[[]]]]]]", "[grid]\nchunk_px = 0x100", "[grid]\ncrs = 2024-06-15",
)  # fmt: skip


def test_settings(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    whole = (Path(__file__).parents[2] / "pipelines" / "run.toml").read_bytes()
    cases = [(text[:60], text.encode()) for text in SETTINGS]
    cases += [("binary", bytes(range(256))), ("nested", b"a = " + b"[" * 5000)]
    for number in range(25):
        draw = draw_for("settings", number)
        cases.append(damage_bytes(draw, whole))
    file = tmp_path / "run.toml"
    for number, (what, content) in enumerate(cases):
        file.write_bytes(content)
        judge.run(number, what, words("plan", tiny, config=file))
    judge.close(least=90)


def test_options(judge: Judge, tiny: SyntheticScenes) -> None:
    values = ("nan", "inf", "-1", "0", "1e999", "x", "", "9" * 400, "\u0663")
    options = ("resolution", "optical-days", "sar-days", "min-seen", "max-scene-cloud", "chunk-px",
               "bands", "crs", "mask", "model", "provider", "radar-provider", "workers",
               "max-failed")  # fmt: skip
    for number, option in enumerate(options):
        for value in draw_for("options", number).sample(values, 3):
            judge.run(
                number, f"--{option} {value[:9]}", [*words("plan", tiny), f"--{option}={value}"]
            )
    judge.close(least=40)


def test_catalogs(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    whole = tiny.items.read_bytes()
    feature = json.loads(whole)["features"][0]
    cases: list[tuple[str, bytes]] = [
        (name, json.dumps(document).encode())
        for name, document in [
            ("no features", {"type": "FeatureCollection", "features": []}),
            ("null features", {"type": "FeatureCollection", "features": None}),
            ("features of null", {"type": "FeatureCollection", "features": [None, None]}),
            ("collections in it", {"type": "FeatureCollection", "features": [json.loads(whole)]}),
            ("one scene alone", feature),
            ("a catalog of nothing", {"type": "Catalog"}),
            ("a catalog that links to nowhere", {
                "type": "Catalog", "id": "a", "stac_version": "1.0.0", "description": "d",
                "links": [{"rel": "item", "href": "./nowhere.json"}],
            }),
            ("a catalog that links to itself", {
                "type": "Catalog", "id": "a", "stac_version": "1.0.0", "description": "d",
                "links": [{"rel": "child", "href": "./items.json"}],
            }),
            ("a collection without extent", {
                "type": "Collection", "id": "a", "stac_version": "1.0.0", "description": "d",
                "links": [], "license": "x",
            }),
        ]
    ]  # fmt: skip
    cases += [("nested", b"[" * 100_000), ("a BOM", b"\xef\xbb\xbf" + whole), ("empty", b"")]
    for number in range(60):
        draw = draw_for("catalogs", number)
        what, document = damage_json(draw, json.loads(whole))
        cases += [(what, json.dumps(document).encode())]
        if number % 6 == 0:
            cases += [damage_bytes(draw, whole)]
    file = tmp_path / "items.json"
    for number, (what, content) in enumerate(cases):
        file.write_bytes(content)
        judge.run(number, what, words("plan", tiny, stac=file))
    judge.close(least=80)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the smallest bundle with weights."""
    folder = tmp_path / "bundle"
    shutil.copytree(Path(__file__).parents[2] / "models" / "small", folder)
    return folder


def test_bundles(judge: Judge, tiny: SyntheticScenes, bundle: Path, tmp_path: Path) -> None:
    contract, weights = bundle / "model.toml", bundle / "sar2opt.safetensors"
    toml, tensors = contract.read_bytes(), weights.read_bytes()
    lines = toml.decode().splitlines()
    for number in range(30):
        draw = draw_for("bundles", number)
        what, content = damage_bytes(draw, toml)
        if number % 3 == 0:  # whole lines, so that it stays TOML
            line = draw.randrange(len(lines))
            what, content = (
                f"without line {line}",
                "\n".join(lines[:line] + lines[line + 1 :]).encode(),
            )
        contract.write_bytes(content)
        judge.run(number, what, words("plan", tiny, model=bundle))
    contract.write_bytes(toml)
    for number in range(30, 36):
        what, content = damage_bytes(draw_for("bundles", number), tensors)
        weights.write_bytes(content)
        judge.run(number, f"weights {what}", words("plan", tiny, model=bundle))
    weights.unlink()
    judge.run(36, "no weights", words("plan", tiny, model=bundle))
    judge.run(37, "a file", words("plan", tiny, model=contract))
    judge.close(least=38)


def with_hash(bundle: Path, content: bytes) -> None:
    """Put weights into a bundle and their hash into its contract, so that no hash tells."""
    before = (bundle / "sar2opt.safetensors").read_bytes()
    (bundle / "sar2opt.safetensors").write_bytes(content)
    old, new = (hashlib.sha256(one).hexdigest() for one in (before, content))
    contract = bundle / "model.toml"
    contract.write_text(contract.read_text().replace(old, new))


def weights_that_hashes_let_through(whole: bytes) -> list[tuple[str, bytes]]:
    tensors = safetensors.numpy.load(whole)
    # sorted: the file's own order is another each time
    name, first = next(one for one in sorted(tensors.items()) if one[1].ndim > 1 < one[1].shape[-1])
    fewer = {key: value for key, value in tensors.items() if key != name}
    shorter = {**tensors, name: first[..., :1].copy()}
    cases = [
        ("a pickle", pickle.dumps({name: first})),
        ("one tensor less", safetensors.numpy.save(fewer)),
        ("a tensor of another shape", safetensors.numpy.save(shorter)),
        ("another name", safetensors.numpy.save({**fewer, "x": first})),
        ("integers", safetensors.numpy.save({**tensors, name: first.astype(np.int64)})),
        ("NaN", safetensors.numpy.save({**tensors, name: np.full_like(first, np.nan)})),
        ("empty", b""),
    ]
    for number in range(6):
        draw = draw_for("weights", number)
        cases.append(damage_bytes(draw, whole[:2000]) if number % 2 else flip_bytes(draw, whole))
    return cases


def test_weights(judge: Judge, tiny: SyntheticScenes, bundle: Path, tmp_path: Path) -> None:
    whole = (bundle / "sar2opt.safetensors").read_bytes()
    for number, (what, content) in enumerate(weights_that_hashes_let_through(whole)):
        with_hash(bundle, content)
        out = tmp_path / f"out{number}"
        code = judge.run(
            number, what, words("run", tiny, aoi=small_area(tiny, tmp_path), model=bundle, out=out)
        )
        may_pass = "flipped" in what or what == "integers"  # numbers like any others
        if code == 0 and not may_pass:
            judge.note(number, what, "it was let through")
        if code == 2 and out.exists():
            judge.note(number, what, "refused, and yet something was written")
    judge.close(least=13)


def small_area(scenes: SyntheticScenes, folder: Path) -> Path:
    """Write an area of about 120 by 110 px inside the scenes, partly under cloud; return it."""
    file = folder / "small.geojson"
    if not file.exists():
        west, south = 10.545, 48.208
        file.write_text(json.dumps(rings(
            (west, south), (west + 0.016, south), (west + 0.016, south + 0.01), (west, south + 0.01)
        )))  # fmt: skip
    return file


def damage_picture(draw: Draw, file: Path) -> str:
    """Damage a scene's asset in place; return what was done."""
    with rasterio.open(file) as source:
        profile, pixels = source.profile, source.read()
    deed = draw.choice(["bytes", "bytes", "bytes", "flip", "empty", "no CRS", "complex", "tiny",
                        "two bands", "floats", "a PNG"])  # fmt: skip
    content = file.read_bytes()
    if deed == "bytes":
        what, damaged = damage_bytes(draw, content)
        file.write_bytes(damaged)
        return what
    if deed == "flip":
        start = len(content) // 4
        what, tail = flip_bytes(draw, content[start:])
        file.write_bytes(content[:start] + tail)
        return what
    if deed == "empty":
        file.write_bytes(b"")
        return deed
    plain = {"driver": "GTiff", "height": profile["height"], "width": profile["width"], "count": 1,
             "dtype": profile["dtype"], "crs": profile["crs"], "transform": profile["transform"],
             "nodata": profile.get("nodata")}  # fmt: skip
    if deed == "no CRS":
        plain["crs"] = None
    elif deed == "complex":
        plain |= {"dtype": "complex64", "nodata": None}
    elif deed == "floats":
        plain |= {"dtype": "float64", "nodata": None}
        pixels = np.where(pixels % 3 == 0, np.nan, pixels.astype(float))
    elif deed == "tiny":
        plain |= {"height": 1, "width": 1}
        pixels = pixels[:, :1, :1]
    elif deed == "two bands":
        plain["count"], pixels = 2, np.concatenate([pixels, pixels])
    elif deed == "a PNG":
        plain |= {"driver": "PNG", "dtype": "uint8", "nodata": None, "crs": None, "transform": None}
        pixels = np.zeros_like(pixels, "uint8")
    file.unlink()
    with rasterio.open(file, "w", **{k: v for k, v in plain.items() if v is not None}) as target:
        target.write(pixels.astype(plain["dtype"]))
    return deed


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # some lose it
def test_pictures(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    names = ("B02.tif", "B03.tif", "B04.tif", "SCL.tif", "vv.tif")
    for number in range(40):
        draw = draw_for("pictures", number)
        folder = tmp_path / f"scenes{number}"
        shutil.copytree(tiny.items.parent, folder)
        name = draw.choice(names)
        what = f"{name} {damage_picture(draw, folder / name)}"
        judge.run(number, what, words(
            "run", tiny, aoi=small_area(tiny, tmp_path), stac=folder / "items.json",
            out=tmp_path / f"out{number}",
        ))  # fmt: skip
        shutil.rmtree(folder)
    judge.close(least=40)


LINKS = (
    "", ".", "/", "//", "file:", "file://", "file:///", "file://host/x.tif", "./%", "%00", "a\x00b",
    "é\u202e.tif", "x" * 5000, "/vsizip/", "/vsizip/./B04.tif", "zip://B04.tif!", "/vsicurl/",
    "/vsimem/nothing", "/vsistdin/", "s3://", "gs://a/b", "az:", "ftp://127.0.0.1:9/x.tif",
    "http://", "http://127.0.0.1:9/x.tif", "http://[::1", "//127.0.0.1:9/x.tif",
    "GTIFF_DIR:1:B04.tif", "NETCDF:x.nc:a", "<VRTDataset/>", "B04.tif?sig=1", "B04.tif#1",
    "../../../../etc/passwd", "x.zarr/B04", "C:\\scenes\\B04.tif",
)  # fmt: skip


def test_links(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(tiny.items.parent, folder)
    for number, link in enumerate(LINKS):
        draw = draw_for("links", number)
        document = json.loads(tiny.items.read_text())
        item = draw.choice(document["features"])
        asset = item["assets"][
            draw.choice([k for k in ("B04", "SCL", "vv") if k in item["assets"]])
        ]
        if draw.random() < 0.4:
            other = draw.choice([link, None, [link], {"href": link}, {"href": 1}])
            asset["alternate"] = draw.choice([{"a": other}, other, {"a": {"href": asset["href"]}}])
        asset["href"] = link
        (folder / "items.json").write_text(json.dumps(document))
        judge.run(number, f"{link[:20]!r}", [*words(
            "run", tiny, aoi=small_area(tiny, tmp_path), stac=folder / "items.json",
            out=tmp_path / f"out{number}", config=impatient(tmp_path),
        ), "--no-check"])  # fmt: skip
    judge.close(least=len(LINKS))


def impatient(folder: Path) -> Path:
    file = folder / "impatient.toml"
    file.write_text("[cube]\nattempts = 1\ntimeout_s = 2\n")
    return file


def test_numbers(judge: Judge, tiny: SyntheticScenes, tmp_path: Path) -> None:
    values = (*WRONG, 0, -1, 1e-4, 2e-4, 1e-300, 65535, 1000, "1e-4", "nan", "dB")
    folder = tmp_path / "scenes"
    shutil.copytree(tiny.items.parent, folder)
    for number in range(40):
        draw = draw_for("numbers", number)
        said = {
            draw.choice(("", "raster:")) + name: draw.choice(values)
            for name in draw.sample(("scale", "offset", "nodata", "unit"), 2)
        }
        document = json.loads(tiny.items.read_text())
        asset = draw.choice([a for i in document["features"] for a in i["assets"].values()])
        place = draw.choice(("", "bands", "raster:bands"))
        asset |= {place: draw.choice(([said], said, [None], []))} if place else said
        (folder / "items.json").write_text(json.dumps(document))
        judge.run(number, f"{place} {str(said)[:60]}", [*words(
            "run", tiny, aoi=small_area(tiny, tmp_path), stac=folder / "items.json",
            out=tmp_path / f"out{number}",
        ), "--no-check"])  # fmt: skip
    judge.close(least=40)


@pytest.fixture(scope="module")
def product(tiny: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole product that damaged ones are copies of."""
    out = tmp_path_factory.mktemp("product") / "out"
    before, sys.argv = sys.argv, ["cloudfree", *map(os.fspath, ledger_run(tiny, out))]
    try:
        entry()
    finally:
        sys.argv = before
    assert len(list((out / "ledger" / "marks").iterdir())) == 4
    return out


def ledger_run(scenes: SyntheticScenes, out: Path) -> list[str | Path]:
    return [*words("run", scenes, out=out), "--chunk-px", "256"]


LEDGER_FILES = ("ledger/state.json", "ledger/state.json", "ledger/marks/t0000-r0000-c0001.json",
                "items.json", "items.json", "cube.zarr/zarr.json",
                "cube.zarr/reflectance/zarr.json", "cube.zarr/source/zarr.json",
                "cube.zarr/x/zarr.json")  # fmt: skip


def test_ledgers(judge: Judge, tiny: SyntheticScenes, product: Path, tmp_path: Path) -> None:
    truth = open_raw(product)
    for number in range(60):
        draw = draw_for("ledgers", number)
        out = tmp_path / f"out{number}"
        shutil.copytree(product, out)
        if number % 2:  # one that was not finished
            (out / "run.json").unlink()
            (out / "ledger/marks/t0000-r0001-c0001.json").unlink()
        name = draw.choice(LEDGER_FILES)
        content = (out / name).read_bytes()
        if draw.random() < 0.5:
            what, document = damage_json(draw, json.loads(content))
            (out / name).write_text(json.dumps(document))
        else:
            what, damaged = damage_bytes(draw, content)
            (out / name).write_bytes(damaged)
        if judge.run(number, f"{name} {what}", ledger_run(tiny, out)) == 0:
            try:
                assert_same_pixels(truth, open_raw(out))
            except Exception as error:
                judge.note(number, f"{name} {what}", f"another product: {str(error)[:200]}")
        judge_status = judge.run(number, f"status after {name} {what}", ["status", out])
        assert judge_status != 130
        shutil.rmtree(out)
    judge.close(least=100)
