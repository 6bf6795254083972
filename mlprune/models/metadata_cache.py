"""Facts of model folders that take seconds to find, remembered from one process to the next.

What is remembered counts only while everything it was found from is as it was: every file of the folder (name, size,
times of change of content and of status, and number on its disk), our own code in this package, and the libraries that
read models. A file that changed within the last seconds may change again without a trace, so of such a folder nothing
is remembered. An entry that is damaged, or that cannot be written, is as good as none.

Entries are small files below `$XDG_CACHE_HOME/mlprune/models` (`~/.cache` by default); they may be deleted at any time.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlprune.hashing import digest

logger = logging.getLogger(__name__)

LIBRARIES = ("mlprune", "transformers", "torch", "safetensors", "tokenizers")
"""A new version of one of them may find other facts."""
SETTLED_S = 2.0
"""Age from which a file's times tell it from a later state of itself, on file systems with coarse clocks too."""
MOST_ENTRIES = 512
"""The oldest make room for new ones."""


def cached_metadata(folder: Path, what: str, find: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of a model folder, found if they are not remembered.

    Args:
        what: names the facts among all those of a folder.
        find: finds them; plain values that JSON keeps as they are. What it raises is raised here.
    """
    entry = _cache_folder() / f"{digest([str(folder.resolve()), what])[:20]}.json"
    state = _state(folder)
    known = _read(entry)
    if known is not None and known["state"] == state:
        facts: dict[str, Any] = known["facts"]
        return facts
    found = dict(find())
    if state is not None and state == _state(folder) and _is_settled(state):
        _write(entry, {"state": state, "facts": found})
    return found


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlprune" / "models"


def _state(folder: Path) -> dict[str, Any] | None:
    """All that facts of a folder depend on; None if it cannot be told."""
    try:
        files = {
            one.name: [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
            for one in sorted(folder.iterdir())
            for status in [one.stat()]
        }
    except OSError:
        return None
    return {"files": files, "code": _code()}


def _is_settled(state: Mapping[str, Any]) -> bool:
    """Whether no file was changed just now, or in the future by our clock."""
    latest = time.time() - SETTLED_S
    return all(max(changed, created) / 1e9 < latest for _, changed, created, _ in state["files"].values())


@cache
def _code() -> str:
    """SHA-256 over the sources of this package, records of families included, and the versions of the libraries."""
    folder = Path(__file__).parent
    paths = sorted(folder.rglob("*.py"))
    sources = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return digest([sources, {name: _version(name) for name in LIBRARIES}])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a working directory that was not installed
        return ""


def _read(entry: Path) -> dict[str, Any] | None:
    """An entry; None if there is none that is whole."""
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
        sound = known["sha256"] == digest([known["state"], known["facts"]])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return known if sound else None


def _write(entry: Path, known: Mapping[str, Any]) -> None:
    whole = {**known, "sha256": digest([known["state"], known["facts"]])}
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=entry.parent, encoding="utf-8", delete=False) as stream:
            json.dump(whole, stream)
        Path(stream.name).replace(entry)
        entries = sorted(entry.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns)
        for old in entries[:-MOST_ENTRIES]:
            old.unlink(missing_ok=True)
    except OSError as err:
        logger.debug("facts of a model are not remembered: %s", err)
