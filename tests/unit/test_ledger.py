"""Marks that survive a crash, and folders that are not ours."""

import json
from pathlib import Path

import pytest

from cloudfree.errors import OutputError
from cloudfree.ledger import Ledger, refuse_other, refuse_strangers, remove_run, write_json


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(folder=tmp_path / "out" / "ledger")
    made.write_state({"key": "k1", "low": [1.5, 2.25]})
    return made


def test_a_state_is_read_back(ledger: Ledger) -> None:
    assert ledger.read_state() == {"key": "k1", "low": [1.5, 2.25]}
    ledger.write_state({"key": "k2"})
    assert ledger.read_state() == {"key": "k2"}


def test_where_no_run_began_there_is_no_state(tmp_path: Path) -> None:
    assert Ledger(folder=tmp_path / "nothing").read_state() is None
    assert list(Ledger(folder=tmp_path / "nothing").marks("k1")) == []


@pytest.mark.parametrize("content", [b'{"key": "k', b"", b"\xff\xfe"])
def test_a_broken_state_says_how_to_start_anew(ledger: Ledger, content: bytes) -> None:
    (ledger.folder / "state.json").write_bytes(content)
    with pytest.raises(OutputError, match="--overwrite") as caught:
        ledger.read_state()
    assert "\n" not in str(caught.value)


def test_marks_of_another_key_do_not_count(ledger: Ledger) -> None:
    ledger.mark("t0000-r0001-c0000", {"key": "k1", "seen": 7})
    ledger.mark("t0000-r0000-c0002", {"key": "k1", "seen": 5})
    ledger.mark("t0000-r0000-c0003", {"key": "k0", "seen": 9})
    assert list(ledger.marks("k1")) == [
        ("t0000-r0000-c0002", {"key": "k1", "seen": 5}),
        ("t0000-r0001-c0000", {"key": "k1", "seen": 7}),
    ]


def test_a_half_written_mark_is_ignored_and_can_be_made_again(ledger: Ledger) -> None:
    ledger.mark("a", {"key": "k1", "seen": 7})
    file = ledger.folder / "marks" / "a.json"
    whole = file.read_bytes()
    for length in range(0, len(whole) - 2, 3):
        file.write_bytes(whole[:length])
        assert list(ledger.marks("k1")) == []
    ledger.mark("a", {"key": "k1", "seen": 7})
    assert len(list(ledger.marks("k1"))) == 1


def test_a_chunk_done_again_has_one_mark(ledger: Ledger) -> None:
    ledger.mark("a", {"key": "k0"})
    ledger.mark("a", {"key": "k1"})
    assert [name for name, _ in ledger.marks("k1")] == ["a"]
    assert list(ledger.marks("k0")) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"rows": list(range(10_000)), "mean": float("nan")})
    with pytest.raises(TypeError):
        write_json(path, {"folder": tmp_path})
    assert path.read_bytes() == before


def test_a_file_is_replaced_never_written_into(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    with path.open() as reader:
        write_json(path, {"a": 2})
        assert '"a": 1' in reader.read()
    assert '"a": 2' in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]


def test_folders_with_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match="give another"):
        refuse_strangers(tmp_path)
    with pytest.raises(OutputError, match="is a file"):
        refuse_strangers(tmp_path / "photo.jpg")


def test_new_empty_and_own_folders_are_taken(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "empty", ledger.folder.parent):
        refuse_strangers(folder)


def test_a_run_is_removed_whole(ledger: Ledger) -> None:
    out = ledger.folder.parent
    (out / "cube.zarr" / "reflectance").mkdir(parents=True)
    (out / "cube.zarr" / "zarr.json").write_text("{}")
    (out / "item.json").write_text("{}")
    ledger.mark("a", {"key": "k1"})
    remove_run(out)
    assert list(out.iterdir()) == []


def test_a_folder_without_a_ledger_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    remove_run(tmp_path)
    assert (tmp_path / "photo.jpg").read_bytes() == b"precious"


def test_a_cube_on_another_disk_is_unlinked_not_followed(tmp_path: Path, ledger: Ledger) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "other.txt").write_text("stays")
    (ledger.folder.parent / "cube.zarr").symlink_to(disk)
    remove_run(ledger.folder.parent)
    assert list(ledger.folder.parent.iterdir()) == []
    assert (disk / "other.txt").read_text() == "stays"


def test_another_request_is_refused_and_the_difference_named() -> None:
    there = {"date": "2024-06-15", "settings": {"grid": {"bands": ["B02"], "crs": "utm"}}}
    refuse_other(Path("out"), there, json.loads(json.dumps(there)))
    asked = {"date": "2024-06-15", "settings": {"grid": {"bands": ["B02", "B08"], "crs": "utm"}}}
    with pytest.raises(OutputError, match=r"settings\.grid\.bands is \['B02'\], asked is.*B08"):
        refuse_other(Path("out"), there, asked)
