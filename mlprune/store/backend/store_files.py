"""Files of a store, whole or absent, and the quarantine of damaged ones.

Files of a store, in a local folder or in an object store. A file appears whole or not at all.

In a folder, a file is written under a temporary name, flushed and renamed. In an object store, it is one PUT or an
upload in parts.
"""

import errno
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlprune.atomic import UNFINISHED, write_atomically
from mlprune.errors import StoreError
from mlprune.given_files import NOT_A_FILE
from mlprune.store.backend import local_files
from mlprune.store.backend.connection import StoreConnection

logger = logging.getLogger(__name__)
PART_BYTES = 8 << 20
"""Bytes of a large file that are in memory at a time."""


class StoreQuarantine(StoreConnection):
    """A store whose files can be moved to its quarantine; see `StoreConnection` for the errors."""

    quarantines = False
    """Whether reading moves what is damaged to the quarantine."""

    def _make_way(self, path: str) -> None:
        """Quarantine what prevents a file of this name: a folder in its place, or a file in place of its folder."""
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
        logger.warning("%s prevents the writing of a file: moved to quarantine/", path)
        self._to_quarantine(path)

    def delete(self, path: str) -> None:
        """Remove a file if it exists."""
        try:
            if self.is_local:
                Path(self._full(path)).unlink()
            else:
                self._request(lambda: self._files.delete_file(self._full(path)))
        except FileNotFoundError:
            return

    def _to_quarantine(self, path: str) -> None:
        """Move a file, or a folder in place of a file, to the quarantine, unless another process has just done so."""
        source, target = self._full(path), self._full(quarantine_path(path))
        try:
            if self.is_local:
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                Path(source).rename(target)
            else:
                self._request(lambda: self._files.copy_file(source, target))
                self.delete(path)
        except FileNotFoundError:
            logger.info("%s is gone already", path)

    def _on_unreadable_name(self, full: str) -> None:
        """Report a file whose name is not UTF-8, which is skipped; a store that quarantines moves it."""
        if not self.quarantines:
            local_files.report_unreadable_name(full)
            return
        logger.warning("the name of %s is not UTF-8: moved to quarantine/", local_files.readable(full))
        self._to_quarantine(self._relative(full))


def quarantine_path(path: str) -> str:
    """Return a path in the quarantine for a file; it differs at every call."""
    return f"quarantine/{local_files.readable(path).replace('/', '-')}.{uuid.uuid4().hex[:8]}"


class StoreFiles(StoreQuarantine):
    """The files of a store opened by path or URI; see `StoreConnection` for the errors."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file so that it appears whole; an older one of this name is replaced.

        Raises:
            StoreError: the folder is read-only.
            OSError: the disk is full, for example.
        """
        if not self.is_local:
            self._request(lambda: self._put(path, data))
            return
        try:
            self._make_way(path)
            write_atomically(Path(self._full(path)), data)
        except OSError as err:
            if err.errno not in local_files.READ_ONLY:
                raise
            message = "the store cannot be written"
            raise StoreError(message, store=self.uri, path=path, reason=str(err.strerror)) from err

    def sizes_of(self, paths: Sequence[str]) -> list[int]:
        """Return the sizes of some files, -1 for each that does not exist."""
        full = [self._full(path) for path in paths]
        if self.is_local:
            return [local_files.file_size(path) for path in full]
        import pyarrow.fs as pafs  # noqa: PLC0415 - a folder does not need it

        infos = self._request(lambda: self._files.get_file_info(full)) if full else []
        return [info.size if info.type == pafs.FileType.File else -1 for info in infos]

    def _read(self, path: str) -> bytes:
        if self.is_local:
            return local_files.read_local(self._full(path))
        return self._request(lambda: self._get(path))

    def _get(self, path: str) -> bytes:
        """Read a file in two requests: its size, and its content. (A stream would make a request per 256 KiB.)"""
        with self._files.open_input_file(self._full(path)) as file:
            return bytes(file.read())

    def _put(self, path: str, data: bytes) -> None:
        """Write a file in one request; above 10 MiB in parts, which become visible together."""
        # compression=None: the default depends on the file's ending
        with self._files.open_output_stream(self._full(path), compression=None) as stream:
            stream.write(data)

    def read_range(self, path: str, start: int, n_bytes: int) -> bytes:
        """Read some bytes of a file, fewer at its end; raises FileNotFoundError if it does not exist."""
        if self.is_local:
            return local_files.read_local(self._full(path), start, n_bytes)
        return self._request(lambda: self._get_range(path, start, n_bytes))

    def _get_range(self, path: str, start: int, n_bytes: int) -> bytes:
        with self._files.open_input_file(self._full(path)) as file:
            n_available = max(0, min(n_bytes, file.size() - start))
            return bytes(file.read_at(n_available, start)) if n_available else b""

    def changed_at(self, folder: str) -> int | None:
        """Return when a folder's list of files last changed, in nanoseconds, 0 if it does not exist; None if unknown.

        It is unknown in an object store.
        """
        if not self.is_local:
            return None
        try:
            return os.stat(self._full(folder)).st_mtime_ns  # noqa: PTH116 - called at every read
        except OSError as err:
            if err.errno not in (errno.ENOENT, *NOT_A_FILE):
                raise
            return 0

    def read_file(self, path: str) -> bytes | None:
        """Read a file that no record lists; None if it does not exist."""
        try:
            return self._read(path)
        except FileNotFoundError:
            return None

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists; return whether it was written. It is not flushed to the disk.

        In a folder, only one of several writers succeeds. In an object store, existence is checked before the write: if
        two processes write at the same time, both may succeed, and the later file stays.
        """
        if not self.is_local:
            if self._exists(path):
                return False
            self._request(lambda: self._put(path, data))
            return True
        try:
            return local_files.create_local(self._full(path), data)
        except OSError as err:
            if err.errno not in NOT_A_FILE:
                raise
        self._move_obstacle(path)
        return local_files.create_local(self._full(path), data)

    def _exists(self, path: str) -> bool:
        if self.is_local:
            return Path(self._full(path)).is_file()
        try:  # opening is one request; get_file_info also looks for a folder of that name
            self._request(lambda: self._files.open_input_file(self._full(path)).close())
        except FileNotFoundError:
            return False
        return True

    def upload(self, source: Path, path: str) -> None:
        """Copy a local file into the store, part by part; it appears when it is complete."""
        if self.is_local:
            self.write(path, source.read_bytes())
            return
        self._request(lambda: self._upload(source, path))

    def _upload(self, source: Path, path: str) -> None:
        with source.open("rb") as file, self._files.open_output_stream(self._full(path), compression=None) as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the store to this machine, part by part; raises FileNotFoundError if it does not exist."""
        self._request(lambda: self._download(path, target))

    def _download(self, path: str, target: Path) -> None:
        with self._files.open_input_file(self._full(path)) as file, target.open("wb") as stream:
            while part := file.read(PART_BYTES):
                stream.write(part)

    def file_info(self, path: str) -> local_files.FileInfo | None:
        """Return size and time of a file without reading it; None if it does not exist."""
        import pyarrow.fs as pafs  # noqa: PLC0415

        info = self._request(lambda: self._files.get_file_info(self._full(path)))
        if info.type != pafs.FileType.File:
            return None
        return local_files.FileInfo(path, info.size, (info.mtime_ns or 0) / 1e9)

    def list(self, folder: str) -> list[str]:
        """List the paths, relative to the store, of the finished files below a folder, sorted.

        Every folder is listed once, before the folders in it, and its names are kept even if their files are gone by
        the end. So if one file replaces others meanwhile, the list has either the one or the others.
        """
        if not self.is_local:
            return sorted(self.sizes(folder))
        entries = local_files.entries_below(self._full(folder).rstrip("/"), on_unreadable_name=self._on_unreadable_name)
        return sorted(self._relative(entry.path) for entry in entries if UNFINISHED not in entry.path)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the path, relative to the store, of every finished file below a folder -> size in bytes."""
        return {file.path: file.n_bytes for file in self.files(folder)}

    def files_in(self, folder: str = "", *, prefix: str = "") -> Sequence[local_files.FileInfo]:
        """List the files directly in a folder whose names start with a prefix, unfinished ones included."""
        full = self._full(folder).rstrip("/")
        if self.is_local:
            entries = local_files.entries_in(full, on_unreadable_name=self._on_unreadable_name)
            infos: Iterable[local_files.FileInfo] = local_files.file_infos(
                entry for entry in entries if entry.name.startswith(prefix)
            )
        else:
            listed = self._infos(full, recursive=False)
            infos = (info for info in listed if info.path.rpartition("/")[2].startswith(prefix))
        return [replace(info, path=self._relative(info.path)) for info in infos]

    def files(self, folder: str, *, unfinished: bool = False) -> Iterator[local_files.FileInfo]:
        """Yield the files below a folder, with or without those that are being written."""
        full = self._full(folder).rstrip("/")
        if self.is_local:
            infos: Iterable[local_files.FileInfo] = local_files.file_infos(
                local_files.entries_below(full, on_unreadable_name=self._on_unreadable_name)
            )
        else:
            infos = self._infos(full, recursive=True)
        for info in infos:
            if unfinished or UNFINISHED not in info.path:
                yield replace(info, path=self._relative(info.path))

    def _infos(self, folder: str, *, recursive: bool) -> Iterator[local_files.FileInfo]:
        """Yield the files of a folder of an object store."""
        import pyarrow.fs as pafs  # noqa: PLC0415

        selector = pafs.FileSelector(folder, recursive=recursive, allow_not_found=True)
        for info in self._request(lambda: self._files.get_file_info(selector)):
            if info.type == pafs.FileType.File:
                yield local_files.FileInfo(info.path, info.size, (info.mtime_ns or 0) / 1e9)
