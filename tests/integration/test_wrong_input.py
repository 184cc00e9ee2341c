"""Wrong input: one line on stderr that says what to do, exit code 2, nothing written."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from cloudfree.synthetic.scenes import SyntheticScenes
from tests import needs

Command = Callable[..., tuple[int, str, str]]


def polygon(*corners: tuple[float, float]) -> str:
    ring = [*corners, corners[0]] if corners else []
    return json.dumps({"type": "Polygon", "coordinates": [ring] if ring else []})


AREAS = {
    "not JSON": ("{", "is not JSON"),
    "a number": ("7", "no GeoJSON object"),
    "a point": ('{"type": "Point", "coordinates": [9, 48]}', "Point"),
    "empty": (polygon(), "empty"),
    "an empty collection": ('{"type": "FeatureCollection", "features": []}', "no geometry"),
    "self-crossing": (polygon((9, 48), (9.1, 48.1), (9.1, 48), (9, 48.1)), "not valid"),
    "metres": (polygon((5e5, 5e6), (6e5, 5e6), (6e5, 6e6)), "EPSG:4326"),
    "broken coordinates": ('{"type": "Polygon", "coordinates": [["a"]]}', "coordinates"),
    "elsewhere": (polygon((100, 10), (100.1, 10), (100.1, 10.1)), "no scene"),
}
OPTIONS = {
    "unparsable date": (["--date", "June"], "YYYY-MM-DD"),
    "reversed date": (["--date", "2024-06-20/2024-06-01"], "backwards"),
    "no scene in reach": (["--date", "2023-01-01"], "Check the area, the date"),
    "no optical scene near": (["--date", "2024-06-18", "--optical-days", "1"], "no scene"),
    "no radar in reach": (["--sar-days", "0.1", "--model", "small"], "--sar-days"),
    "missing band": (["--bands", "B02,B11", "--model", "baseline"], "no asset for B11"),
    "bands of another model": (["--bands", "B02,B08", "--model", "small"], "or --model baseline"),
    "unknown band": (["--bands", "B02,B99"], "B99"),
    "unknown crs": (["--crs", "EPSG:99"], "EPSG:99"),
    "crs in degrees": (["--crs", "EPSG:4326"], "metres"),
    "chunk not a multiple": (["--chunk-px", "1000"], "multiple of 256"),
    "missing catalog": (["--stac", "nowhere.json"], "cannot read the catalog"),
    "missing bundle": (["--model", "nobody"], "no model bundle"),
    "missing settings": (["--config", "nowhere.toml"], "cannot read the settings"),
    "unknown option": (["--chunks", "7"], "--chunks"),
    "missing mask": (["--mask", "nowhere.tif"], "cannot read the mask nowhere.tif"),
    "a folder for a mask": (["--mask", "/"], "cannot read the mask"),
    "too little seen": (["--min-seen", "0.99"], "Lower --min-seen"),
    "more than all seen": (["--min-seen", "99"], "give a share, 0 to 1"),
    "no scheduler": (["--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler"),
}


@pytest.fixture
def arguments(scenes: SyntheticScenes, tmp_path: Path) -> list[str | Path]:
    return [
        "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", scenes.items,
        "--no-check",
        "--out", tmp_path / "out",
    ]  # fmt: skip


def refused(result: tuple[int, str, str], hint: str, out: Path) -> None:
    code, printed, complaint = result
    assert code == 2, complaint
    assert printed == ""
    lines = [line for line in complaint.splitlines() if line.startswith("cloudfree: ")]
    assert len(lines) == 1
    assert hint in lines[0]
    assert "Traceback" not in complaint
    assert not out.exists()


@pytest.mark.parametrize("case", AREAS)
def test_areas(case: str, cloudfree: Command, arguments: list[str | Path], tmp_path: Path) -> None:
    text, hint = AREAS[case]
    aoi = tmp_path / "area.geojson"
    aoi.write_text(text)
    refused(cloudfree(*arguments, "--aoi", aoi), hint, tmp_path / "out")


def test_no_area_file(cloudfree: Command, arguments: list[str | Path], tmp_path: Path) -> None:
    result = cloudfree(*arguments, "--aoi", tmp_path / "nothing.geojson")
    refused(result, "cannot read the area", tmp_path / "out")


@pytest.mark.parametrize("case", OPTIONS)
def test_options(
    case: str, cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    options, hint = OPTIONS[case]
    refused(cloudfree(*arguments, *options), hint, tmp_path / "out")


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address that takes connections and says nothing, or nothing that is HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_address_that_does_not_answer(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path, silent_address: str
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[catalog]\ntimeout_s = 0.5\n")
    result = cloudfree(*arguments, "--stac", silent_address, "--config", config)
    refused(result, "does not answer", tmp_path / "out")


def test_address_where_nobody_listens(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    result = cloudfree(*arguments, "--stac", "http://127.0.0.1:1/stac")
    refused(result, "does not answer", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[grid]\nchunkpx = 512\n", "'chunk_px'"),
        ("[gird]\nchunk_px = 512\n", "'grid'"),
        ("[grid]\nchunk_px = 'big'\n", "type int"),
        ("[grid\n", "not valid TOML"),
    ],
)
def test_settings_files(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path, text: str, hint: str
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(text)
    refused(cloudfree(*arguments, "--config", config), hint, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("own.tif", "nothing", "no raster that GDAL reads"),
        ("own.geojson", '{"type": "Point", "coordinates": [9, 48]}', "a Point"),
        ("own.geojson", polygon((5e5, 5e6), (6e5, 5e6), (6e5, 6e6)), "EPSG:4326"),
    ],
)
def test_masks(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path, name: str, text: str, hint: str
) -> None:
    mask = tmp_path / name
    mask.write_text(text)
    refused(cloudfree(*arguments, "--mask", mask), hint, tmp_path / "out")


def test_a_mask_that_lies_elsewhere(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    mask = tmp_path / "own.tif"
    with rasterio.open(
        mask, "w", driver="GTiff", count=1, height=5, width=7, dtype="uint8", crs="EPSG:4326",
        transform=rasterio.Affine(0.1, 0, 100, 0, -0.1, 10),
    ) as file:  # fmt: skip
        file.write(np.ones((5, 7), np.uint8), 1)
    refused(cloudfree(*arguments, "--mask", mask), "does not touch the area", tmp_path / "out")


@pytest.mark.parametrize("missing", [("SCL", "B02"), ("SCL", "B04")])
def test_a_scene_with_nothing_to_find_its_clouds_from(
    cloudfree: Command,
    arguments: list[str | Path],
    scenes: SyntheticScenes,
    tmp_path: Path,
    missing: tuple[str, str],
) -> None:
    folder = damaged(scenes, tmp_path)
    collection = json.loads((folder / "items.json").read_text())
    for item in collection["features"]:
        for name in missing:
            item["assets"].pop(name, None)
    (folder / "items.json").write_text(json.dumps(collection))
    asked = (*arguments, "--stac", folder / "items.json", "--bands", "B03,B08",
             "--model", "baseline")  # fmt: skip
    refused(cloudfree(*asked), "neither a scene classification", tmp_path / "out")


def damaged(scenes: SyntheticScenes, tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    return folder


@pytest.mark.parametrize("name", ["B03.tif", "SCL.tif", "vv.tif"])
@pytest.mark.parametrize("damage", ["gone", "not a picture"])
def test_asset_missing_or_unreadable(
    cloudfree: Command,
    arguments: list[str | Path],
    scenes: SyntheticScenes,
    tmp_path: Path,
    name: str,
    damage: str,
) -> None:
    folder = damaged(scenes, tmp_path)
    (folder / name).unlink()
    if damage == "not a picture":
        (folder / name).write_text("nothing")
    asked = (*arguments, "--stac", folder / "items.json")
    refused(cloudfree(*asked, "--model", "small"), name, tmp_path / "out")
    if name == "vv.tif":  # auto goes on without radar, and says so
        code, printed, complaint = cloudfree(*asked)
        assert code == 0, complaint
        assert "radar none in reach: inpainting serves" in printed
        assert name in complaint + (tmp_path / "out" / "run.json").read_text()


@pytest.mark.parametrize("text", ["[]", "{}", '{"type": "FeatureCollection", "features": [{}]}'])
def test_catalog_that_is_none(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path, text: str
) -> None:
    catalog = tmp_path / "items.json"
    catalog.write_text(text)
    refused(cloudfree(*arguments, "--stac", catalog), str(catalog), tmp_path / "out")


@pytest.mark.parametrize(
    ("contract", "hint"),
    [
        ('name = "m"\nversion = "1"\nnetwork = "baseline"\n[[weights]]\nfile = "a.safetensors"\n'
         f'sha256 = "{"0" * 64}"\n', "sha256"),
        ('name = "m"\nversion = "1"\nnetwork = "other"\n', "needs network 'other'"),
        ('name = "m"\nversion = "1"\nnetwerk = "baseline"\n', "'network'"),
        ('name = "m"\n', "keys are missing"),
        ('name = "m"\nversion = "1"\nnetwork = "baseline"\nbands = ["B08"]\n', "bands B08"),
    ],
)  # fmt: skip
def test_bundles(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path, contract: str, hint: str
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.toml").write_text(contract)
    (bundle / "a.safetensors").write_bytes(b"weights")
    refused(cloudfree(*arguments, "--model", bundle), hint, tmp_path / "out")


def test_output_that_holds_something_else(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    code, _, complaint = cloudfree(*arguments)
    assert code == 2
    assert "holds other files" in complaint
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]
    assert cloudfree(*arguments, "--overwrite")[0] == 2
    assert (out / "thesis.txt").read_text() == "mine"
    code, _, complaint = cloudfree(*arguments, "--out", out / "thesis.txt")
    assert code == 2
    assert "is a file" in complaint


def test_output_that_holds_another_run(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    arguments = [*arguments, "--model", "baseline"]
    assert cloudfree(*arguments)[0] == 0
    before = (tmp_path / "out" / "run.json").read_text()
    code, _, complaint = cloudfree(*arguments, "--bands", "B02,B08")
    assert code == 2
    assert "settings.grid.bands" in complaint
    assert "B08" in complaint
    assert (tmp_path / "out" / "run.json").read_text() == before
    code, printed, _ = cloudfree(*arguments, "--bands", "B02,B08", "--overwrite", "--json")
    assert code == 0
    assert json.loads(printed)["request"]["settings"]["grid"]["bands"] == ["B02", "B08"]


def test_output_that_another_run_writes_to(
    cloudfree: Command, arguments: list[str | Path], tmp_path: Path
) -> None:
    code = (
        "import sys; from cloudfree.storage.lease import hold\n"
        "from cloudfree.storage.outputs import open_storage\n"
        "with hold(open_storage(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "out"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for more in ([], ["--overwrite"]):
            exit_code, _, complaint = cloudfree(*arguments, *more)
            assert exit_code == 2
            (line,) = complaint.strip().splitlines()
            assert f"another run (host {platform.node()}, process {other.pid}" in line
        other.kill()
    assert cloudfree(*arguments, "--model", "baseline")[0] == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB; skips where it cannot be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        [needs.program("mount"), "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield disk
    subprocess.run([needs.program("umount"), "-l", disk], check=True)


def test_disk_too_small(cloudfree: Command, arguments: list[str | Path], tiny_disk: Path) -> None:
    refused(cloudfree(*arguments, "--out", tiny_disk / "out"), "are free", tiny_disk / "out")


def test_disk_fills_up_while_running(
    cloudfree: Command,
    arguments: list[str | Path],
    tiny_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The free space is misreported on purpose: another process may take it after the check.
    monkeypatch.setattr("cloudfree.engine.prepare._free_bytes", lambda _: 10**12)
    (tiny_disk / "ballast").write_bytes(b"0" * (4 * 2**20))
    arguments = [*arguments, "--model", "baseline"]
    code, _, complaint = cloudfree(*arguments, "--out", tiny_disk / "out")
    assert code == 2
    assert "No space left" in complaint
    assert "Go on with: cloudfree run" in complaint.splitlines()[-1]
    assert "Traceback" not in complaint
    (tiny_disk / "ballast").unlink()
    assert cloudfree(*arguments, "--out", tiny_disk / "out")[0] == 0
