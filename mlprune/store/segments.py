"""Segments: paths, and the encoding of many records in one file, each readable alone.

Encoding of a segment: many records in one file, each of which can be read without the others.

A segment is JSON Lines compressed with Zstandard, so `zstd -dc`, DuckDB and pandas can read it. Its frames are blocks
of about 1 MiB. A skippable frame in front of them, which other readers ignore, is the index: the ids of the records and
the offset, size and SHA-256 of every block.
"""

import hashlib
import json
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

ENDING = ".jsonl.zst"
"""Ending of a segment."""
VOID = ".void"
"""Ending of a marker that a record of a segment no longer counts."""
BLOCK_BYTES = 1 << 20
"""Uncompressed size at which a block ends, after the record that reaches it."""
PREFACE_BYTES = 8
"""Bytes before the index: the magic number of a skippable frame, and the length of the index."""
_SKIPPABLE = 0x184D2A50
_CODEC = "zstd"
_LEVEL = 3


def segment_folder(kind: str) -> str:
    """Return the folder of the segments of a kind, relative to the store."""
    return f"records/{kind}/segments"


def segment_path(kind: str, name: str) -> str:
    """Return the path of a segment, relative to the store."""
    return f"{segment_folder(kind)}/{name}{ENDING}"


def void_path(segment: str, record_id: str) -> str:
    """Return the path of the marker that a record of a segment no longer counts."""
    return f"{segment.removesuffix(ENDING)}.{record_id}{VOID}"


@dataclass(frozen=True)
class Block:
    """One frame of a segment."""

    start: int
    """Offset in the file."""
    n_bytes: int
    """Size in the file."""
    n_raw: int
    """Size of its lines, uncompressed."""
    sha256: str
    """First 32 hex digits of the SHA-256 of its lines."""


@dataclass(frozen=True)
class SegmentIndex:
    """The index of a segment: its records, and where they are."""

    positions: dict[str, int]
    """Record id -> position of the record in the segment, from 0."""
    ends: tuple[int, ...]
    """End of each record's line in its block."""
    firsts: tuple[int, ...]
    """Position of the first record of each block."""
    blocks: tuple[Block, ...]

    def locate(self, record_id: str) -> tuple[int, int, int]:
        """Return (block, start, end) of a record's line; the record must be in the segment."""
        position = self.positions[record_id]
        block = bisect_right(self.firsts, position) - 1
        start = self.ends[position - 1] if position > self.firsts[block] else 0
        return block, start, self.ends[position]


def segment_bytes(lines: Sequence[tuple[str, bytes]]) -> bytes:
    """Encode records as a segment; equal records give equal bytes.

    Args:
        lines: (id, JSON text on one line, without its line break) of each record.
    """
    groups = list(_groups(lines))
    import pyarrow as pa  # noqa: PLC0415 - a store without segments does not need it

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
    """Divide records into blocks."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for record_id, line in lines:
        group.append((record_id, line))
        size += len(line) + 1
        if size >= BLOCK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def index_size(preface: bytes) -> int:
    """Return the length of the index from the first `PREFACE_BYTES` of a segment.

    Raises:
        ValueError: the file is not a segment.
    """
    if len(preface) < PREFACE_BYTES:
        raise ValueError("the file is too short for a segment")
    magic, size = struct.unpack("<II", preface[:PREFACE_BYTES])
    if magic != _SKIPPABLE:
        raise ValueError("the file does not begin with the magic number of a segment")
    return int(size)


def parse_index(payload: bytes) -> SegmentIndex:
    """Decode the index of a segment.

    Args:
        payload: the `index_size` bytes after the first `PREFACE_BYTES`.
    Raises:
        ValueError: the index is damaged.
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
    """Yield (id, line without its line break) of every record of a segment, in the order of the file.

    Args:
        data: the whole file.
    Raises:
        ValueError: the file is not a segment, or it is damaged.
    """
    end = PREFACE_BYTES + index_size(data[:PREFACE_BYTES])
    index = parse_index(data[PREFACE_BYTES:end])
    raws = (block_lines(block, data[block.start : block.start + block.n_bytes]) for block in index.blocks)
    lines = (line for raw in raws for line in raw[:-1].split(b"\n"))
    return zip(index.positions, lines, strict=True)


def block_lines(block: Block, frame: bytes) -> bytes:
    """Decode the lines of a block from its bytes in the file.

    Raises:
        ValueError: the block is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415

    try:
        raw = pa.decompress(frame, block.n_raw, _CODEC, asbytes=True)
    except (pa.ArrowException, OSError) as err:
        raise ValueError("a block of the segment is damaged") from err
    if len(frame) != block.n_bytes or _short_sha256(raw) != block.sha256:
        raise ValueError("a block of the segment is damaged")
    return bytes(raw)


def _short_sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
