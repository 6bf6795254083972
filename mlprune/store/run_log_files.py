"""The files of runs: how they are named, and how many small ones become one.

    runs/<run_id>/run.json                         who runs what, where
    runs/<run_id>/planned.json, ended.json         what is to be done, and how it ended
    runs/<run_id>/environment-<id>.json            what its jobs computed with
    runs/<run_id>/job-<n>.json, failure-<n>.json, elsewhere-<n>.json
    runs/<run_id>/packed-<first>-<last>.jsonl.zst  those of these numbers, a line each

A run that mends damage has one more folder for each further round, `<run_id>-<round>`. A pack is written whole before
the files it replaces go, so that no row is ever missing; what lies in both places counts once, as the numbers tell.
"""

import json
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from mlprune.json_values import JsonObject, JsonValue
from mlprune.store.segments.encoding import all_lines, segment_bytes
from mlprune.store.store import REQUESTS_AT_ONCE, Store

RunFileContent: TypeAlias = dict[str, Any]
"""The JSON object of a run file; its readers know the fields of its kind."""

_NUMBERED = re.compile(r"runs/[^/]+/[a-z]+-(\d+)\.json")
_PACK = re.compile(r"(runs/[^/]+)/packed-(\d+)-(\d+)\.jsonl\.zst")
_ROUND = re.compile(r"(\w+-\w+)-(\d+)")


class RunFiles:
    """The files below `runs/`, from the paths of all of them."""

    def __init__(self, paths: Iterable[str]) -> None:
        listed = list(paths)
        found = [match for path in listed if (match := _PACK.fullmatch(path))]
        self.packs: tuple[str, ...] = tuple(match[0] for match in found)
        """Paths of the packs."""
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        for match in found:
            self._ranges.setdefault(match[1], []).append((int(match[2]), int(match[3])))
        for ranges in self._ranges.values():
            ranges.sort()
        self.covered: frozenset[str] = frozenset(filter(self._is_in_a_pack, listed))
        """Files that are in a pack too: a process died before it could remove them."""
        aside = self.covered.union(self.packs)
        self.single: tuple[str, ...] = tuple(one for one in listed if one not in aside)
        """Files that stand for themselves."""
        self._here = frozenset((*self.single, *self.packs))

    def holds(self, path: str) -> bool:
        """Whether what a file of this path says is here, in a pack or by itself."""
        return path in self._here or self._is_in_a_pack(path)

    def _is_in_a_pack(self, path: str) -> bool:
        ranges = self._ranges.get(path.rpartition("/")[0], [])
        match = _NUMBERED.fullmatch(path) if ranges else None
        if match is None:
            return False
        number = int(match[1])
        place = bisect_right(ranges, (number, sys.maxsize)) - 1
        return place >= 0 and number <= ranges[place][1]


def run_files(store: Store) -> RunFiles:
    """The files of all runs: one listing."""
    return RunFiles(store.list("runs"))


def run_of(path: str) -> tuple[str, int]:
    """(run id, round) of a run file's path."""
    folder = path.split("/")[1]
    found = _ROUND.fullmatch(folder)
    return (found[1], int(found[2])) if found else (folder, 0)


def kind_of(path: str) -> str:
    """What a run file tells of: run, planned, job, failure, elsewhere, environment, ended, or packed."""
    return path.rpartition("/")[2].partition(".")[0].partition("-")[0]


def read_run_file(store: Store, path: str) -> Iterator[tuple[str, RunFileContent]]:
    """(path, content) of a file, or of each file that a pack holds.

    Raises:
        OSError: it is not there.
        ValueError, TypeError: it cannot be read.
    """
    if _PACK.fullmatch(path) is None:
        lines: Iterable[tuple[str, JsonValue]] = [(path, store.read_json(path))]
    else:
        data = store.read_file(path)
        if data is None:
            raise FileNotFoundError(path)
        lines = ((name, json.loads(line)) for name, line in all_lines(data))
    for name, value in lines:
        if not isinstance(value, dict):
            raise TypeError(f"{name} holds no object")
        yield name, value


def write_pack(store: Store, folder: str, files: Sequence[tuple[str, JsonObject]]) -> None:
    """Write one file with what many hold, then remove these.

    Args:
        folder: of a run, or of a round of it.
        files: (name such as `job-3`, content), their numbers following on each other.
    Raises:
        OSError: there is no room; nothing was removed.
    """
    first, last = (name.rpartition("-")[2] for name, _ in (files[0], files[-1]))
    content = {f"runs/{folder}/{name}.json": value for name, value in files}
    lines = [(path, json.dumps({"run_file": path, **value}).encode()) for path, value in content.items()]
    store.write_bytes(f"runs/{folder}/packed-{first}-{last}.jsonl.zst", segment_bytes(lines))
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        list(pool.map(store.delete, content))
