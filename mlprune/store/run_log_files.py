"""Files of runs: their names, and packs, each of which replaces many small files.

    runs/<run_id>/run.json                         command, recipe, host and start time
    runs/<run_id>/planned.json, ended.json         the jobs to be done, and how the run ended
    runs/<run_id>/searches.json                    how far its searches are
    runs/<run_id>/environment-<id>.json            code, libraries and hardware that its jobs used
    runs/<run_id>/job-<n>.json, failure-<n>.json, elsewhere-<n>.json, pool-<n>.json
    runs/<run_id>/packed-<first>-<last>.jsonl.zst  the files with these numbers, one line per file

A run that repairs damage has one more folder per further round, `<run_id>-<round>`. A pack is written completely before
the files it replaces are removed, so no row is ever missing. A file that is also in a pack counts once.
"""

import json
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from mlprune.json_values import JsonObject, JsonValue, parse_json
from mlprune.store.segments.encoding import all_lines, segment_bytes
from mlprune.store.store import REQUESTS_AT_ONCE, Store

RunFileContent: TypeAlias = dict[str, Any]
"""The JSON object of a run file; its readers know the fields of its kind."""

_NUMBERED = re.compile(r"runs/[^/]+/[a-z]+-(\d+)\.json")
_PACK = re.compile(r"(runs/[^/]+)/packed-(\d+)-(\d+)\.jsonl\.zst")
_ROUND = re.compile(r"(\w+-\w+)-(\d+)")


class RunFiles:
    """The files below `runs/`, sorted into packs and single files by their paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        listed = list(paths)
        packs = [match for path in listed if (match := _PACK.fullmatch(path))]
        self.packs: tuple[str, ...] = tuple(match[0] for match in packs)
        """Paths of the packs."""
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        for match in packs:
            self._ranges.setdefault(match[1], []).append((int(match[2]), int(match[3])))
        for ranges in self._ranges.values():
            ranges.sort()
        self.packed: frozenset[str] = frozenset(filter(self._is_in_a_pack, listed))
        """Files that are also in a pack, because a process died before it could remove them."""
        excluded = self.packed.union(self.packs)
        self.single: tuple[str, ...] = tuple(path for path in listed if path not in excluded)
        """Files that are not in a pack."""
        self._current = frozenset((*self.single, *self.packs))

    def contains(self, path: str) -> bool:
        """Return whether the content of a path exists, in a file of its own or in a pack."""
        return path in self._current or self._is_in_a_pack(path)

    def _is_in_a_pack(self, path: str) -> bool:
        ranges = self._ranges.get(path.rpartition("/")[0], [])
        match = _NUMBERED.fullmatch(path) if ranges else None
        if match is None:
            return False
        number = int(match[1])
        position = bisect_right(ranges, (number, sys.maxsize)) - 1
        return position >= 0 and number <= ranges[position][1]


def run_files(store: Store) -> RunFiles:
    """List the files of all runs."""
    return RunFiles(store.list("runs"))


def run_of(path: str) -> tuple[str, int]:
    """Return (run id, round) of a run file's path."""
    folder = path.split("/")[1]
    match = _ROUND.fullmatch(folder)
    return (match[1], int(match[2])) if match else (folder, 0)


def kind_of(path: str) -> str:
    """Return the kind of a run file: run, planned, searches, job, failure, elsewhere, pool, environment, ended or
    packed."""
    return path.rpartition("/")[2].partition(".")[0].partition("-")[0]


def read_run_file(store: Store, path: str) -> Iterator[tuple[str, RunFileContent]]:
    """Yield (path, content) of a file, or of each file in a pack.

    Raises:
        OSError: the file does not exist.
        ValueError, TypeError: it cannot be read.
    """
    if _PACK.fullmatch(path) is None:
        lines: Iterable[tuple[str, JsonValue]] = [(path, store.read_json(path))]
    else:
        data = store.read_file(path)
        if data is None:
            raise FileNotFoundError(path)
        lines = ((name, parse_json(line)) for name, line in all_lines(data))
    for name, value in lines:
        if not isinstance(value, dict):
            raise TypeError(f"{name} is not a JSON object")
        yield name, value


def write_pack(store: Store, folder: str, files: Sequence[tuple[str, JsonObject]]) -> None:
    """Write the content of many files to one, then remove the files.

    Args:
        folder: folder of a run, or of a round of it.
        files: (name such as `job-3`, content), with consecutive numbers.
    Raises:
        OSError: the disk is full; no file was removed.
    """
    first, last = (name.rpartition("-")[2] for name, _ in (files[0], files[-1]))
    content = {f"runs/{folder}/{name}.json": value for name, value in files}
    lines = [(path, json.dumps({"run_file": path, **value}).encode()) for path, value in content.items()]
    store.write_bytes(f"runs/{folder}/packed-{first}-{last}.jsonl.zst", segment_bytes(lines))
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        list(pool.map(store.delete, content))
