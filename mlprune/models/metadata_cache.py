"""Cache of the metadata of model folders, shared by all processes of a user. Computing metadata takes seconds.

An entry is valid only while everything it was computed from is unchanged: every file of the folder (name, size, mtime,
ctime and inode), the code of this package, and the libraries that read models. If a file has changed within the last
seconds, its next change might not change its times, so metadata of such a folder is not stored. Damaged entries and
failures to write an entry are ignored.

Entries are small files below `$XDG_CACHE_HOME/mlprune/models` (`~/.cache` by default); they may be deleted at any time.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from mlprune.atomic import write_atomically
from mlprune.cache_folders import user_cache_folder
from mlprune.hashing import digest

logger = logging.getLogger(__name__)
LIBRARIES = ("mlprune", "transformers", "torch", "safetensors", "tokenizers")
"""Libraries whose version can change the metadata."""
SETTLED_S = 2.0
"""Age after which a later change of a file changes its times, even on file systems with coarse clocks."""
MAX_ENTRIES = 512
"""Maximum number of entries; the oldest ones are deleted."""
FileStates: TypeAlias = tuple[tuple[str, tuple[int, int, int, int]], ...]
"""Names of files, each with size, mtime [ns], ctime [ns] and inode."""


def cached_metadata(folder: Path, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return metadata of a model folder from the cache, or compute and store it.

    Args:
        name: name of the metadata, unique within a folder.
        compute: returns JSON values; its errors are raised.
    """
    entry = user_cache_folder() / "models" / f"{digest([str(folder.resolve()), name])[:20]}.json"
    state = _state(folder)
    stored = _read(entry)
    if stored is not None and stored["state"] == state:
        return stored["metadata"]
    metadata = dict(compute())
    if state is not None and state == _state(folder) and _is_settled(state):
        _write(entry, state, metadata)
    return metadata


def cached_by_content(name: str, content: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was computed from a text and this code from the cache, or compute and store it.

    Args:
        name: what is computed.
        content: the text that it is computed from.
        compute: returns JSON values; its errors are raised.
    """
    state: _State = {"files": {}, "code": _code_hash()}
    entry = user_cache_folder() / "models" / f"{digest([name, content, state['code']])[:20]}.json"
    stored = _read(entry)
    if stored is not None and stored["state"] == state:
        return stored["metadata"]
    metadata = dict(compute())
    _write(entry, state, metadata)
    return metadata


class _State(TypedDict):
    """Everything that the metadata of a folder depends on."""

    files: dict[str, list[int]]
    """Name -> size, mtime [ns], ctime [ns], inode."""
    code: str


class _Entry(TypedDict):
    """A file of the cache."""

    state: _State
    metadata: dict[str, Any]
    sha256: str


def _state(folder: Path) -> _State | None:
    """Return the current state of a folder; None if it cannot be read."""
    states = file_states(folder)
    if states is None:
        return None
    return {"files": {name: list(numbers) for name, numbers in states}, "code": _code_hash()}


def file_states(folder: Path) -> FileStates | None:
    """Return the current state of the files of a folder, sorted; None if it cannot be read."""
    try:
        files = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    except OSError:
        return None
    return tuple(
        (name, (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)) for name, status in files
    )


def _is_settled(state: _State) -> bool:
    """Whether the times of all files are some seconds in the past."""
    latest = time.time() - SETTLED_S
    return all(max(mtime_ns, ctime_ns) / 1e9 < latest for _, mtime_ns, ctime_ns, _ in state["files"].values())


@cache
def _code_hash() -> str:
    """Return the SHA-256 over the sources of this package and the versions of libraries."""
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    sources = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return digest([sources, {name: _version(name) for name in LIBRARIES}])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # running from a source tree that is not installed
        return ""


def _read(entry: Path) -> _Entry | None:
    """Read an entry; None if it is missing or damaged."""
    try:
        stored: _Entry = json.loads(entry.read_text(encoding="utf-8"))
        is_intact = stored["sha256"] == digest([stored["state"], stored["metadata"]])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return stored if is_intact else None


def _write(entry: Path, state: _State, metadata: dict[str, Any]) -> None:
    """Write an entry, and delete the oldest ones if there are too many."""
    complete_entry: _Entry = {"state": state, "metadata": metadata, "sha256": digest([state, metadata])}
    try:
        write_atomically(entry, json.dumps(complete_entry).encode())
        entries = sorted(entry.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for old in entries[:-MAX_ENTRIES]:
            old.unlink(missing_ok=True)
    except OSError as err:
        logger.debug("metadata of a model is not cached: %s", err)
