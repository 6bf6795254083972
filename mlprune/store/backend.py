"""The files of a store, in a local folder or behind an object-store URI: whole ones appear at once or not at all.

Locally a file gets a temporary name, is flushed and renamed; in an object store it is one PUT, or an upload in parts.
Knows nothing of what the files mean: that is `storage.py`'s. How an object store is reached, and what its errors mean,
is in `object_store.py`.
"""

import errno
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pyarrow.fs as pafs

from mlprune.atomic import UNFINISHED, write_atomically
from mlprune.errors import StoreError
from mlprune.store.local_files import FileInfo, entries_below, entries_in, file_infos, file_size
from mlprune.store.object_store import open_object_store, patiently

T = TypeVar("T")
logger = logging.getLogger(__name__)

NOT_A_FILE = (errno.EISDIR, errno.ENOTDIR, errno.ELOOP)
"""Errors of a path that leads to a folder, or nowhere, where a file should be."""
PART_BYTES = 8 << 20
"""Bytes of a large file in memory at a time."""


class StoreFiles:
    """The files of a store opened by path or URI.

    Raises:
        StoreError: the place cannot be reached or is a file.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        if "://" in self.uri:
            self._files, self._root = open_object_store(self.uri)
        else:
            self.uri = str(Path(self.uri).absolute())
            self._files, self._root = pafs.LocalFileSystem(), self.uri
        info = self._ask(lambda: self._files.get_file_info(self._root))
        if info.type == pafs.FileType.File:
            raise StoreError("the store is a file", store=self.uri, expected="a folder", got="a file")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.uri,)

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder of this machine."""
        return isinstance(self._files, pafs.LocalFileSystem)

    @property
    def local_root(self) -> Path | None:
        """The folder itself, where the store is local."""
        return Path(self._root) if self.is_local else None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _ask(self, action: Callable[[], T]) -> T:
        """Do something with the file system: an object store is asked patiently, and its errors are put in words."""
        return action() if self.is_local else patiently(action, store=self.uri)

    def write(self, path: str, data: bytes) -> None:
        """Write a whole file so that it appears at once; an older one of this name is replaced."""
        if self.is_local:
            self._make_way(path)
            write_atomically(Path(self._full(path)), data)
        else:
            self._ask(lambda: self._put(path, data))

    def _make_way(self, path: str) -> None:
        """Move aside what prevents a file of this name: a folder in its place, or a file in place of its folder."""
        target = Path(self._full(path))
        if target.is_dir():
            self._move_obstacle(path)
        elif not target.parent.is_dir():
            parts = path.split("/")
            for n_parts in range(1, len(parts)):
                folder = "/".join(parts[:n_parts])
                if os.path.lexists(self._full(folder)) and not Path(self._full(folder)).is_dir():
                    self._move_obstacle(folder)

    def _move_obstacle(self, path: str) -> None:
        logger.warning("%s is in the way of a file of the store: moved to quarantine/", path)
        self._to_quarantine(path)

    def sizes_of(self, paths: Sequence[str]) -> list[int]:
        """Sizes of some files, -1 for each that is not there."""
        full = [self._full(path) for path in paths]
        if self.is_local:
            return [file_size(path) for path in full]
        infos = self._ask(lambda: self._files.get_file_info(full)) if full else []
        return [info.size if info.type == pafs.FileType.File else -1 for info in infos]

    def _read(self, path: str) -> bytes:
        if self.is_local:
            with open(self._full(path), "rb") as stream:  # noqa: PTH123 - called for every record: a Path costs more
                return stream.read()
        return self._ask(lambda: self._get(path))

    def _get(self, path: str) -> bytes:
        """Two requests: how long is it, and all of it. (A stream would ask for every 256 KiB.)"""
        with self._files.open_input_file(self._full(path)) as file:
            return bytes(file.read())

    def _put(self, path: str, data: bytes) -> None:
        """One request; above 10 MiB an upload in parts, of which nothing is seen until it is complete."""
        with self._files.open_output_stream(self._full(path), compression=None) as stream:  # else by its ending
            stream.write(data)

    def read_range(self, path: str, start: int, n_bytes: int) -> bytes:
        """Some bytes of a file, fewer where it ends; FileNotFoundError if it is not there."""
        if self.is_local:
            with Path(self._full(path)).open("rb") as stream:
                stream.seek(start)
                return stream.read(n_bytes)
        return self._ask(lambda: self._get_range(path, start, n_bytes))

    def _get_range(self, path: str, start: int, n_bytes: int) -> bytes:
        with self._files.open_input_file(self._full(path)) as file:
            n_left = max(0, min(n_bytes, file.size() - start))
            return bytes(file.read_at(n_left, start)) if n_left else b""

    def changed_at(self, folder: str) -> int | None:
        """Nanoseconds at which a folder's list of files last changed, 0 if it is not there; None in an object store."""
        if not self.is_local:
            return None
        try:
            return os.stat(self._full(folder)).st_mtime_ns  # noqa: PTH116 - asked at every reading
        except FileNotFoundError:
            return 0

    def read_file(self, path: str) -> bytes | None:
        """The bytes of a file that no record lists, None if it is not there."""
        try:
            return self._read(path)
        except FileNotFoundError:
            return None

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file unless there is one; returns whether it was written. It is not flushed to the disk.

        In a folder only one of two writers succeeds. An object store is asked first and written then: of two that come
        at once both may succeed, and the later one's file stays.
        """
        if not self.is_local:
            if self._has(path):
                return False
            self._ask(lambda: self._put(path, data))
            return True
        target = Path(self._full(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        except OSError:
            target.unlink(missing_ok=True)  # a full disk leaves an empty one
            raise
        return True

    def delete(self, path: str) -> None:
        """Remove a file, if it is there."""
        try:
            if self.is_local:
                Path(self._full(path)).unlink()
            else:
                self._ask(lambda: self._files.delete_file(self._full(path)))
        except FileNotFoundError:
            return

    def _to_quarantine(self, path: str) -> None:
        """Move a file aside, or a folder where a file should be; another process may have done so just before."""
        source, target = self._full(path), self._full(quarantine_path(path))
        try:
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(source).rename(target)
            else:
                self._ask(lambda: self._files.copy_file(source, target))
                self.delete(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)

    def _has(self, path: str) -> bool:
        if self.is_local:
            return Path(self._full(path)).is_file()
        try:  # opening asks once; get_file_info also looks for a folder of that name
            self._ask(lambda: self._files.open_input_file(self._full(path)).close())
        except FileNotFoundError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the store, part by part; it appears at once, when it is complete."""
        if self.is_local:
            self.write(path, source.read_bytes())
            return
        self._ask(lambda: self._upload(source, path))

    def _upload(self, source: Path, path: str) -> None:
        with source.open("rb") as file, self._files.open_output_stream(self._full(path), compression=None) as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the store to this machine, part by part; FileNotFoundError if it is not there."""
        self._ask(lambda: self._download(path, target))

    def _download(self, path: str, target: Path) -> None:
        with self._files.open_input_file(self._full(path)) as file, target.open("wb") as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def file_info(self, path: str) -> FileInfo | None:
        """What is known of one file without reading it, None if it is not there."""
        info = self._ask(lambda: self._files.get_file_info(self._full(path)))
        if info.type != pafs.FileType.File:
            return None
        return FileInfo(path, info.size, (info.mtime_ns or 0) / 1e9)

    def list(self, folder: str) -> list[str]:
        """Paths, relative to the store, of the finished files below a folder, sorted.

        They are what one look at each folder found, a folder before those inside it. So a name stays in even if its
        file is gone by now: where one file replaces others, either it is named or they are.
        """
        if not self.is_local:
            return sorted(self.sizes(folder))
        entries = entries_below(self._full(folder).rstrip("/"))
        return sorted(self._relative(entry.path) for entry in entries if UNFINISHED not in entry.path)

    def sizes(self, folder: str) -> dict[str, int]:
        """Path, relative to the store, of every finished file below a folder -> its size in bytes."""
        return {one.path: one.n_bytes for one in self.files(folder)}

    def files_in(self, folder: str = "") -> Sequence[FileInfo]:
        """List the files directly in a folder, those included that are being written."""
        full = self._full(folder).rstrip("/")
        if self.is_local:
            found: Iterable[FileInfo] = file_infos(entries_in(full))
        else:
            found = self._infos(pafs.FileSelector(full, recursive=False, allow_not_found=True))
        return [replace(one, path=self._relative(one.path)) for one in found]

    def files(self, folder: str, *, unfinished: bool = False) -> Iterator[FileInfo]:
        """The files below a folder, without those that are being written, or with them."""
        full = self._full(folder).rstrip("/")
        if self.is_local:
            found: Iterable[FileInfo] = file_infos(entries_below(full))
        else:
            found = self._infos(pafs.FileSelector(full, recursive=True, allow_not_found=True))
        for one in found:
            if unfinished or UNFINISHED not in one.path:
                yield replace(one, path=self._relative(one.path))

    def _infos(self, selector: pafs.FileSelector) -> Iterator[FileInfo]:
        """The files of an object store that a selector names."""
        for info in self._ask(lambda: self._files.get_file_info(selector)):
            if info.type == pafs.FileType.File:
                yield FileInfo(info.path, info.size, (info.mtime_ns or 0) / 1e9)

    def _relative(self, full: str) -> str:
        return full[len(self._root.rstrip("/")) + 1 :]


def quarantine_path(path: str) -> str:
    """Return a path to which a file can be moved aside, another one at every call."""
    return f"quarantine/{path.replace('/', '-')}.{uuid.uuid4().hex[:8]}"
