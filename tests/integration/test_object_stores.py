"""Products on object stores: the bits of a local one, whatever fails, for whoever reads them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import pystac
import pytest
import rasterio
import xarray as xr
from pystac.extensions.file import FileExtension
from rio_cogeo.cogeo import cog_validate

from cloudfree.core.errors import CloudfreeError, OutputError, StoreError
from cloudfree.engine.status import read_status
from cloudfree.product.catalog import add_to_catalog, check_catalog
from cloudfree.storage import buckets, lease
from cloudfree.storage.lease import LEASE, LOCK
from cloudfree.storage.ledger import Ledger
from cloudfree.storage.outputs import Storage, open_storage
from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import LAYERS, assert_same_pixels, make, open_raw
from tests.servers.stores import (
    BUCKET,
    KEY,
    SECRET,
    S3Server,
    serve_azure,
    serve_google,
    serve_s3,
)

CHUNK_PX = 256
logger = logging.getLogger(__name__)

RUN = [sys.executable, "-c", "from cloudfree.cli import entry; entry()"]
Command = Callable[..., tuple[int, str, str]]


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables while the block runs; stores that were opened before are forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        buckets.open_bucket.cache_clear()
        yield
    buckets.open_bucket.cache_clear()


@pytest.fixture(scope="module")
def product(scenes: SyntheticScenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed local product."""
    out = tmp_path_factory.mktemp("local") / "out"
    make(out, aoi=scenes.aoi, date=scenes.date, stac=scenes.items, chunk_px=CHUNK_PX)
    return out


@pytest.fixture
def s3() -> Iterator[S3Server]:
    """A server of its own for each test, its credentials in the environment."""
    with serve_s3() as server, environment(server.environment):
        yield server


def request(scenes: SyntheticScenes) -> dict[str, Any]:
    return {"aoi": scenes.aoi, "date": scenes.date, "stac": scenes.items, "chunk_px": CHUNK_PX}


def options(scenes: SyntheticScenes, out: str) -> list[str]:
    return [
        "run", "--aoi", str(scenes.aoi), "--date", scenes.date, "--stac", str(scenes.items),
        "--no-check", "--reference-days", "0",
        "--model", "baseline", "--chunk-px", str(CHUNK_PX), "--out", out,
    ]  # fmt: skip


def open_remote(out: Storage) -> xr.Dataset:
    """Return the cube's stored numbers, loaded, as a user reads them."""
    store = out.zarr("cube.zarr", read_only=True)
    cube = xr.open_zarr(store, consolidated=False, mask_and_scale=False)
    return cube[list(LAYERS)].load()


def files(folder: Path) -> set[str]:
    """Return what a local product consists of."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_store_that_fails_gives_the_product_of_a_disk(
    product: Path, scenes: SyntheticScenes
) -> None:
    with serve_s3(fault_share=0.05, seed=11) as server, environment(server.environment):
        out = open_storage(f"s3://{BUCKET}/deep/er")
        outcome = make(out.address, **request(scenes), workers=2)
        assert not outcome.failed
        told = server.told()
        assert set(told["faults"]) == {"500 Internal Server Error", "503 Slow Down"}
        assert min(told["faults"].values()) >= 2
        names = {entry.name for entry in out.list()}
        logger.info("%d objects through %s", told["objects"], told["faults"])
        assert told["objects"] == len(names)
        assert names == files(product)
        assert_same_pixels(open_raw(product), open_remote(out))
        for name in (f"{scenes.date}_reflectance.tif", f"{scenes.date}_source.tif"):
            assert out.read(name) == (product / name).read_bytes()
        assert out.read("preview.png") == (product / "preview.png").read_bytes()


def test_it_is_read_by_xarray_gdal_and_pystac(
    product: Path, scenes: SyntheticScenes, s3: S3Server
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    make(out.address, **request(scenes))
    for group in (None, "ovr_2x"):
        cube = xr.open_zarr(out.zarr("cube.zarr", read_only=True), group=group)
        assert 0 < float(cube.reflectance.mean()) < 0.5
    gdal = {
        "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_HTTPS": "NO",
        "AWS_S3_ENDPOINT": s3.address.removeprefix("http://"),
    }  # fmt: skip
    name = f"{scenes.date}_item.json"
    item = pystac.Item.from_dict(json.loads(out.read(name) or b""))
    item.set_self_href(f"{out.address}/{name}")
    asset = item.assets["reflectance"]
    href = asset.get_absolute_href()
    assert href == f"s3://{BUCKET}/out/{scenes.date}_reflectance.tif"
    with rasterio.Env(**gdal):
        path = href.replace("s3://", "/vsis3/")
        assert cog_validate(path)[0]
        with rasterio.open(path) as cog, rasterio.open(product / Path(href).name) as local:
            np.testing.assert_array_equal(cog.read(), local.read())
            assert cog.crs == local.crs
        band = (item.assets["B03"].get_absolute_href() or "").replace("s3://", "/vsis3/")
        with rasterio.open(band) as view, rasterio.open(path) as cog:
            np.testing.assert_array_equal(view.read(1), cog.read(cog.descriptions.index("B03") + 1))
    for one in item.assets.values():
        name = (one.get_absolute_href() or "").removeprefix(f"{out.address}/")
        content = out.read(name)
        if content is None:
            assert any(out.list(name)), name
            continue
        file = FileExtension.ext(one)
        assert file.size == len(content)
        assert file.checksum == "1220" + hashlib.sha256(content).hexdigest()


def test_a_local_catalog_links_a_product_by_its_address(
    product: Path, tmp_path: Path, s3: S3Server
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    stac = [product / "collection.json", *product.glob("*_item.json")]
    for path in stac:
        out.write(path.name, path.read_bytes())
    add_to_catalog(check_catalog(str(tmp_path / "catalog"), out), out)
    catalog = pystac.Catalog.from_file(str(tmp_path / "catalog" / "catalog.json"))
    (item,) = catalog.get_items(recursive=True)
    collection = item.get_collection()
    assert collection is not None
    hrefs = {one.href for each in (item, collection) for one in each.assets.values()}
    others = {path.name for path in product.iterdir()} - {path.name for path in stac} - {"ledger"}
    assert hrefs == {f"{out.address}/{name}" for name in others}
    for link in item.get_links("derived_from"):
        assert link.href.startswith(f"{out.address}/items.json#")


def test_a_run_killed_while_it_writes_to_a_store_resumes_to_the_same_bits(
    product: Path, scenes: SyntheticScenes, s3: S3Server
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    process = subprocess.Popen(
        [*RUN, *options(scenes, out.address)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while len(list(out.list("ledger/marks"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    during = read_status(out)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    before = {mark.name: mark.modified for mark in out.list("ledger/marks")}
    assert out.read("run.json") is None
    assert out.read(LEASE) is not None
    assert during.holder is not None
    assert during.holder["pid"] == process.pid
    outcome = make(out.address, **request(scenes))
    assert outcome.chunks_resumed == len(before) >= 2
    assert outcome.chunks_done > outcome.chunks_resumed
    after = {mark.name: mark.modified for mark in out.list("ledger/marks")}
    assert before.items() <= after.items()
    assert_same_pixels(open_raw(product), open_remote(out))
    assert out.read(LEASE) is None


def test_a_begin_that_was_cut_off_anywhere_is_begun_anew(
    product: Path, scenes: SyntheticScenes, s3: S3Server
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    whole = files(product)
    parts = sorted(name for name in whole if name.startswith("cube.zarr") and "/c/" not in name)
    out.write(LEASE, b'{"host": "gone"')
    out.write(LOCK, b"")
    out.write("items.json", b"{}")
    for name in parts[: len(parts) // 2]:
        out.write(name, b'{"zarr_format": 2}')
    out.write("cube.zarr/reflectance/c/0/0/0/0", b"of another grid")
    with pytest.raises(OutputError, match="being written by another run"):
        make(out.address, **request(scenes))  # nobody can tell yet that its owner is gone
    out.remove("ledger/lease.json")
    out.write("ledger/probe-1", b"")
    make(out.address, **request(scenes))
    assert {entry.name for entry in out.list()} == whole
    assert_same_pixels(open_raw(product), open_remote(out))


HOLD = """
import sys
from cloudfree.storage.lease import hold
from cloudfree.storage.outputs import open_storage
with hold(open_storage(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_into_one_prefix_are_refused(
    scenes: SyntheticScenes, s3: S3Server, cloudfree: Command
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, out.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        code, _, complaint = cloudfree(*options(scenes, out.address))
        assert code == 2
        (line,) = [one for one in complaint.splitlines() if one.startswith("cloudfree: ")]
        assert f"process {process.pid}, since" in line
        assert "last sign of life" in line
        assert {entry.name for entry in out.list()} == {LEASE, LOCK}
        assert not any(secret.encode() in (out.read(LEASE) or b"") for secret in (KEY, SECRET))
        process.kill()
        process.wait(timeout=30)
    with lease.hold(out):  # at once: its process is of this machine, and gone
        assert json.loads(out.read(LEASE) or b"")["pid"] == os.getpid()
    assert [entry.name for entry in out.list()] == [LOCK]


def test_who_gives_no_sign_of_life_loses_its_output_and_is_told(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    monkeypatch.setattr(lease, "BEAT_S", 3.0)
    with lease.hold(out) as first:
        with pytest.raises(OutputError, match="being written"), lease.hold(out):
            pass
        monkeypatch.setattr(lease, "STALE_S", 0.0)
        with lease.hold(out) as second:
            deadline = time.monotonic() + 30
            with pytest.raises(StoreError, match=f"another run took {out.address} over"):
                while time.monotonic() < deadline:
                    first.check()
                    time.sleep(0.05)
            second.check()
    assert out.read(LEASE) is None


def test_signs_of_life_survive_a_store_that_loses_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.01)
    with serve_s3(fault_share=0.4, seed=2) as server, environment(server.environment):
        out = open_storage(f"s3://{BUCKET}/out")
        with lease.hold(out) as held:
            deadline = time.monotonic() + 60
            while json.loads(out.read(LEASE) or b"")["beats"] < 12:
                assert time.monotonic() < deadline
                held.check()
        faults = server.told()["faults"]
        assert sum(faults.values()) > 5


@pytest.mark.slow
def test_another_request_is_refused_and_overwrite_starts_anew(
    product: Path, scenes: SyntheticScenes, s3: S3Server, cloudfree: Command
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    out.write("thesis.txt", b"mine")
    assert "holds other files" in cloudfree(*options(scenes, out.address))[2]
    assert [entry.name for entry in out.list()] == ["thesis.txt"]
    out.remove("thesis.txt")
    assert cloudfree(*options(scenes, out.address), "--bands", "B02,B08")[0] == 0
    code, _, complaint = cloudfree(*options(scenes, out.address))
    assert code == 2
    assert "bands is ['B02', 'B08'], asked is ['B04', 'B03', 'B02']" in complaint
    code, printed, _ = cloudfree(*options(scenes, out.address), "--overwrite")
    assert code == 0
    assert f"{out.address}/preview.png" in printed
    assert {entry.name for entry in out.list()} == files(product)
    assert_same_pixels(open_raw(product), open_remote(out))


def test_status_tells_any_client_how_far_it_is(
    product: Path, scenes: SyntheticScenes, s3: S3Server, cloudfree: Command
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    assert cloudfree("status", out.address)[0] == 2
    make(out.address, **request(scenes))
    whole = json.loads(cloudfree("status", out.address, "--json")[1])
    local = json.loads(cloudfree("status", product, "--json")[1])
    assert whole["chunks"] == whole["chunks_done"] == local["chunks_done"] > 4
    assert whole["pixels"] == whole["pixels_done"] == local["pixels_done"]
    assert whole["finished"]
    assert whole["holder"] is None
    marks = sorted(entry.name for entry in out.list("ledger/marks"))
    out.remove(marks[0])
    out.remove("run.json")
    name = Path(marks[0]).stem
    Ledger(storage=out).fail(name, "the server is on fire")
    time.sleep(1.1)  # marks and leases are timed in whole seconds
    with lease.hold(out):
        part = read_status(out)
    assert part.chunks_done == part.chunks - 1
    assert part.pixels - CHUNK_PX**2 <= part.pixels_done < part.pixels
    assert part.failed == {name: "the server is on fire"}
    assert part.pixels_per_s is None  # this run has marked nothing yet
    assert part.holder is not None
    assert part.holder["pid"] == os.getpid()
    printed = cloudfree("status", out.address, "--follow")[1]
    assert f"{name}: the server is on fire" in printed
    assert "nobody is at work" in printed


@pytest.mark.slow
def test_credentials_are_in_nothing_that_is_written_or_printed(
    scenes: SyntheticScenes, s3: S3Server
) -> None:
    out = open_storage(f"s3://{BUCKET}/out")
    command = [*RUN, "-vv", *options(scenes, out.address), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, timeout=200, check=True)
    wrong = {**os.environ, "AWS_ACCESS_KEY_ID": KEY[::-1]}
    denied = subprocess.run(command, env=wrong, capture_output=True, timeout=200, check=False)
    assert denied.returncode == 2
    written = [out.read(entry.name) or b"" for entry in out.list()]
    assert len(written) > 20
    said = [done.stdout, done.stderr, denied.stdout, denied.stderr]
    secrets = [SECRET.encode(), SECRET.replace("/", "%2F").encode(), KEY.encode(),
               KEY[::-1].encode(), b"Signature", b"Credential="]  # fmt: skip
    for secret in secrets:
        assert not any(secret in one for one in (*written, *said)), secret


@pytest.mark.parametrize(
    ("address", "change", "hint"),
    [
        ("s3://nobody/out", {}, "bucket does not exist"),
        (f"s3://{BUCKET}/out", {"AWS_ACCESS_KEY_ID": "somebody"}, "access is denied"),
    ],
)
def test_stores_that_refuse_are_one_line(
    scenes: SyntheticScenes, s3: S3Server, cloudfree: Command, address: str,
    change: dict[str, str], hint: str,
) -> None:  # fmt: skip
    with environment({**s3.environment, **change}):
        code, printed, complaint = cloudfree(*options(scenes, address))
    assert (code, printed) == (2, "")
    (line,) = complaint.strip().splitlines()
    assert hint in line
    assert s3.address not in line


def test_a_store_that_is_not_there_is_one_line(
    scenes: SyntheticScenes, cloudfree: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_MAX_RETRIES", 2)
    nowhere = S3Server(address="http://127.0.0.1:1")
    with environment(nowhere.environment):
        code, _, complaint = cloudfree(*options(scenes, f"s3://{BUCKET}/out"))
    assert code == 2
    (line,) = complaint.strip().splitlines()
    assert "does not answer" in line


def test_bad_addresses_are_one_line(scenes: SyntheticScenes, cloudfree: Command) -> None:
    for address in ("s4://bucket/out", "s3://", "http://host/out"):
        code, printed, complaint = cloudfree(*options(scenes, address))
        assert (code, printed) == (2, "")
        assert len(complaint.strip().splitlines()) == 1


def test_a_store_of_googles_dialect_holds_the_product_and_its_lease(
    product: Path, scenes: SyntheticScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_google(tmp_path) as values, environment(values):
        out = open_storage(f"gs://{BUCKET}/out")
        make(out.address, **request(scenes))
        assert {entry.name for entry in out.list()} == files(product)
        assert_same_pixels(open_raw(product), open_remote(out))
        monkeypatch.setattr(lease, "BEAT_S", 0.02)
        busy = pytest.raises(OutputError, match=f"process {os.getpid()}")
        with lease.hold(out) as held:
            with busy, lease.hold(out):
                pass
            deadline = time.monotonic() + 30
            while json.loads(out.read(LEASE) or b"")["beats"] < 4:
                assert time.monotonic() < deadline
            held.check()


@pytest.mark.slow
def test_azure_holds_the_product_and_its_lease(product: Path, scenes: SyntheticScenes) -> None:
    with serve_azure() as values, environment(values):
        out = open_storage(f"az://{BUCKET}/out")
        make(out.address, **request(scenes))
        assert {entry.name for entry in out.list()} == files(product)
        assert_same_pixels(open_raw(product), open_remote(out))
        busy = pytest.raises(OutputError, match=f"process {os.getpid()}")
        with lease.hold(out), busy, lease.hold(out):
            pass
        account = out.address.replace(f"//{BUCKET}", "//nobody")
        with pytest.raises(CloudfreeError, match="bucket does not exist"):
            list(open_storage(account).list())
        secret = values["AZURE_STORAGE_ACCOUNT_KEY"].encode()
        assert not any(secret in (out.read(entry.name) or b"") for entry in out.list())
        page = next(iter(obstore.list(buckets.open_bucket(out.address))))
        assert len(page) > 20
