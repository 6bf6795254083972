"""Cache of decoded mask files: variants that differ in their sparsity only share the files of their ordering."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from mlprune.numeric.masks.packed_levels import PackedLevels
from mlprune.store.records import Artefact

FileKey = tuple[str, Artefact]
"""Store and artefact. An artefact names its content by a hash, so an entry is never outdated."""


LevelsOfFile = Mapping[str, PackedLevels]
"""Layer -> its levels, of one block."""


class LevelCache:
    """The mask files that were used last, up to a number of bytes. Thread-safe.

    Args:
        max_bytes: total size of the levels in memory; a file larger than a quarter of it is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._files: OrderedDict[FileKey, LevelsOfFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: FileKey, read: Callable[[], LevelsOfFile]) -> LevelsOfFile:
        """Return the levels of a file, and read them if they are not in memory."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        levels = read()
        if 4 * _size_of(levels) <= self._max_bytes:
            with self._lock:
                self._add(key, levels)
        return levels

    def _add(self, key: FileKey, levels: LevelsOfFile) -> None:
        if key not in self._files:
            self._files[key] = levels
            self._n_bytes += _size_of(levels)
        while self._n_bytes > self._max_bytes:
            _, oldest = self._files.popitem(last=False)
            self._n_bytes -= _size_of(oldest)


def _size_of(levels: LevelsOfFile) -> int:
    return sum(len(layer.levels) for layer in levels.values())
