"""Files of runs: names, packs, and files that are also in a pack."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.store.garbage import find_garbage
from mlprune.store.run_log_files import RunFiles, kind_of, read_run_file, run_files, run_of, write_pack
from mlprune.store.store import Store

RUN = "20260203T221500-abc123"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write_jobs(store: Store, numbers: range, folder: str = RUN) -> list[tuple[str, dict[str, Any]]]:
    """Write files of jobs, every third of which failed; return their names and contents."""
    files = [(f"{'job' if number % 3 else 'failure'}-{number}", {"number": number}) for number in numbers]
    for name, value in files:
        store.write_run_file(folder, name, value)
    return files


def contents(store: Store) -> dict[str, Any]:
    """Path -> number of all job files, in packs or not; no path may occur twice."""
    files = run_files(store)
    read = [entry for path in (*files.single, *files.packs) for entry in read_run_file(store, path)]
    numbers = {path: value["number"] for path, value in read}
    assert len(numbers) == len(read)
    return numbers


def test_a_pack_replaces_its_files(store: Store) -> None:
    files = write_jobs(store, range(7))
    before = contents(store)
    write_pack(store, RUN, files[:5])
    assert store.list("runs") == [
        f"runs/{RUN}/{name}" for name in ("failure-6.json", "job-5.json", "packed-0-4.jsonl.zst")
    ]
    assert contents(store) == before


def test_files_that_a_killed_process_left_next_to_their_pack_count_once_and_are_garbage(store: Store) -> None:
    files = write_jobs(store, range(4))
    before = contents(store)
    write_pack(store, RUN, files)
    write_jobs(store, range(1, 4))
    assert contents(store) == before
    expected = {f"runs/{RUN}/{name}.json" for name, _ in files[1:]}
    assert run_files(store).packed == expected
    assert {file.path for file in find_garbage(store, min_age_s=-60).files} == expected


def test_a_pack_replaces_smaller_packs_and_one_that_was_left_counts_once_and_is_garbage(store: Store) -> None:
    files = write_jobs(store, range(8))
    before = contents(store)
    packs = [write_pack(store, RUN, part) for part in (files[:3], files[3:5])]
    assert contents(store) == before
    left = {path: store.read_file(path) or b"" for path in packs}
    full = write_pack(store, RUN, files[:6], replaced=[*packs, f"runs/{RUN}/{files[5][0]}.json"])
    assert store.list("runs") == sorted([full, *(f"runs/{RUN}/{name}.json" for name, _ in files[6:])])
    for path, data in left.items():
        store.write_bytes(path, data)
    listed = run_files(store)
    assert contents(store) == before
    assert (listed.packs, listed.packed) == ((full,), left.keys())
    assert all(map(listed.contains, left))
    assert {file.path for file in find_garbage(store, min_age_s=-60).files} == left.keys()


def test_files_that_cannot_be_removed_stay_next_to_their_pack(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_jobs(store, range(3))
    before = contents(store)

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(store, "delete", refuse)
    write_pack(store, RUN, files)
    assert contents(store) == before
    assert len(caplog.records) == 1


def test_a_pack_contains_the_numbers_it_names_in_its_own_folder_only() -> None:
    files = RunFiles([f"runs/{RUN}/packed-10-20.jsonl.zst", f"runs/{RUN}/run.json"])
    contained = [f"runs/{RUN}/job-10.json", f"runs/{RUN}/elsewhere-20.json", *files.packs, f"runs/{RUN}/run.json"]
    assert all(map(files.contains, contained))
    absent = [
        f"runs/{RUN}/job-9.json",
        f"runs/{RUN}/job-21.json",
        f"runs/{RUN}-1/job-10.json",
        f"runs/{RUN}/ended.json",
    ]
    assert not any(map(files.contains, absent))


@pytest.mark.parametrize(
    ("folder", "expected"),
    [(RUN, (RUN, 0)), (f"{RUN}-2", (RUN, 2)), ("run-1", ("run-1", 0)), ("run", ("run", 0))],
)
def test_a_folder_names_the_run_and_the_round(folder: str, expected: tuple[str, int]) -> None:
    assert run_of(f"runs/{folder}/job-1.json") == expected


def test_a_kind_follows_from_the_name() -> None:
    names = ("run.json", "job-12.json", "environment-0a1b.json", "packed-0-99.jsonl.zst")
    assert [kind_of(f"runs/{RUN}/{name}") for name in names] == ["run", "job", "environment", "packed"]


@pytest.mark.parametrize("data", [b"", b"no JSON", b"[1]"])
def test_a_file_that_is_not_a_json_object_is_an_error(store: Store, data: bytes) -> None:
    store.write_bytes(f"runs/{RUN}/job-0.json", data)
    with pytest.raises((ValueError, TypeError)):
        list(read_run_file(store, f"runs/{RUN}/job-0.json"))


def test_a_damaged_pack_is_an_error(store: Store) -> None:
    write_pack(store, RUN, write_jobs(store, range(100)))
    (path,) = store.list("runs")
    data = bytearray(store.read_file(path) or b"")
    data[-20] ^= 1
    store.write_bytes(path, bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        list(read_run_file(store, path))
