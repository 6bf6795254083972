"""Segments and the records read from them."""

import io
import json
import logging
import pickle
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.store import segments
from mlprune.store.compacted_records import CompactedRecords
from mlprune.store.segments import (
    PREFACE_BYTES,
    block_lines,
    index_size,
    parse_index,
    segment_bytes,
    segment_folder,
    segment_path,
    void_path,
)


def test_a_marker_is_next_to_its_segment() -> None:
    segment = segment_path("masks", "0a1b")
    assert segment == f"{segment_folder('masks')}/0a1b.jsonl.zst" == "records/masks/segments/0a1b.jsonl.zst"
    assert void_path(segment, "ff") == "records/masks/segments/0a1b.ff.void"


def line(record_id: str, text: str = "") -> tuple[str, bytes]:
    return record_id, json.dumps({"id": record_id, "text": text}, ensure_ascii=False).encode()


def index_of(data: bytes) -> segments.SegmentIndex:
    end = PREFACE_BYTES + index_size(data[:PREFACE_BYTES])
    return parse_index(data[PREFACE_BYTES:end])


def read(data: bytes, record_id: str) -> bytes:
    index = index_of(data)
    number, start, end = index.locate(record_id)
    block = index.blocks[number]
    return block_lines(block, data[block.start : block.start + block.n_bytes])[start:end]


@pytest.mark.thorough("writes and reads many records")
@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=30), st.integers(1, 200))
def test_every_record_is_read_back_whatever_the_size_of_blocks(texts: list[str], block_bytes: int) -> None:
    lines = [line(f"{n:020x}", text) for n, text in enumerate(texts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "BLOCK_BYTES", block_bytes)
        data = segment_bytes(lines)
    assert len(index_of(data).blocks) <= len(lines)
    for record_id, text in lines:
        assert read(data, record_id) == text + b"\n"


def test_equal_records_give_equal_bytes() -> None:
    assert segment_bytes([line("a"), line("b")]) == segment_bytes([line("a"), line("b")])


def test_other_readers_of_zstandard_see_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BLOCK_BYTES", 10)
    lines = [line("a", "é"), line("b"), line("c")]
    stream = pa.CompressedInputStream(pa.BufferReader(segment_bytes(lines)), "zstd")
    assert io.BytesIO(stream.read()).read() == b"".join(text + b"\n" for _, text in lines)


@pytest.mark.parametrize("data", [b"", b"short", b"not a segment at all", struct.pack("<II", 0xFD2FB528, 4) + b"data"])
def test_a_file_that_is_not_a_segment_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="segment"):
        index_size(data[:PREFACE_BYTES])


def test_a_damaged_index_or_block_is_detected() -> None:
    data = bytearray(segment_bytes([line("a", "some text"), line("b", "more")]))
    end = PREFACE_BYTES + index_size(bytes(data[:PREFACE_BYTES]))
    damaged = data.copy()
    damaged[end - 3] ^= 1
    with pytest.raises(ValueError, match="index"):
        index_of(bytes(damaged))
    block = index_of(bytes(data)).blocks[0]
    frame = bytearray(data[block.start :])
    for position in range(len(frame)):
        frame[position] ^= 4
        try:
            assert block_lines(block, bytes(frame)) == block_lines(block, bytes(data[block.start :]))
        except ValueError as err:
            assert "block" in str(err)  # noqa: PT017 - a flip without effect on the lines may go unnoticed
        frame[position] ^= 4
    with pytest.raises(ValueError, match="block"):
        block_lines(block, bytes(frame[:-1]))


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
