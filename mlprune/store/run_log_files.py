"""Files of runs: their names, and packs, each of which replaces many small files.

    runs/<run_id>/run.json                         command, recipe, host and start time
    runs/<run_id>/planned.json, ended.json         the jobs to be done, and how the run ended
    runs/<run_id>/searches.json                    how far its searches are
    runs/<run_id>/environment-<id>.json            code, libraries and hardware that its jobs used
    runs/<run_id>/job-<n>.json, failure-<n>.json, elsewhere-<n>.json, pool-<n>.json
    runs/<run_id>/packed-<first>-<last>.jsonl.zst  the files with these numbers, one line per file

A run that repairs damage has one more folder per further round, `<run_id>-<round>`. A pack is written completely before
the files and smaller packs that it replaces are removed, so no row is ever missing. A file that is also in a pack, and
a pack that is also in a larger one, counts once.
"""

import json
import logging
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from mlprune.json_values import JsonObject, JsonValue, as_object, parse_json
from mlprune.store.segments import all_lines, segment_bytes
from mlprune.store.store import REQUESTS_AT_ONCE, Store

logger = logging.getLogger(__name__)

RunFileContent: TypeAlias = dict[str, Any]
"""The JSON object of a run file; its readers know the fields of its kind."""

_NUMBERED = re.compile(r"runs/[^/]+/[a-z]+-(\d+)\.json")
_PACK = re.compile(r"(runs/[^/]+)/packed-(\d+)-(\d+)\.jsonl\.zst")
_ROUND = re.compile(r"(\w+-\w+)-(\d+)")


class RunFiles:
    """The files below `runs/`, sorted into packs and single files by their paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        listed = list(paths)
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        """Folder -> first and last number in each of its packs, in order, without packs that are in a larger one."""
        matches = [match for path in listed if (match := _PACK.fullmatch(path))]
        for match in sorted(matches, key=lambda match: (match[1], int(match[2]), -int(match[3]))):
            ranges = self._ranges.setdefault(match[1], [])
            if not ranges or int(match[3]) > ranges[-1][1]:
                ranges.append((int(match[2]), int(match[3])))
        packs = [match[0] for match in matches if (int(match[2]), int(match[3])) in self._ranges[match[1]]]
        self.packs: tuple[str, ...] = tuple(packs)
        """Paths of the packs."""
        self.packed: frozenset[str] = frozenset(filter(self._is_in_a_pack, listed)).difference(packs)
        """Files and packs that are also in a pack, because a process died before it could remove them."""
        excluded = self.packed.union(self.packs)
        self.single: tuple[str, ...] = tuple(path for path in listed if path not in excluded)
        """Files that are not in a pack."""
        self._current = frozenset((*self.single, *self.packs))

    def contains(self, path: str) -> bool:
        """Return whether the content of a path exists, in a file of its own or in a pack."""
        return path in self._current or self._is_in_a_pack(path)

    def _is_in_a_pack(self, path: str) -> bool:
        ranges = self._ranges.get(path.rpartition("/")[0], [])
        numbers = numbers_of(path) if ranges else None
        if numbers is None:
            return False
        position = bisect_right(ranges, (numbers[0], sys.maxsize)) - 1
        return position >= 0 and numbers[-1] <= ranges[position][1]


def run_files(store: Store) -> RunFiles:
    """List the files of all runs."""
    return RunFiles(store.list("runs"))


def run_of(path: str) -> tuple[str, int]:
    """Return (run id, round) of a run file's path."""
    folder = path.split("/")[1]
    match = _ROUND.fullmatch(folder)
    return (match[1], int(match[2])) if match else (folder, 0)


def numbers_of(path: str) -> range | None:
    """Return the numbers of the entries in a numbered file or a pack; None for another file."""
    if match := _NUMBERED.fullmatch(path):
        return range(int(match[1]), int(match[1]) + 1)
    match = _PACK.fullmatch(path)
    return range(int(match[2]), int(match[3]) + 1) if match else None


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


def recipe_of_run(store: Store, run_id: str) -> str | None:
    """Return the text of the recipe of a run; None if no run file has it."""
    try:
        text = as_object(store.read_json(run_file_path(run_id, "run"))).get("recipe_yaml")
    except (OSError, ValueError, TypeError):
        return None
    return text if isinstance(text, str) else None


def write_pack(
    store: Store, folder: str, files: Sequence[tuple[str, JsonObject]], *, replaced: Sequence[str] | None = None
) -> str:
    """Write the content of many files to one, then remove the files; return its path.

    Args:
        folder: folder of a run, or of a round of it.
        files: (name such as `job-3`, content), with consecutive numbers.
        replaced: paths of the files and packs that have this content so far; by default one file for each.
    Raises:
        OSError: the disk is full; no file was removed.
    """
    first, last = (name.rpartition("-")[2] for name, _ in (files[0], files[-1]))
    content = {run_file_path(folder, name): value for name, value in files}
    lines = [(path, json.dumps({"run_file": path, **value}).encode()) for path, value in content.items()]
    path = f"runs/{folder}/packed-{first}-{last}.jsonl.zst"
    store.write_bytes(path, segment_bytes(lines))
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        try:
            list(pool.map(store.delete, content if replaced is None else replaced))
        except OSError as err:
            logger.warning("log files that are packed cannot be removed now, mlprune store gc will: %s", err)
    return path


def run_file_path(folder: str, name: str) -> str:
    """Return the path of a run file."""
    return f"runs/{folder}/{name}.json"
