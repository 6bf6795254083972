"""Cache of decoded mask files: what stays, what is dropped first, and what is too large."""

from mlprune.numeric.masks.packed_levels import PackedLevels
from mlprune.pruning.level_cache import FileKey, LevelCache, LevelsOfFile
from mlprune.store.records import Artefact


def key_of(name: str) -> FileKey:
    return "store", Artefact(path=name, n_bytes=1, sha256=name, n_rows=1)


def levels_of(n_bytes: int) -> LevelsOfFile:
    return {"fc1": PackedLevels(bytes(n_bytes), (n_bytes, 8), 1)}


class Files:
    """Counts reads."""

    def __init__(self, cache: LevelCache) -> None:
        self.cache = cache
        self.read: list[str] = []

    def get(self, name: str, n_bytes: int) -> LevelsOfFile:
        def read() -> LevelsOfFile:
            self.read.append(name)
            return levels_of(n_bytes)

        return self.cache.get(key_of(name), read)


def test_a_file_is_read_once_while_it_stays_in_memory() -> None:
    files = Files(LevelCache(100))
    assert files.get("a", 20) is files.get("a", 20)
    assert files.read == ["a"]


def test_the_file_that_was_used_longest_ago_is_dropped_first() -> None:
    files = Files(LevelCache(50))
    for name in ("a", "b", "c", "d", "a", "e", "a", "b"):
        files.get(name, 12)
    assert files.read == ["a", "b", "c", "d", "e", "b"]


def test_a_file_larger_than_a_quarter_of_the_cache_is_not_kept() -> None:
    files = Files(LevelCache(100))
    for n_bytes in (25, 26):
        for _ in range(2):
            assert len(files.get(str(n_bytes), n_bytes)["fc1"].levels) == n_bytes
    assert files.read == ["25", "26", "26"]


def test_a_file_with_other_content_is_another_file() -> None:
    files = Files(LevelCache(100))
    files.get("a", 5)
    changed = ("store", Artefact(path="a", n_bytes=1, sha256="changed", n_rows=1))
    assert len(files.cache.get(changed, lambda: levels_of(6))["fc1"].levels) == 6
