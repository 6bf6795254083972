"""The compacted records of a store: which there are, and the text of one, read from segments.

Segments lie in `records/<kind>/segments/<name>.jsonl.zst`; a file is written once and never changed. A record that is
to count no more gets a marker beside its segment, `<name>.<id>.void`. What is known here follows the folder: the
indexes of segments are read once, and the folder is looked at again when it may have changed. How segments come about
is in `compaction.py`.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from mlprune.store.backend import NOT_A_FILE
from mlprune.store.segments.encoding import PREFACE_BYTES, SegmentIndex, block_lines, index_size, parse_index

logger = logging.getLogger(__name__)

ENDING = ".jsonl.zst"
VOID = ".void"
FIRST_READ_BYTES = 1 << 16
"""Read at once from a segment of which nothing is known: the whole index of some 2,000 records."""
CACHE_BYTES = 64 << 20
"""Size of the blocks kept in memory, uncompressed."""
LOOKS = 5
"""Times a folder is looked at again because somebody has replaced a segment since it was listed."""
LOOK_AGAIN_S = 30.0
"""Age at which what is known of an object store's segments is refreshed."""


class Files(Protocol):
    """What this module needs of a store."""

    def list(self, folder: str) -> list[str]:
        """Paths of the files below a folder."""

    def read_range(self, path: str, start: int, n_bytes: int) -> bytes:
        """Some bytes of a file, fewer at its end; FileNotFoundError if it is not there."""

    def changed_at(self, folder: str) -> int | None:
        """A number that changes with the files of a folder, 0 if there is none; None if that cannot be known."""


@dataclass
class _Kind:
    """What is known of the segments of one kind."""

    segments: dict[str, SegmentIndex] = field(default_factory=dict)
    """Path -> index."""
    void: frozenset[tuple[str, str]] = frozenset()
    """(path, id) of records that count no more."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Path of a segment that cannot be read -> why."""
    changed_at: int | None = -1
    looked_at: float = float("-inf")


def segment_folder(kind: str) -> str:
    """Where the segments of a kind lie, relative to the store."""
    return f"records/{kind}/segments"


def segment_path(kind: str, name: str) -> str:
    """Where a segment lies."""
    return f"{segment_folder(kind)}/{name}{ENDING}"


def void_path(segment: str, record_id: str) -> str:
    """The marker that a record of a segment counts no more."""
    return f"{segment.removesuffix(ENDING)}.{record_id}{VOID}"


class CompactedRecords:
    """The records in the segments of one store; safe to use from several threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._kinds: dict[str, _Kind] = {}
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._n_cached = 0
        self._lock = threading.RLock()

    def follow(self, kind: str, paths: Sequence[str]) -> bool:
        """Take in a listing of the segment folder of a kind: read new indexes, forget what is gone.

        Returns: whether every segment was still there; if not, the listing is out of date.
        """
        with self._lock:
            known = self._kinds.setdefault(kind, _Kind())
            found = {path for path in paths if path.endswith(ENDING)}
            known.void = frozenset(
                (f"{segment}{ENDING}", record_id)
                for segment, _, record_id in (
                    path.removesuffix(VOID).rpartition(".") for path in paths if path.endswith(VOID)
                )
            )
            for gone in set(known.segments) - found:
                del known.segments[gone]
            new = sorted(found - set(known.segments) - set(known.damaged))
            are_there = [self._open(known, path) for path in new]
            known.looked_at = time.monotonic()
            return all(are_there)

    def _open(self, known: _Kind, path: str) -> bool:
        """Read the index of a segment; False if it is gone."""
        try:
            known.segments[path] = self._index(path)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as err:
            if isinstance(err, OSError) and err.errno not in NOT_A_FILE:
                raise
            logger.warning("segment %s cannot be read (%s): its records count as not there", path, err)
            known.damaged[path] = str(err)
        return True

    def _index(self, path: str) -> SegmentIndex:
        data = self._files.read_range(path, 0, FIRST_READ_BYTES)
        size = index_size(data[:PREFACE_BYTES])
        end = PREFACE_BYTES + size
        if end > len(data):
            data += self._files.read_range(path, len(data), end - len(data))
        return parse_index(data[PREFACE_BYTES:end])

    def kinds(self) -> list[str]:
        """Kinds whose segments were looked for."""
        return sorted(self._kinds)

    def ids(self, kind: str) -> set[str]:
        """Ids of the records of a kind, as of the last look."""
        with self._lock:
            known = self._kinds.get(kind)
            if known is None:
                return set()
            return {
                record_id
                for path, index in known.segments.items()
                for record_id in index.positions
                if not known.void or (path, record_id) not in known.void
            }

    def segments_with(self, kind: str, record_id: str) -> list[str]:
        """Paths of the segments in which a record counts, as of the last look."""
        with self._lock:
            known = self._kinds.get(kind, _Kind())
            return [
                path
                for path, index in sorted(known.segments.items())
                if record_id in index.positions and (path, record_id) not in known.void
            ]

    def damaged(self, kind: str) -> dict[str, str]:
        """Path of each segment that cannot be read -> why, as of the last look."""
        with self._lock:
            return dict(self._kinds.get(kind, _Kind()).damaged)

    def segments(self, kind: str) -> dict[str, SegmentIndex]:
        """Path -> index of the readable segments of a kind, as of the last look."""
        with self._lock:
            return dict(self._kinds.get(kind, _Kind()).segments)

    def find(self, kind: str, record_id: str) -> bytes | None:
        """The JSON text of a record, None if no segment has it.

        Raises:
            ValueError: its segment is damaged where it stands.
        """
        self._look_if_changed(kind)
        for _ in range(LOOKS):
            for path in self.segments_with(kind, record_id):
                try:
                    return self.line(kind, path, record_id)
                except FileNotFoundError:  # another process has merged it into a larger one
                    continue
            self.look(kind)
            if not self.segments_with(kind, record_id):
                break
        return None

    def has(self, kind: str, record_id: str) -> bool:
        """Whether a record counts in some segment."""
        self._look_if_changed(kind)
        if not self.segments_with(kind, record_id):
            self.look(kind)
        return bool(self.segments_with(kind, record_id))

    def line(self, kind: str, path: str, record_id: str) -> bytes:
        """The JSON text of a record in one segment.

        Raises:
            ValueError: the segment is damaged there.
            FileNotFoundError: the segment is gone.
        """
        with self._lock:
            index = self._kinds[kind].segments[path]
            number, start, end = index.place(record_id)
            return self._block(path, index, number)[start:end].rstrip(b"\n")

    def lines(self, kind: str, path: str) -> Iterator[tuple[str, bytes]]:
        """(id, JSON text) of all records of a segment, those that count no more included; see `line` for errors."""
        index = self._kinds[kind].segments[path]
        for record_id in index.positions:
            yield record_id, self.line(kind, path, record_id)

    def lines_of(self, kind: str, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(id, JSON text) of those of some records that lie in segments, each segment read once from end to end.

        A record that cannot be had so, because its segment is gone or damaged there, is left out: `find` says why.
        """
        missing = set(wanted)
        for path, index in self.segments(kind).items():
            found = missing.intersection(index.positions) - self.void_in(kind, path)
            for record_id in sorted(found, key=index.positions.__getitem__):
                try:
                    line = self.line(kind, path, record_id)
                except (OSError, ValueError):
                    continue
                missing.discard(record_id)
                yield record_id, line

    def void_in(self, kind: str, path: str) -> set[str]:
        """Ids of the records of a segment that count no more, as of the last look."""
        return {record_id for segment, record_id in self._kinds[kind].void if segment == path}

    def _block(self, path: str, index: SegmentIndex, number: int) -> bytes:
        """The lines of a block, from memory if it was read lately."""
        key = (path, number)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        block = index.blocks[number]
        lines = self._blocks[key] = block_lines(block, self._files.read_range(path, block.start, block.n_bytes))
        self._n_cached += len(lines)
        while self._n_cached > CACHE_BYTES and len(self._blocks) > 1:
            self._n_cached -= len(self._blocks.popitem(last=False)[1])
        return lines

    def look(self, kind: str) -> None:
        """Look at the segment folder of a kind."""
        folder = segment_folder(kind)
        for _ in range(LOOKS):
            changed_at = self._files.changed_at(folder)
            is_current = self.follow(kind, self._files.list(folder))
            self._kinds[kind].changed_at = changed_at
            if is_current:
                break

    def _look_if_changed(self, kind: str) -> None:
        known = self._kinds.get(kind)
        changed_at = self._files.changed_at(segment_folder(kind))
        if known is None or (
            time.monotonic() - known.looked_at > LOOK_AGAIN_S if changed_at is None else changed_at != known.changed_at
        ):
            self.look(kind)

    def __getstate__(self) -> NoReturn:
        raise TypeError("compacted records belong to one process")
