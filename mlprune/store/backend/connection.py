"""Connection to the file system of a store: a local folder or a path in an object store."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow.fs as pafs

from mlprune.errors import StoreError
from mlprune.store.backend.object_store import open_object_store, with_retries

T = TypeVar("T")


class StoreConnection:
    """The file system and the root of a store opened by path or URI.

    Raises:
        StoreError: the URI cannot be reached, or is a file or below one.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        if "://" in self.uri:
            self._files, self._root = open_object_store(self.uri)
        else:
            self.uri = str(Path(self.uri).absolute())
            self._files, self._root = pafs.LocalFileSystem(), self.uri
        info = self._root_info()
        if info.type == pafs.FileType.File:
            raise StoreError("the store is a file", store=self.uri, expected="a folder", got="a file")
        if self.is_local and info.type == pafs.FileType.NotFound:
            _check_parents(Path(self._root))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.uri,)

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder and not in an object store."""
        return isinstance(self._files, pafs.LocalFileSystem)

    @property
    def local_root(self) -> Path | None:
        """The folder of a local store; None for any other store."""
        return Path(self._root) if self.is_local else None

    def _root_info(self) -> pafs.FileInfo:
        try:
            return self._request(lambda: self._files.get_file_info(self._root))
        except OSError as err:  # of a local folder: those of an object store are converted
            raise StoreError("the store cannot be opened", store=self.uri, reason=os.strerror(err.errno or 0)) from err

    def require_writable(self) -> None:
        """Check that this process may write to the folder of a local store; an object store is not asked.

        Raises:
            StoreError: the folder, or the one that it would be made in, is read-only.
        """
        if not self.is_local:
            return
        root = Path(self._root)
        folder = next(path for path in (root, *root.parents) if path.exists())
        if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            message = "the store cannot be written: the folder is read-only for this user"
            raise StoreError(message, store=self.uri, expected=f"write permission for {folder}")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _request(self, action: Callable[[], T]) -> T:
        """Make a request to the file system; an object store's errors are retried and converted."""
        return action() if self.is_local else with_retries(action, store=self.uri)

    def _relative(self, full: str) -> str:
        return full[len(self._root.rstrip("/")) + 1 :]


def _check_parents(folder: Path) -> None:
    """Check that a missing folder can be created: the part of its path that exists is a folder."""
    existing = next(parent for parent in folder.parents if os.path.lexists(parent))
    if not existing.is_dir():
        raise StoreError("the store is below a file", store=str(folder), expected="a folder", got=f"file {existing}")
