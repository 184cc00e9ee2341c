"""What ``cloudfree doctor`` finds, on real disks, stores and STAC servers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_object_stores import environment
from tests.integration.test_stac_api import api  # noqa: F401  # a fixture
from tests.servers.stores import BUCKET, serve_s3

Command = Callable[..., tuple[int, str, str]]


def findings(printed: str) -> dict[str, list[dict[str, str]]]:
    """Return the findings by topic."""
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(printed):
        found.setdefault(one["topic"], []).append(one)
    return found


def test_a_machine_that_runs_the_tests_is_well(cloudfree: Command, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    code, printed, _ = cloudfree("doctor", "--offline", "--json", "--out", out)
    found = findings(printed)
    assert [one for ones in found.values() for one in ones if one["state"] == "fail"] == []
    assert code == 0
    for topic in ("cloudfree", "python", "dask", "distributed", "xarray", "zarr", "torch",
                  "pystac-client", "gdal", "proj", "processor", "gpu", "memory",
                  "temporary files", "out", "store"):  # fmt: skip
        assert found[topic][0]["found"], topic
    assert {one["found"].split()[0] for one in found["model"]} == {"auto", "baseline", "small"}
    assert [one["found"].split(":")[0] for one in found["extra"]] == [
        "dashboard", "detect", "kubernetes", "notebooks", "train",
    ]  # fmt: skip
    assert "network" not in found
    assert list(tmp_path.iterdir()) == []  # what was tried is gone


def test_each_line_has_a_state_and_what_to_do(
    cloudfree: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudfree.doctor._DISK_BYTES", float("inf"))
    code, printed, _ = cloudfree("doctor", "--offline")
    lines = printed.splitlines()
    assert code == 0
    assert {line.split()[0] for line in lines} == {"ok", "warn"}
    (disk,) = [line for line in lines if line.startswith("warn  temporary files")]
    assert "Do: make room" in disk


def provider(folder: Path, address: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(
        f'address = "{address}"\n[[optical]]\nid = "a"\nlevel = "L2A"\noffset = "item"\n'
    )
    return file


def test_a_stac_api_that_answers(cloudfree: Command, api: str, tmp_path: Path) -> None:  # noqa: F811
    code, printed, _ = cloudfree("doctor", "--provider", provider(tmp_path, api), "--json")
    (network,) = findings(printed)["network"]
    assert (code, network["state"]) == (0, "ok")
    assert network["found"].startswith("mine: ")
    assert api in network["found"]


def test_servers_that_are_silent_or_gone(cloudfree: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for address in (f"http://127.0.0.1:{silent.getsockname()[1]}/", "http://127.0.0.1:1/"):
            code, printed, complaint = cloudfree(
                "doctor", "--provider", provider(tmp_path, address), "--json"
            )
            (network,) = findings(printed)["network"]
            assert (code, network["state"]) == (1, "fail")
            assert "does not answer" in network["found"]
            assert complaint == ""


def test_a_folder_that_takes_nothing(cloudfree: Command, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    code, printed, _ = cloudfree("doctor", "--offline", "--json", "--out", file)
    (store,) = findings(printed)["store"]
    assert (code, store["state"]) == (1, "fail")
    assert file.read_text() == "mine"


def test_an_object_store_is_tried_and_left_as_it_was(cloudfree: Command) -> None:
    with serve_s3() as server, environment(server.environment):
        out = f"s3://{BUCKET}/place"
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        before = server.told()["objects"]
        code, printed, _ = cloudfree("doctor", "--offline", "--json", "--out", out)
        (store,) = findings(printed)["store"]
        assert (code, store["state"]) == (0, "ok"), store
        assert server.told()["requests"]["PUT"] >= 1
        assert server.told()["objects"] == before
        with environment({**server.environment, "AWS_ACCESS_KEY_ID": "stranger"}):
            code, refused, complaint = cloudfree("doctor", "--offline", "--json", "--out", out)
        (store,) = findings(refused)["store"]
        assert (code, store["state"]) == (1, "fail")
        assert secret not in printed + refused + complaint


@pytest.mark.parametrize("words", [["--provider", "nobody"], ["--out", "ftp://host/a"], ["--frob"]])
def test_wrong_requests_are_refused(cloudfree: Command, words: list[str]) -> None:
    code, printed, complaint = cloudfree("doctor", *words)
    assert (code, printed) == (2, "")
    assert complaint.startswith("cloudfree: ")


def test_tables_of_another_proj_are_found(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from cloudfree.cli import entry; entry()", "doctor", "--offline"],
        env={**os.environ, "PROJ_DATA": str(tmp_path), "PROJ_LIB": str(tmp_path)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if " proj " in line]
    assert line.startswith("fail")
    assert "PROJ_DATA" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("broken", ["rasterio", "torch", "zarr"])
def test_a_library_that_does_not_load_is_told(broken: str, tmp_path: Path) -> None:
    (tmp_path / f"{broken}.py").write_text("raise ImportError('libexpat.so.1: no such file')")
    done = subprocess.run(
        [sys.executable, "-c", "from cloudfree.cli import entry; entry()", "doctor", "--offline"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "libexpat.so.1" in done.stdout + done.stderr
    assert "install cloudfree anew" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
