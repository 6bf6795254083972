"""Reading of compacted records from files in memory: listings, markers, damage and the cache."""

import logging
import pickle

import pytest

from mlprune.store.compacted_records import CompactedRecords
from mlprune.store.segments import segment_bytes, segment_folder, segment_path, void_path

KIND = "masks"
FIRST, SECOND = segment_path(KIND, "first"), segment_path(KIND, "second")


class MemoryFiles:
    """Files in a dictionary, with a count of reads."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.n_reads = 0
        self.n_changes = 0

    def write(self, path: str, data: bytes) -> None:
        self.contents[path] = data
        self.n_changes += 1

    def remove(self, path: str) -> None:
        del self.contents[path]
        self.n_changes += 1

    def list(self, folder: str) -> list[str]:
        return sorted(path for path in self.contents if path.startswith(f"{folder}/"))

    def read_range(self, path: str, start: int, n_bytes: int) -> bytes:
        self.n_reads += 1
        if path not in self.contents:
            raise FileNotFoundError(path)
        return self.contents[path][start : start + n_bytes]

    def changed_at(self, folder: str) -> int | None:
        return self.n_changes


def segment(*ids: str) -> bytes:
    return segment_bytes([(record_id, f'"{record_id}"'.encode()) for record_id in ids])


@pytest.fixture
def files() -> MemoryFiles:
    return MemoryFiles({FIRST: segment("a", "b"), SECOND: segment("b", "c")})


def test_a_record_is_found_in_the_segment_that_contains_it(files: MemoryFiles) -> None:
    compacted = CompactedRecords(files)
    assert [compacted.find(KIND, record_id) for record_id in "abcd"] == [b'"a"', b'"b"', b'"c"', None]
    assert [compacted.has(KIND, record_id) for record_id in "ad"] == [True, False]
    assert compacted.ids(KIND) == set("abc")
    assert compacted.segments_with(KIND, "b") == [FIRST, SECOND]
    assert dict(compacted.lines(KIND, SECOND)) == {"b": b'"b"', "c": b'"c"'}
    assert dict(compacted.select_lines(KIND, ["a", "c", "d"])) == {"a": b'"a"', "c": b'"c"'}


def test_nothing_is_known_of_a_kind_that_was_not_listed(files: MemoryFiles) -> None:
    compacted = CompactedRecords(files)
    assert (compacted.ids(KIND), compacted.segments(KIND), compacted.damaged(KIND)) == (set(), {}, {})
    assert compacted.kinds() == []


def test_a_voided_record_does_not_count_in_its_segment(files: MemoryFiles) -> None:
    files.write(void_path(FIRST, "a"), b"\n")
    files.write(void_path(FIRST, "b"), b"\n")
    compacted = CompactedRecords(files)
    assert compacted.find(KIND, "a") is None
    assert compacted.find(KIND, "b") == b'"b"'
    assert compacted.void_ids(KIND, FIRST) == {"a", "b"}
    assert compacted.ids(KIND) == set("bc")


def test_changes_of_the_folder_are_noticed(files: MemoryFiles) -> None:
    compacted = CompactedRecords(files)
    assert compacted.find(KIND, "a") is not None
    files.write(segment_path(KIND, "third"), segment("d"))
    assert compacted.find(KIND, "d") == b'"d"'
    files.remove(FIRST)
    assert compacted.find(KIND, "a") is None
    assert not compacted.update(KIND, [FIRST]), "the listed segment no longer exists"


def test_indexes_and_blocks_are_read_once(files: MemoryFiles) -> None:
    compacted = CompactedRecords(files)
    compacted.find(KIND, "a")
    n_reads = files.n_reads
    compacted.find(KIND, "a")
    compacted.find(KIND, "b")
    assert files.n_reads == n_reads


def test_a_damaged_segment_is_reported_and_ignored(files: MemoryFiles, caplog: pytest.LogCaptureFixture) -> None:
    files.write(FIRST, b"not a segment")
    compacted = CompactedRecords(files)
    with caplog.at_level(logging.WARNING):
        compacted.refresh(KIND)
    assert FIRST in caplog.text
    assert list(compacted.damaged(KIND)) == [FIRST]
    assert compacted.ids(KIND) == set("bc")
    assert segment_folder(KIND) in FIRST


def test_a_reader_is_not_pickled(files: MemoryFiles) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(CompactedRecords(files))
