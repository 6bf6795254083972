"""Connection to the file system of a store: a local folder or a path in an object store."""

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
        StoreError: the URI cannot be reached, or is a file.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        if "://" in self.uri:
            self._files, self._root = open_object_store(self.uri)
        else:
            self.uri = str(Path(self.uri).absolute())
            self._files, self._root = pafs.LocalFileSystem(), self.uri
        info = self._request(lambda: self._files.get_file_info(self._root))
        if info.type == pafs.FileType.File:
            raise StoreError("the store is a file", store=self.uri, expected="a folder", got="a file")

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

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _request(self, action: Callable[[], T]) -> T:
        """Make a request to the file system; an object store's errors are retried and converted."""
        return action() if self.is_local else with_retries(action, store=self.uri)

    def _relative(self, full: str) -> str:
        return full[len(self._root.rstrip("/")) + 1 :]
