"""Paths of segments and of their markers."""

import io
import json
import struct

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.store import segments
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


@settings(max_examples=25, deadline=None)
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
