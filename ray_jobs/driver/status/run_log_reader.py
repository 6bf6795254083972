"""Read the logs of runs again and again. Numbered files and packs never change, so each is read only once."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from mlprune.json_values import JsonObject
from mlprune.store.run_log_files import kind_of, numbers_of, read_run_file
from mlprune.store.store import Store
from ray_jobs.driver.status.run_log_entries import RunEntries

N_READERS = 16
CHANGING_KINDS = ("run", "planned", "searches", "ended")
"""Kinds of files that are written again, or whose content is replaced."""


def folder_of(path: str) -> str:
    """Return the folder of a run file: a run, or a later round of it."""
    return path.split("/")[1]


class RunLogReader:
    """The entries of the runs of a store, kept between two readings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: dict[str, RunEntries] = {}
        """Folder of a run -> its entries so far."""
        self._known: dict[str, set[str]] = defaultdict(set)
        """Folder of a run -> paths of files that were read and do not change."""
        self._numbers: dict[str, set[int]] = defaultdict(set)
        """Folder of a run -> numbers of the entries that were read: a later pack may have them, too."""

    def read(self, paths: Sequence[str], folders: Collection[str]) -> Mapping[str, RunEntries]:
        """Return folder -> entries of some folders; other folders are forgotten.

        Args:
            paths: the current single files and packs of all runs.
        """
        for folder in self._logs.keys() - set(folders):
            for by_folder in (self._logs, self._known, self._numbers):
                by_folder.pop(folder, None)
        for folder in folders:
            self._logs.setdefault(folder, RunEntries())
        wanted = [path for path in paths if folder_of(path) in self._logs and path not in self._known[folder_of(path)]]
        for path, contents in read_files(self._store, wanted):
            if contents:
                self._add(path, contents)
        return self._logs

    def _add(self, path: str, contents: Sequence[tuple[str, JsonObject]]) -> None:
        """Add the content of a file, or of the entries in a pack that were not read before they were packed."""
        folder = folder_of(path)
        known, read = self._known[folder], self._numbers[folder]
        for name, value in contents:
            numbers = numbers_of(name)
            if numbers is None or numbers[0] not in read:
                self._logs[folder].add(kind_of(name), value)
                read.update(numbers or ())
        if kind_of(path) not in CHANGING_KINDS:
            known.difference_update(name for name, _ in contents)  # a packed file is never listed again
            known.add(path)


def read_files(store: Store, paths: Sequence[str]) -> Iterator[tuple[str, list[tuple[str, JsonObject]]]]:
    """Yield each path with its content, or with the (path, content) of the files in a pack.

    The content is empty if the file cannot be read: a live run may delete files in the meantime.
    """

    def read(path: str) -> list[tuple[str, JsonObject]]:
        try:
            return list(read_run_file(store, path))
        except (OSError, ValueError, TypeError):
            return []

    if not paths:
        return
    with ThreadPoolExecutor(N_READERS) as pool:
        yield from zip(paths, pool.map(read, paths), strict=True)
