"""The catalog file: copies, quarantine of a damaged file, update, and whether it is current.

The shared catalog of a remote store: a file in this machine's cache, uploaded to and downloaded from the store.

The cache is kept between commands, with one folder per store. A run uploads its catalog when it ends. A machine whose
cached catalog is missing or far out of date downloads it instead of reading every record. Both are only shortcuts:
folding brings any cached file up to date, and rebuilds a file that cannot be used.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.ingest.fold import FoldResult, Pending, fold_into, is_current, pending, update_schema
from catalog.ingest.insert_rows import Connection
from catalog.store.connections import WRITE_PAUSE_S, InterruptibleConnection, connect, make_read_only, one_line
from mlprune.atomic import remove_left_over, unfinished_path
from mlprune.cache_folders import user_cache_folder
from mlprune.errors import EarlierVersionError, MlpruneError, StoreError
from mlprune.store.store import Store

logger = logging.getLogger(__name__)
FILE_NAME = "catalog.duckdb"
HEADER_BYTES = 3 * 4096
"""Size of the headers at the start of a DuckDB file."""
MAX_COPY_ATTEMPTS = 5
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
"""Environment variables that determine which object store a URI refers to."""
_LAST_SEEN = "uploaded.json"
DOWNLOADING = "downloading"
"""In the name of a catalog file that is being downloaded."""
UploadedFile = dict[str, float]
"""Size and modification time of the uploaded catalog."""
SMALL_FOLD = 500
"""Maximum number of records and run files to fold without closing the file in between: the pauses would take longer
than the fold."""
OpenForWriting = Callable[[], AbstractContextManager[Connection]]


def write_ahead_log(path: Path) -> Path:
    """Return the path of DuckDB's write-ahead log of a catalog file."""
    return path.with_name(f"{path.name}.wal")


def quarantine_file(path: Path, *, problem: str = "is damaged") -> bool:
    """Move a catalog file that cannot be used to `catalog.duckdb.damaged-1`; return whether that was possible.

    It replaces the file that was moved before: every such file is as large as the catalog.

    Args:
        problem: why it cannot be used, for the log.
    """
    target = path.with_name(f"{path.name}.damaged-1")
    try:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        write_ahead_log(target).unlink(missing_ok=True)
        path.rename(target)
        if write_ahead_log(path).exists():
            write_ahead_log(path).rename(write_ahead_log(target))
    except OSError:
        return False
    logger.warning("the catalog file %s; it is moved to %s and built again from the records", problem, target.name)
    return True


def put_aside_unless_file(path: Path) -> bool:
    """Move a folder, pipe or looping link in place of a catalog file aside; DuckDB would wait for a pipe.

    Returns: whether the path is now a file, or free.
    """
    return path.is_file() or not os.path.lexists(path) or quarantine_file(path)


def snapshot_copy(path: Path, folder: Path) -> Path | None:
    """Copy a catalog file that another process has open, and may write to, in the state of its last checkpoint.

    DuckDB survives a crash at any moment because it never overwrites blocks that the file's headers refer to: changes
    go to the write-ahead log and to unused blocks, and a checkpoint then replaces the older header. As long as the
    headers do not change, the blocks that they refer to do not change either, and a copy made in that time is
    consistent. The write-ahead log is not copied: it may refer to blocks that were copied before they were written. Its
    changes are folded from the records instead. A metadata block that was copied during a write has a wrong checksum.

    Returns: the copy; None if it is not a file, the folder has too little space, or every attempt coincided with a
        checkpoint.
    """
    if not path.is_file():
        return None
    copy = folder / FILE_NAME
    for _ in range(MAX_COPY_ATTEMPTS):
        if path.stat().st_size > shutil.disk_usage(folder).free // 2:
            return None
        before = _headers(path)
        shutil.copyfile(path, copy)
        if before == _headers(copy) == _headers(path):
            return copy
    return None


def _headers(path: Path) -> bytes:
    """Read the headers of a DuckDB file: the main header, and the two that checkpoints write alternately."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def cache_folder(store: Store) -> Path:
    """Return this machine's cache folder for the catalog of a store, in `$XDG_CACHE_HOME` or `~/.cache`."""
    name = json.dumps([store.uri.rstrip("/"), *(os.environ.get(variable) for variable in _ENDPOINTS)])
    return user_cache_folder() / "catalogs" / hashlib.sha256(name.encode()).hexdigest()[:20]


class SharedCatalog:
    """The uploaded catalog of a store, and its cached copy.

    Args:
        store: a remote store.
        folder: folder of the cached file.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.path = folder / FILE_NAME
        """The cached file."""
        self._last_seen = folder / _LAST_SEEN

    def fetch(self, *, is_outdated: Callable[[], bool]) -> bool:
        """Download the uploaded catalog if this machine does not have it yet and the cached one is missing or outdated.

        Args:
            is_outdated: whether the cached file lacks many records; called only if both files exist.
        Returns: whether the uploaded catalog was downloaded.
        """
        try:
            uploaded = self._uploaded()
            if uploaded is None or uploaded == self._read_last_seen() or (self.path.exists() and not is_outdated()):
                return False
            self._download(uploaded)
        except (MlpruneError, OSError) as err:
            logger.warning("the uploaded catalog is not available, reading records instead: %s", err)
            return False
        return True

    def publish(self) -> bool:
        """Upload the cached file; return whether that was possible. No process may write to the file meanwhile."""
        try:
            self._store.upload(self.path, FILE_NAME)
            self._write_last_seen(self._uploaded())
        except (MlpruneError, OSError) as err:
            logger.warning("the catalog cannot be uploaded, other machines will read the records: %s", err)
            return False
        return True

    def is_published(self) -> bool:
        """Whether the uploaded catalog is the one that this machine uploaded or downloaded last."""
        try:
            uploaded = self._uploaded()
        except (MlpruneError, OSError):
            return False
        return uploaded is not None and uploaded == self._read_last_seen()

    def _uploaded(self) -> UploadedFile | None:
        """Return size and time of the uploaded catalog; None if there is no such file."""
        info = self._store.file_info(FILE_NAME)
        return {"n_bytes": info.n_bytes, "modified_at": info.modified_at} if info else None

    def _read_last_seen(self) -> UploadedFile | None:
        try:
            last_seen: UploadedFile = json.loads(self._last_seen.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return last_seen

    def _write_last_seen(self, uploaded: UploadedFile | None) -> None:
        self._last_seen.write_text(json.dumps(uploaded), "utf-8")

    def _download(self, uploaded: UploadedFile) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        remove_left_over(self.path, DOWNLOADING)
        fresh = unfinished_path(self.path, DOWNLOADING)
        try:
            self._store.download(FILE_NAME, fresh)
            write_ahead_log(self.path).unlink(missing_ok=True)
            fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)
        self._write_last_seen(uploaded)


def update_file(path: Path, store: Store) -> FoldResult:
    """Fold into a file. It is open only while rows are inserted, so other processes can use it between two batches.

    Raises:
        duckdb.Error: another process has the file open, or it is damaged.
        StoreError: the catalog was made by a newer version of this package.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
    elif is_up_to_date(path, store):
        return FoldResult(n_records=0, n_rows=0, persisted=True)
    return _update(_WriteSlots(path).open, store, persisted=True)


def update_connection(connection: duckdb.DuckDBPyConnection, store: Store, *, persisted: bool) -> FoldResult:
    """Fold into a catalog that no other process uses."""
    return _update(lambda: nullcontext(InterruptibleConnection(connection)), store, persisted=persisted)


def update_copy(path: Path, folder: Path, store: Store) -> duckdb.DuckDBPyConnection | None:
    """Fold into a copy of a file that another process has open.

    Args:
        folder: folder for the copy.
    Returns: a read-only connection; None if there is not enough space, or the copy cannot be read.
    Raises:
        EarlierVersionError: the store has records of version 0.1.
    """
    try:
        copy = snapshot_copy(path, folder)
        if copy is None:
            return None
        connection = connect(copy, read_only=False)
        update_connection(connection, store, persisted=False)
        make_read_only(connection)
    except EarlierVersionError:
        raise
    except (duckdb.Error, StoreError, OSError) as err:
        logger.info("a copy of the catalog cannot be used: %s", one_line(err))
        return None
    return connection


def is_up_to_date(path: Path, store: Store) -> bool:
    """Whether nothing has to be written. The check only reads, so that readers do not block each other."""
    with connect(path, read_only=True) as connection:
        return is_current(connection) and pending(connection, store).is_empty


def pending_of_file(path: Path, store: Store) -> Pending | None:
    """Return the difference between a store and a catalog file; None if the file has another schema."""
    with connect(path, read_only=True) as connection:
        return pending(connection, store) if is_current(connection) else None


class _WriteSlots:
    """Open a file repeatedly, with pauses in which other processes can open it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed_at = float("-inf")

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """Open the file for writing, after a pause since it was last closed."""
        time.sleep(max(0.0, self._closed_at + WRITE_PAUSE_S - time.monotonic()))
        with connect(self._path, read_only=False) as connection:
            yield InterruptibleConnection(connection)
        self._closed_at = time.monotonic()


def _update(open_for_writing: OpenForWriting, store: Store, *, persisted: bool) -> FoldResult:
    with open_for_writing() as connection:
        update_schema(connection)
        todo = pending(connection, store)
        is_small = todo.n_records + len(todo.run_files) <= SMALL_FOLD
        if is_small:
            n_records, n_rows = fold_into(lambda: nullcontext(connection), store, todo, errors=duckdb.Error)
    if not is_small:
        n_records, n_rows = fold_into(open_for_writing, store, todo, errors=duckdb.Error)
    return FoldResult(n_records=n_records, n_rows=n_rows, persisted=persisted)


@dataclass(frozen=True)
class CatalogState:
    """The catalog file of a local store."""

    exists: bool
    n_missing: int | None = None
    """Records that it lacks; None if its schema is of another version, or it cannot be read."""
    has_removed: bool = False
    """Whether it has records that are no longer in the store. Then `n_missing` is the number of all records."""
    problem: str = ""
    """Why it cannot be read, such as another process that has it open."""


def catalog_state(store: Store) -> CatalogState | None:
    """Examine the catalog file; None for an object store, whose catalog is in the cache of each machine."""
    if store.local_root is None:
        return None
    path = store.local_root / FILE_NAME
    if not path.exists():
        return CatalogState(exists=False)
    try:
        todo = pending_of_file(path, store)
        if todo is None:
            return CatalogState(exists=True)
        return CatalogState(exists=True, n_missing=todo.n_records, has_removed=todo.has_removed_records)
    except (duckdb.Error, OSError) as err:
        return CatalogState(exists=True, problem=one_line(err))
