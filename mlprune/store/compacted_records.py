"""Reading of compacted records: which records are in segments, and the text of each.

Segments are files `records/<kind>/segments/<name>.jsonl.zst`, written once and never changed. A record of a segment
that no longer counts has a marker next to the segment, `<name>.<id>.void`. The index of every segment is read once and
kept; the folder is listed again when it may have changed.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from mlprune.given_files import NOT_A_FILE
from mlprune.store.segments import (
    ENDING,
    PREFACE_BYTES,
    VOID,
    SegmentIndex,
    block_lines,
    index_size,
    parse_index,
    segment_folder,
)

logger = logging.getLogger(__name__)

FIRST_READ_BYTES = 1 << 16
"""Size of the first read of a segment: enough for the index of about 2,000 records."""
CACHE_BYTES = 64 << 20
"""Size of the cached blocks, uncompressed."""
MOST_REFRESHES = 5
"""Number of times a folder is listed again because another process has replaced a segment since the last listing."""
REFRESH_AFTER_S = 30.0
"""Age at which the listing of an object store's segments is refreshed."""


class Files(Protocol):
    """The file operations that this module needs."""

    def list(self, folder: str) -> list[str]:
        """Paths of the files below a folder."""

    def read_range(self, path: str, start: int, n_bytes: int) -> bytes:
        """Some bytes of a file, fewer at its end; FileNotFoundError if it does not exist."""

    def changed_at(self, folder: str) -> int | None:
        """A number that changes with the files of a folder, 0 if it does not exist; None if that is not known."""


@dataclass
class _KindSegments:
    """The segments of one kind, as of the last listing."""

    segments: dict[str, SegmentIndex] = field(default_factory=dict)
    """Path -> index."""
    void: frozenset[tuple[str, str]] = frozenset()
    """(path, id) of records that no longer count."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Path of a segment that cannot be read -> reason."""
    changed_at: int | None = -1
    listed_at: float = float("-inf")


class CompactedRecords:
    """The records in the segments of one store; thread-safe.

    Methods describe the last listing of a kind unless they say that they refresh it.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._kinds: dict[str, _KindSegments] = {}
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._n_cached = 0
        self._lock = threading.RLock()

    def update(self, kind: str, paths: Sequence[str]) -> bool:
        """Take over a listing of the segment folder of a kind: read new indexes, drop segments that are gone.

        Returns: whether all listed segments still existed; if not, the listing is out of date.
        """
        with self._lock:
            state = self._kinds.setdefault(kind, _KindSegments())
            listed = {path for path in paths if path.endswith(ENDING)}
            state.void = frozenset(
                (f"{segment}{ENDING}", record_id)
                for segment, _, record_id in (
                    path.removesuffix(VOID).rpartition(".") for path in paths if path.endswith(VOID)
                )
            )
            for path in set(state.segments) - listed:
                del state.segments[path]
            new = sorted(listed - set(state.segments) - set(state.damaged))
            exist = [self._open(state, path) for path in new]
            state.listed_at = time.monotonic()
            return all(exist)

    def _open(self, state: _KindSegments, path: str) -> bool:
        """Read the index of a segment; return False if the segment no longer exists."""
        try:
            state.segments[path] = self._index(path)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError) as err:
            if isinstance(err, OSError) and err.errno not in NOT_A_FILE:
                raise
            logger.warning("segment %s cannot be read (%s): its records are ignored", path, err)
            state.damaged[path] = str(err)
        return True

    def _index(self, path: str) -> SegmentIndex:
        data = self._files.read_range(path, 0, FIRST_READ_BYTES)
        size = index_size(data[:PREFACE_BYTES])
        end = PREFACE_BYTES + size
        if end > len(data):
            data += self._files.read_range(path, len(data), end - len(data))
        return parse_index(data[PREFACE_BYTES:end])

    def kinds(self) -> list[str]:
        """Kinds whose segment folder was listed."""
        return sorted(self._kinds)

    def ids(self, kind: str) -> set[str]:
        """Ids of the records of a kind that are in segments and count."""
        with self._lock:
            state = self._kinds.get(kind)
            if state is None:
                return set()
            return {
                record_id
                for path, index in state.segments.items()
                for record_id in index.positions
                if not state.void or (path, record_id) not in state.void
            }

    def segments_with(self, kind: str, record_id: str) -> list[str]:
        """Paths of the segments in which a record counts."""
        with self._lock:
            state = self._kinds.get(kind, _KindSegments())
            return [
                path
                for path, index in sorted(state.segments.items())
                if record_id in index.positions and (path, record_id) not in state.void
            ]

    def damaged(self, kind: str) -> dict[str, str]:
        """Path of each segment that cannot be read -> reason."""
        with self._lock:
            return dict(self._kinds.get(kind, _KindSegments()).damaged)

    def segments(self, kind: str) -> dict[str, SegmentIndex]:
        """Path of each readable segment of a kind -> index."""
        with self._lock:
            return dict(self._kinds.get(kind, _KindSegments()).segments)

    def void_ids(self, kind: str, path: str) -> set[str]:
        """Ids of the records of a segment that no longer count."""
        return {record_id for segment, record_id in self._kinds[kind].void if segment == path}

    def find(self, kind: str, record_id: str) -> bytes | None:
        """Return the JSON text of a record, None if no segment contains it; refresh the listing where needed.

        Raises:
            ValueError: the segment is damaged where the record is.
        """
        self._refresh_if_changed(kind)
        for _ in range(MOST_REFRESHES):
            for path in self.segments_with(kind, record_id):
                try:
                    return self.line(kind, path, record_id)
                except FileNotFoundError:  # another process has merged it into a larger one
                    continue
            self.refresh(kind)
            if not self.segments_with(kind, record_id):
                break
        return None

    def has(self, kind: str, record_id: str) -> bool:
        """Return whether a record counts in some segment; refresh the listing where needed."""
        self._refresh_if_changed(kind)
        if not self.segments_with(kind, record_id):
            self.refresh(kind)
        return bool(self.segments_with(kind, record_id))

    def line(self, kind: str, path: str, record_id: str) -> bytes:
        """Return the JSON text of a record in a segment that contains it.

        Raises:
            ValueError: the segment is damaged where the record is.
            FileNotFoundError: the segment no longer exists.
        """
        with self._lock:
            index = self._kinds[kind].segments[path]
            number, start, end = index.locate(record_id)
            return self._block(path, index, number)[start:end].rstrip(b"\n")

    def lines(self, kind: str, path: str) -> Iterator[tuple[str, bytes]]:
        """Yield (id, JSON text) of all records of a segment, voided ones included; see `line` for errors."""
        index = self._kinds[kind].segments[path]
        for record_id in index.positions:
            yield record_id, self.line(kind, path, record_id)

    def select_lines(self, kind: str, ids: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (id, JSON text) of the records of some ids that are in segments; read each segment once.

        A record whose segment no longer exists, or is damaged where the record is, is skipped; `find` gives the reason.
        """
        missing = set(ids)
        for path, index in self.segments(kind).items():
            contained = missing.intersection(index.positions) - self.void_ids(kind, path)
            for record_id in sorted(contained, key=index.positions.__getitem__):
                try:
                    line = self.line(kind, path, record_id)
                except (OSError, ValueError):
                    continue
                missing.discard(record_id)
                yield record_id, line

    def _block(self, path: str, index: SegmentIndex, number: int) -> bytes:
        """Return the lines of a block, from the cache if it was read recently."""
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

    def refresh(self, kind: str) -> None:
        """List the segment folder of a kind."""
        folder = segment_folder(kind)
        for _ in range(MOST_REFRESHES):
            changed_at = self._files.changed_at(folder)
            is_current = self.update(kind, self._files.list(folder))
            self._kinds[kind].changed_at = changed_at
            if is_current:
                break

    def _refresh_if_changed(self, kind: str) -> None:
        state = self._kinds.get(kind)
        changed_at = self._files.changed_at(segment_folder(kind))
        if state is None:
            is_current = False
        elif changed_at is None:
            is_current = time.monotonic() - state.listed_at <= REFRESH_AFTER_S
        else:
            is_current = changed_at == state.changed_at
        if not is_current:
            self.refresh(kind)

    def __getstate__(self) -> NoReturn:
        raise TypeError("compacted records belong to one process")
