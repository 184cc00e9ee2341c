"""A local folder as a place for products, and addresses that are none."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from cloudfree.core.errors import CloudfreeError, OutputError, StoreError
from cloudfree.storage.outputs import Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "out")


def test_what_is_written_is_read_back_and_listed(storage: Storage) -> None:
    assert storage.read("a/b.json") is None
    storage.write("a/b.json", b"one")
    storage.write("a/b.json", b"two!")
    storage.write("c", b"")
    assert storage.read("a/b.json") == b"two!"
    assert {(one.name, one.size) for one in storage.list()} == {("a/b.json", 4), ("c", 0)}
    assert [one.name for one in storage.list("a")] == ["a/b.json"]
    assert list(storage.list("nowhere")) == []
    storage.remove("a/b.json")
    storage.remove("a/b.json")
    assert storage.read("a/b.json") is None


def test_a_file_is_replaced_never_written_into(storage: Storage) -> None:
    storage.write("state.json", b"old")
    with Path(storage.join("state.json")).open("rb") as reader:
        storage.write("state.json", b"new")
        assert reader.read() == b"old"
    assert [path.name for path in Path(storage.address).iterdir()] == ["state.json"]


def test_json_that_cannot_be_written_leaves_the_old_file(storage: Storage) -> None:
    storage.write_json("state.json", {"a": 1})
    before = storage.read("state.json")
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json("state.json", {"mean": float("nan")})
    with pytest.raises(TypeError):
        storage.write_json("state.json", {"folder": Path()})
    assert storage.read("state.json") == before


def test_what_a_crash_left_half_written_is_not_listed(storage: Storage) -> None:
    storage.write("marks/a.json", b"whole")
    Path(storage.join("marks/.b.json.17-3.tmp")).write_bytes(b"ha")
    assert [one.name for one in storage.list("marks")] == ["marks/a.json"]


def test_a_file_is_taken_over(storage: Storage, tmp_path: Path) -> None:
    storage.write("ledger/state.json", b"")
    (tmp_path / "scratch.tif").write_bytes(b"pixels")
    storage.upload(tmp_path / "scratch.tif", "r.tif")
    assert storage.read("r.tif") == b"pixels"
    assert not (tmp_path / "scratch.tif").exists()


def test_clearing_keeps_what_is_named(storage: Storage) -> None:
    for name in ("ledger/lock", "ledger/state.json", "ledger/marks/a.json", "cube.zarr/zarr.json"):
        storage.write(name, b"x")
    storage.clear(keep=("ledger/lock",))
    assert [one.name for one in storage.list()] == ["ledger/lock"]


def test_a_place_that_cannot_be_written_is_one_line(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    for write in (lambda: storage.write("a.json", b""), lambda: storage.upload(tmp_path, "b")):
        with pytest.raises(StoreError, match="out/") as caught:
            write()
        assert "\n" not in str(caught.value)


def test_a_storage_travels_as_its_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "swordfish")
    storage = open_storage("s3://bucket/some/prefix/")
    assert storage == Storage("s3://bucket/some/prefix")
    assert storage.folder is None
    assert storage.join("item.json") == "s3://bucket/some/prefix/item.json"
    storage.zarr("cube.zarr", read_only=True)  # opens a client, which knows the credentials
    sent = pickle.dumps(storage)
    assert b"swordfish" not in sent
    assert pickle.loads(sent) == storage


ADDRESSES = {
    "s4://bucket/x": "no known kind",
    "http://host/x": "no known kind",
    "file:///x": "no known kind",
    "s3://": "names no bucket",
    "s3:///x": "names no bucket",
    "gs://": "names no bucket",
    "az://": "names no bucket",
    "s3://AKIA:swordfish@bucket/x": "credentials come from the environment",
    "s3://swordfish@bucket/x": "credentials come from the environment",
    "abfs://container:swordfish@account.dfs.core.windows.net/x": "from the environment",
    "az://container/x?sig=swordfish": "from the environment (AZURE",
    "s3://bucket/x#swordfish": "from the environment (AWS",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_are_refused_in_one_line_without_their_secret(address: str) -> None:
    with pytest.raises(OutputError) as caught:
        open_storage(address)
    assert ADDRESSES[address] in str(caught.value)
    assert "swordfish" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_azure_address_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CloudfreeError, match="no credentials; set AZURE_STORAGE_ACCOUNT_NAME"):
        open_storage("az://container/x").read("a")
