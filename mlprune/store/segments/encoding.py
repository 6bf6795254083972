"""A segment: many records in one file, of which any one can be read without the others.

A segment is JSON lines under Zstandard, so `zstd -dc`, DuckDB and pandas read it as it stands. Its frames are blocks of
about a MiB; before them stands one skippable frame, which other readers pass over, with the ids of the records and the
place, size and SHA-256 of every block. Where segments lie, and what becomes of them, is in `compacted.py`.
"""

import hashlib
import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

BLOCK_BYTES = 1 << 20
"""A block ends with the record that reaches this size, uncompressed."""
PREFACE_BYTES = 8
"""Bytes that say how long the index is: the magic number of a skippable frame, and its length."""

_SKIPPABLE = 0x184D2A50
_CODEC = "zstd"
_LEVEL = 3


@dataclass(frozen=True)
class Block:
    """One frame of a segment."""

    start: int
    """Place in the file."""
    n_bytes: int
    """Size in the file."""
    n_raw: int
    """Size of its lines."""
    sha256: str
    """Of its lines, the first 32 hex digits."""


@dataclass(frozen=True)
class SegmentIndex:
    """What a segment holds, and where."""

    positions: dict[str, int]
    """Record id -> its place among the records of the segment, counted from 0."""
    ends: tuple[int, ...]
    """End of each record's line in its block."""
    firsts: tuple[int, ...]
    """Position of the first record of each block."""
    blocks: tuple[Block, ...]

    def place(self, record_id: str) -> tuple[int, int, int]:
        """(block, start, end) of a record's line; the record must be in the segment."""
        position = self.positions[record_id]
        block = bisect_right(self.firsts, position) - 1
        start = self.ends[position - 1] if position > self.firsts[block] else 0
        return block, start, self.ends[position]


def segment_bytes(lines: Sequence[tuple[str, bytes]]) -> bytes:
    """The file of some records, as (id, JSON text on one line without its end); equal records are equal bytes."""
    groups = list(_groups(lines))
    codec = pa.Codec(_CODEC, compression_level=_LEVEL)
    raws = [b"".join(line + b"\n" for _, line in group) for group in groups]
    frames = [codec.compress(raw, asbytes=True) for raw in raws]
    index = {
        "ids": [record_id for record_id, _ in lines],
        "ends": [end for group in groups for end in accumulate(len(line) + 1 for _, line in group)],
        "blocks": [
            [len(group), len(frame), len(raw), _short_sha256(raw)]
            for group, frame, raw in zip(groups, frames, raws, strict=True)
        ],
    }
    text = json.dumps(index, separators=(",", ":")).encode()
    payload = hashlib.sha256(text).hexdigest().encode() + text
    return b"".join((struct.pack("<II", _SKIPPABLE, len(payload)), payload, *frames))


def _groups(lines: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """The records of one block after the other."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for one in lines:
        group.append(one)
        size += len(one[1]) + 1
        if size >= BLOCK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def index_size(preface: bytes) -> int:
    """Length of the index that follows the first `PREFACE_BYTES` of a segment.

    Raises:
        ValueError: this is no segment.
    """
    if len(preface) < PREFACE_BYTES:
        raise ValueError("the file is shorter than the beginning of a segment")
    magic, size = struct.unpack("<II", preface[:PREFACE_BYTES])
    if magic != _SKIPPABLE:
        raise ValueError("the file does not begin like a segment")
    return int(size)


def parse_index(payload: bytes) -> SegmentIndex:
    """The index of a segment.

    Args:
        payload: the `index_size` bytes after the first `PREFACE_BYTES`.
    Raises:
        ValueError: it is damaged.
    """
    sha256, text = payload[:64], payload[64:]
    if hashlib.sha256(text).hexdigest().encode() != sha256:
        raise ValueError("the index of the segment is damaged")
    index = json.loads(text)
    blocks, start, first = [], PREFACE_BYTES + len(payload), 0
    firsts = []
    for n_records, n_bytes, n_raw, block_sha256 in index["blocks"]:
        blocks.append(Block(start, n_bytes, n_raw, block_sha256))
        firsts.append(first)
        start, first = start + n_bytes, first + n_records
    positions = {record_id: position for position, record_id in enumerate(index["ids"])}
    return SegmentIndex(positions, tuple(index["ends"]), tuple(firsts), tuple(blocks))


def all_lines(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(id, line without its end) of every record of a segment, in its order.

    Args:
        data: the whole file.
    Raises:
        ValueError: it is no segment, or damaged.
    """
    end = PREFACE_BYTES + index_size(data[:PREFACE_BYTES])
    index = parse_index(data[PREFACE_BYTES:end])
    raws = (block_lines(block, data[block.start : block.start + block.n_bytes]) for block in index.blocks)
    lines = (line for raw in raws for line in raw[:-1].split(b"\n"))
    return zip(index.positions, lines, strict=True)


def block_lines(block: Block, frame: bytes) -> bytes:
    """The lines of a block, from its bytes in the file.

    Raises:
        ValueError: they are damaged.
    """
    try:
        raw = pa.decompress(frame, block.n_raw, _CODEC, asbytes=True)
    except (pa.ArrowException, OSError) as err:
        raise ValueError("a block of the segment is damaged") from err
    if len(frame) != block.n_bytes or _short_sha256(raw) != block.sha256:
        raise ValueError("a block of the segment is damaged")
    return bytes(raw)


def _short_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
