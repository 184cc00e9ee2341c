"""Marks that survive a crash, their sums, and places that are not ours."""

import json
from pathlib import Path

import pytest

from cloudfree.core.errors import OutputError
from cloudfree.storage.ledger import (
    Done,
    Ledger,
    Totals,
    mark_name,
    parse_mark,
    refuse_other,
    refuse_strangers,
    remove_run,
)
from cloudfree.storage.outputs import open_storage

CUTS = (2, 3, 5)


def record(key: str, seen: int = 7, **more: object) -> dict[str, object]:
    plain = {
        "seen": seen, "reconstructed": 1, "not_restored": 2, "limited": 3, "windows": 4,
        "windows_skipped": 5, "retries": {"reset": 1}, "seconds": {"cube.load": 0.5},
        "peak_memory_bytes": 100 * seen,
    }  # fmt: skip
    return {"key": key, **plain, **more}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(storage=open_storage(tmp_path / "out"))
    made.write_state({"key": "k1", "low": [1.5, 2.25]})
    return made


@pytest.fixture
def folder(ledger: Ledger) -> Path:
    return Path(ledger.storage.address) / "ledger"


def test_a_state_is_read_back(ledger: Ledger) -> None:
    assert ledger.read_state() == {"key": "k1", "low": [1.5, 2.25]}
    ledger.write_state({"key": "k2"})
    assert ledger.read_state() == {"key": "k2"}


def test_where_no_run_began_there_is_no_state(tmp_path: Path) -> None:
    nothing = Ledger(storage=open_storage(tmp_path / "nothing"))
    assert nothing.read_state() is None
    done, totals = nothing.read_done("k1", CUTS)
    assert len(done) == totals.chunks == 0
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("content", [b'{"key": "k', b"", b"\xff\xfe"])
def test_a_broken_state_says_how_to_start_anew(
    ledger: Ledger, folder: Path, content: bytes
) -> None:
    (folder / "state.json").write_bytes(content)
    with pytest.raises(OutputError, match="--overwrite") as caught:
        ledger.read_state()
    assert "\n" not in str(caught.value)


def test_a_state_or_mark_that_was_changed_is_not_believed(ledger: Ledger, folder: Path) -> None:
    state = folder / "state.json"
    state.write_text(state.read_text().replace("2.25", "2.26"))
    with pytest.raises(OutputError, match="damaged"):
        ledger.read_state()
    name = mark_name(0, 0, 0)
    ledger.mark(name, record("k1", seen=7))
    assert ledger.read_mark(name, "k1") == record("k1", seen=7)
    mark = folder / "marks" / f"{name}.json"
    mark.write_text(mark.read_text().replace('"seen": 7', '"seen": 8'))
    assert ledger.read_mark(name, "k1") is None
    assert ledger.read_done("k1", CUTS)[1].chunks == 0


@pytest.mark.parametrize("job", [(0, 0, 0), (3, 12, 9999), (1, 12345, 7)])
def test_a_mark_is_named_for_its_chunk(job: tuple[int, int, int]) -> None:
    assert parse_mark(f"ledger/marks/{mark_name(*job)}.json") == job
    assert parse_mark(f"ledger/marks/.{mark_name(*job)}.json.7.tmp") is None


def test_marks_are_summed_and_those_of_another_run_or_grid_do_not_count(ledger: Ledger) -> None:
    ledger.mark(mark_name(1, 2, 4), record("k1", seen=7))
    seconds = {"cube.load": 1, "blend": 2}
    ledger.mark(mark_name(0, 0, 2), record("k1", seen=5, other_days=3, seconds=seconds))
    ledger.mark(mark_name(0, 0, 3), record("k0", seen=9))
    ledger.mark(mark_name(0, 3, 0), record("k1", seen=9))
    done, totals = ledger.read_done("k1", CUTS)
    assert len(done) == totals.chunks == 2
    assert (1, 2, 4) in done
    assert (0, 0, 2) in done
    assert (0, 0, 3) not in done
    assert totals.pixels == {
        "seen": 12, "reconstructed": 2, "not_restored": 4, "limited": 6,
        "other_days": 3,  # earlier marks do not say it
    }  # fmt: skip
    assert (totals.windows, totals.windows_skipped) == (8, 10)
    assert totals.seconds == {"cube.load": 1.5, "blend": 2}
    assert totals.retries == {"reset": 2}
    assert totals.peak_memory_bytes == 700


def test_a_record_added_in_the_run_counts_like_one_that_was_read(ledger: Ledger) -> None:
    running = Totals()
    for number in range(4):
        ledger.mark(mark_name(0, 0, number), record("k1", seen=number))
        running.add(record("k1", seen=number))
    assert ledger.read_done("k1", CUTS)[1] == running


def test_done_is_a_bit_a_chunk() -> None:
    done = Done(*CUTS)
    jobs = [(0, 0, 0), (0, 0, 4), (0, 1, 0), (1, 2, 4)]
    for job in jobs * 2:
        done.add(job)
    every = [(t, r, c) for t in range(2) for r in range(3) for c in range(5)]
    assert [job for job in every if job in done] == jobs
    assert len(done) == len(jobs)
    with pytest.raises(ValueError, match="no chunk"):
        done.add((0, 3, 0))
    assert len(Done(10, 100, 100)._bits) == 12_500


def test_a_half_written_mark_is_ignored_and_can_be_made_again(ledger: Ledger, folder: Path) -> None:
    name = mark_name(0, 1, 1)
    ledger.mark(name, record("k1"))
    file = folder / "marks" / f"{name}.json"
    whole = file.read_bytes()
    for length in range(0, len(whole) - 2, 31):
        file.write_bytes(whole[:length])
        assert len(ledger.read_done("k1", CUTS)[0]) == 0
    ledger.mark(name, record("k1"))
    assert len(ledger.read_done("k1", CUTS)[0]) == 1


def test_a_chunk_done_again_has_one_mark(ledger: Ledger) -> None:
    ledger.mark(mark_name(0, 0, 0), record("k0"))
    ledger.mark(mark_name(0, 0, 0), record("k1"))
    assert len(ledger.read_done("k1", CUTS)[0]) == 1
    assert len(ledger.read_done("k0", CUTS)[0]) == 0


def test_failures_are_told_to_anybody_until_they_are_forgotten(ledger: Ledger) -> None:
    ledger.fail(mark_name(0, 2, 1), "the disk of the server is on fire")
    other = Ledger(storage=ledger.storage)
    assert list(other.failures()) == [((0, 2, 1), "the disk of the server is on fire")]
    ledger.forget_failures()
    assert list(other.failures()) == []


def test_places_with_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match="give another"):
        refuse_strangers(open_storage(tmp_path))
    with pytest.raises(OutputError, match="is a file"):
        refuse_strangers(open_storage(tmp_path / "photo.jpg"))


def test_new_empty_and_own_folders_are_taken(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "new", tmp_path / "empty", ledger.storage.address):
        refuse_strangers(open_storage(place))


def test_a_run_is_removed_whole_but_for_whose_the_place_is(ledger: Ledger, folder: Path) -> None:
    out = folder.parent
    (out / "cube.zarr" / "reflectance").mkdir(parents=True)
    (out / "cube.zarr" / "zarr.json").write_text("{}")
    (out / "item.json").write_text("{}")
    (folder / "lease.json").write_text("{}")
    ledger.mark(mark_name(0, 0, 0), record("k1"))
    remove_run(ledger.storage)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == [
        "ledger", "ledger/lease.json",
    ]  # fmt: skip


def test_a_cube_on_another_disk_is_unlinked_not_followed(
    tmp_path: Path, ledger: Ledger, folder: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "other.txt").write_text("stays")
    (folder.parent / "cube.zarr").symlink_to(disk)
    remove_run(ledger.storage)
    assert [path.name for path in folder.parent.iterdir()] in ([], ["ledger"])
    assert (disk / "other.txt").read_text() == "stays"


def test_another_request_is_refused_and_the_difference_named() -> None:
    there = {"date": "2024-06-15", "settings": {"grid": {"bands": ["B02"], "crs": "utm"}}}
    refuse_other("out", there, json.loads(json.dumps(there)))
    asked = {"date": "2024-06-15", "settings": {"grid": {"bands": ["B02", "B08"], "crs": "utm"}}}
    with pytest.raises(OutputError, match=r"settings\.grid\.bands is \['B02'\], asked is.*B08"):
        refuse_other("out", there, asked)


def test_a_folder_of_somebody_who_keeps_a_ledger_too_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "accounts.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other files"):
        refuse_strangers(open_storage(tmp_path))
    (tmp_path / "ledger" / "lock").touch()  # what a run leaves that never got further
    refuse_strangers(open_storage(tmp_path))
