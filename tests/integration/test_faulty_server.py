"""Assets on a server that fails: the product has the same bits, and what failed is counted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudfree.synthetic.scenes import SyntheticScenes
from tests.integration.products import assert_same_pixels, make, open_raw, summary
from tests.servers.faults import Faults
from tests.servers.processes import FileServer, serve_files
from tests.servers.signing import TokenSigner

FAULTS = {
    "unavailable": 0.10,
    "throttled": 0.10,
    "truncated": 0.05,
    "hanging": 0.05,
    "reset": 0.02,
}
PATIENT = {"attempts": 20, "timeout_s": 0.5, "retry_delay_s": 0.05}
KINDS = {"throttled", "truncated", "hanging", "reset", "expired"}


def publish(items: Path, server: FileServer, out: Path, query: str = "") -> Path:
    """Write a copy of a catalog file whose links lead to the server; return its path."""
    collection = json.loads(items.read_text())
    for item in collection["features"]:
        for asset in item["assets"].values():
            asset["href"] = f"{server.files}/{Path(asset['href']).name}{query}"
    out.write_text(json.dumps(collection))
    return out


def assert_counted(out: Path, server: FileServer) -> None:
    """run.json counts every kind, and no less than the server says that it did wrong."""
    counted, made = summary(out)["retries"], server.told().faults
    assert set(counted) == KINDS
    assert sum(counted.values()) >= sum(made.values()) > 20


def assert_no_signature(out: Path, signer: TokenSigner) -> None:
    for path in (*out.glob("*.json"), out / "report.html"):
        text = path.read_text()
        assert "sig=" not in text
        assert signer.token not in text
    for mark in (out / "ledger").rglob("*.json"):
        assert "sig=" not in mark.read_text()


@pytest.mark.slow
def test_a_product_read_through_faults_has_the_same_bits(
    scenes: SyntheticScenes, tmp_path: Path
) -> None:
    request = {"aoi": scenes.aoi, "date": scenes.date, "chunk_px": 256}
    make(tmp_path / "files", stac=scenes.items, **request)
    faults = Faults(**FAULTS, token_uses=40, retry_after_s=0, seed=5)
    with serve_files(scenes.items.parent, faults) as server:
        signer = TokenSigner(server.address)
        catalog = publish(scenes.items, server, tmp_path / "items.json")
        make(tmp_path / "served", stac=catalog, cube=PATIENT, signer=signer, **request)
        assert_counted(tmp_path / "served", server)
    assert_same_pixels(open_raw(tmp_path / "files"), open_raw(tmp_path / "served"))
    assert_no_signature(tmp_path / "served", signer)
    assert summary(tmp_path / "files")["retries"] == {}


@pytest.mark.slow
def test_los_angeles_read_through_faults_has_the_same_bits(
    real_scenes: Path, tmp_path: Path
) -> None:
    request = {"aoi": real_scenes / "los-angeles.geojson", "date": "2020-11-04", "chunk_px": 1024}
    make(tmp_path / "files", stac=real_scenes / "items.json", **request)
    faults = Faults(**FAULTS, token_uses=60, seed=11)
    with serve_files(real_scenes, faults) as server:
        signer = TokenSigner(server.address)
        catalog = publish(real_scenes / "items.json", server, tmp_path / "items.json")
        make(tmp_path / "served", stac=catalog, cube=PATIENT, signer=signer, workers=2, **request)
        assert_counted(tmp_path / "served", server)
    assert_same_pixels(open_raw(tmp_path / "files"), open_raw(tmp_path / "served"))
    assert_no_signature(tmp_path / "served", signer)


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def served(scenes: SyntheticScenes, tmp_path: Path) -> Path:
    """A copy of the scenes to take files away from."""
    folder = tmp_path / "scenes"
    shutil.copytree(scenes.items.parent, folder)
    return folder


@pytest.mark.slow
def test_an_asset_that_goes_missing_fails_its_chunks_and_a_resume_mends_them(
    scenes: SyntheticScenes, served: Path, tmp_path: Path, cloudfree: Cli
) -> None:
    make(tmp_path / "files", aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    out = tmp_path / "out"
    with serve_files(served, Faults()) as server:
        catalog = publish(scenes.items, server, tmp_path / "items.json", query="?sig=secret")
        command = [
            "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", catalog,
            "--no-check",
            "--model", "baseline",
            "--out", out, "--chunk-px", "256",
        ]  # fmt: skip
        assert cloudfree(*command)[0] == 0
        lost = sorted((out / "ledger" / "marks").glob("*.json"))[1:3]
        for mark in lost:
            mark.unlink()
        (served / "B03.tif").rename(served / "B03.gone")
        before = server.told().requests
        code, _, complaint = cloudfree(*command)
        assert code == 1
        assert server.told().requests - before <= 12  # what is missing is not asked for again
        for mark in lost:
            assert f"chunk {mark.stem} failed: cannot read B03 of scene synthetic-" in complaint
        assert f"{server.files}/B03.tif: the server answers 404, missing" in complaint
        assert "2 chunks failed" in complaint
        assert "Resume with: cloudfree run --aoi" in complaint
        assert "secret" not in complaint
        assert "Traceback" not in complaint
        (served / "B03.gone").rename(served / "B03.tif")
        assert cloudfree(*command)[0] == 0
    assert_same_pixels(open_raw(tmp_path / "files"), open_raw(out))


def test_an_asset_that_was_never_there_is_a_wrong_request(
    scenes: SyntheticScenes, served: Path, tmp_path: Path, cloudfree: Cli
) -> None:
    """Without statistics there is no key and no product: nothing is written, nothing to resume."""
    out = tmp_path / "out"
    with serve_files(served, Faults()) as server:
        catalog = publish(scenes.items, server, tmp_path / "items.json")
        command = [
            "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", catalog,
            "--no-check",
            "--model", "baseline", "--out", out,
        ]  # fmt: skip
        (served / "vv.tif").rename(served / "vv.gone")
        code, _, complaint = cloudfree(*command)
        assert code == 2
        last = complaint.strip().splitlines()[-1]
        assert "cannot read vv of scene synthetic-sentinel-1-rtc" in last
        assert "answers 404, missing. Mend the catalog or choose another date" in last
        assert not out.exists()
        (served / "vv.gone").rename(served / "vv.tif")
        assert cloudfree(*command)[0] == 0
    make(tmp_path / "files", aoi=scenes.aoi, date=scenes.date, stac=scenes.items)
    assert_same_pixels(open_raw(tmp_path / "files"), open_raw(out))


def test_a_server_that_is_down_is_no_wrong_request(
    scenes: SyntheticScenes, tmp_path: Path, cloudfree: Cli
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[cube]\nattempts = 2\nretry_delay_s = 0.01\n")
    with serve_files(scenes.items.parent, Faults(unavailable=1.0)) as server:
        catalog = publish(scenes.items, server, tmp_path / "items.json", query="?sig=secret")
        code, _, complaint = cloudfree(
            "run", "--aoi", scenes.aoi, "--date", scenes.date, "--stac", catalog,
            "--no-check",
            "--model", "baseline",
            "--out", tmp_path / "out", "--config", config,
        )  # fmt: skip
    assert code == 1
    last = complaint.strip().splitlines()[-1]
    assert "answers 503, throttled, given up after 2 attempts" in last
    assert "try again later" in last
    assert "secret" not in complaint
    assert not (tmp_path / "out").exists()
