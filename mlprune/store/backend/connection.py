"""Connection to the file system of a store: a local folder or a path in an object store.

pyarrow and the code of object stores are loaded when they are needed: commands that only look at a folder start faster.
"""

import os
import stat
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlprune.errors import StoreError

if TYPE_CHECKING:
    import pyarrow.fs as pafs

T = TypeVar("T")


class StoreConnection:
    """The file system and the root of a store opened by path or URI.

    Raises:
        StoreError: the URI cannot be reached, or is a file or below one.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri = str(uri)
        self.is_local = "://" not in self.uri
        """Whether the store is a folder and not in an object store."""
        self._opened: pafs.FileSystem | None = None
        if self.is_local:
            self._root = self.uri = str(Path(self.uri).absolute())
            self._require_folder()
        else:
            self._open_remote()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.uri,)

    def _open_remote(self) -> None:
        """Open a URI, which may also name a folder of this machine."""
        import pyarrow.fs as pafs  # noqa: PLC0415 - takes a tenth of a second

        from mlprune.store.backend.object_store import open_object_store  # noqa: PLC0415

        self._opened, self._root = open_object_store(self.uri)
        self.is_local = isinstance(self._opened, pafs.LocalFileSystem)
        if self.is_local:
            self._require_folder()
        elif self._request(lambda: self._files.get_file_info(self._root)).type == pafs.FileType.File:
            raise _is_file(self.uri)

    @cached_property
    def _files(self) -> "pafs.FileSystem":
        """The file system, as pyarrow has it."""
        import pyarrow.fs as pafs  # noqa: PLC0415

        return self._opened or pafs.LocalFileSystem()

    @property
    def local_root(self) -> Path | None:
        """The folder of a local store; None for any other store."""
        return Path(self._root) if self.is_local else None

    def _require_folder(self) -> None:
        """Check that the root of a local store is a folder, or can become one."""
        try:
            is_file = stat.S_ISREG(Path(self._root).stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            _check_parents(Path(self._root))
            return
        except OSError as err:
            raise StoreError("the store cannot be opened", store=self.uri, reason=os.strerror(err.errno or 0)) from err
        if is_file:
            raise _is_file(self.uri)
        if not os.access(self._root, os.R_OK | os.X_OK):
            message = "the store cannot be read: its folder belongs to another user"
            raise StoreError(message, store=self.uri, expected=f"permission to read {self._root}")

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
        if self.is_local:
            return action()
        from mlprune.store.backend.object_store import with_retries  # noqa: PLC0415

        return with_retries(action, store=self.uri)

    def _relative(self, full: str) -> str:
        return full[len(self._root.rstrip("/")) + 1 :]


def _is_file(uri: str) -> StoreError:
    return StoreError("the store is a file", store=uri, expected="a folder", got="a file")


def _check_parents(folder: Path) -> None:
    """Check that a missing folder can be created: the part of its path that exists is a folder."""
    existing = next(parent for parent in folder.parents if os.path.lexists(parent))
    if not existing.is_dir():
        raise StoreError("the store is below a file", store=str(folder), expected="a folder", got=f"file {existing}")
