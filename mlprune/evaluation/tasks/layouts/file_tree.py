"""Files of a published data set: those below a folder, a single file, or the members of a .zip or .tar archive."""

import lzma
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import IO

from mlprune.corpus.text_files import expanded_limit, open_binary
from mlprune.errors import TaskFileError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Extensions of archives whose members are read."""
MOST_FILES = 20_000
"""Maximum number of files to examine; mLAMA in all its languages has about 7,000."""
MOST_MEMBERS = 200_000
"""Most files of an archive."""
MOST_LEVELS = 4
"""Maximum depth of folders to search."""
CHUNK_BYTES = 1 << 20
"""Bytes that are decompressed at a time."""
MOST_BYTES = 1 << 28
"""Maximum size of a member, decompressed: 256 MiB. The largest published file of a task has about 100 MB."""
ARCHIVE_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, RuntimeError)
"""Errors of archives that are damaged, encrypted or compressed in an unknown way."""


@dataclass(frozen=True)
class FileTree:
    """The files at a path."""

    path: Path
    names: tuple[str, ...]
    """Sorted names, which begin with the name of the folder or archive: `x-final/fr/dev_2k.tsv`."""

    def file(self, name: str) -> Path:
        """Return a path from which a file can be read; a member of an archive is extracted first.

        Raises:
            TaskFileError: the archive is damaged.
        """
        if not is_archive(self.path):
            return self.path.parent / name if self.path.is_file() else self.path / name.partition("/")[2]
        return _extracted(self.path, name.partition("/")[2], _version(self.path))

    def origin(self, name: str) -> str:
        """Return the place of a file, for messages."""
        return str(self.path) if self.path.is_file() and not is_archive(self.path) else self._below(name)

    def _below(self, name: str) -> str:
        return str(self.path / name.partition("/")[2])


def file_tree(path: Path) -> FileTree:
    """List the files at a path, without hidden ones; there are none if the path does not exist.

    Raises:
        TaskFileError: an archive is damaged, or has a member that is too large.
    """
    if path.is_dir():
        root = path.resolve().name
        return FileTree(path, tuple(sorted(f"{root}/{name}" for name in islice(_below(path), MOST_FILES))))
    if is_archive(path):
        return FileTree(path, tuple(f"{path.name}/{name}" for name in _members(path, _version(path))))
    return FileTree(path, (path.name,) if path.is_file() else ())


def is_archive(path: Path) -> bool:
    """Whether a path is an archive."""
    return path.name.endswith(ARCHIVES) and path.is_file()


def _below(folder: Path) -> Iterator[str]:
    """Yield the relative names of the files of a folder, in a fixed order."""
    for parent, folders, files in os.walk(folder):
        place = Path(parent).relative_to(folder)
        is_deepest = len(place.parts) + 1 >= MOST_LEVELS
        folders[:] = [] if is_deepest else sorted(name for name in folders if not _is_hidden(name))
        yield from ((place / name).as_posix() for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _version(path: Path) -> tuple[int, int]:
    """Return size and time of change, which key the caches of an archive."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)
def _members(archive: Path, version: tuple[int, int]) -> tuple[str, ...]:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                sizes = [(info.filename, info.file_size) for info in opened.infolist() if not info.is_dir()]
        else:
            with _opened_tar(archive) as tar:
                files = (member for member in tar if _is_small_file(member, archive))
                sizes = [(member.name.removeprefix("./"), member.size) for member in islice(files, MOST_MEMBERS + 1)]
    except ARCHIVE_ERRORS as err:
        raise TaskFileError("an archive cannot be read", file=str(archive), reason=str(err)) from err
    _require_bounded(archive, sizes)
    names = (name for name, _ in sizes)
    return tuple(sorted(name for name in names if not any(map(_is_hidden, name.split("/")))))


def _is_small_file(member: tarfile.TarInfo, archive: Path) -> bool:
    """Whether a member is a file. To find the next one, a compressed archive decompresses it, so its size is bounded.

    Raises:
        TaskFileError: it is too large.
    """
    if member.size > MOST_BYTES:
        raise _too_large(archive, member.name)
    return member.isfile()


def _too_large(archive: Path, member: str) -> TaskFileError:
    expected = f"at most {MOST_BYTES:,} bytes"
    message = "a file in an archive is too large"
    return TaskFileError(message, file=str(archive), member=member, expected=expected, got="more")


def _require_bounded(archive: Path, sizes: Sequence[tuple[str, int]]) -> None:
    """Refuse an archive with very many members, or that expands to very many times its size."""
    limit, n_bytes = expanded_limit(archive), sum(size for _, size in sizes)
    if len(sizes) > MOST_MEMBERS:
        message, expected = "an archive has too many members", f"at most {MOST_MEMBERS:,}"
        raise TaskFileError(message, file=str(archive), expected=expected)
    if n_bytes > limit:
        message, expected = "an archive expands too much", f"at most {limit:,} bytes"
        raise TaskFileError(message, file=str(archive), expected=expected, got=n_bytes)


@contextmanager
def _opened_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive for reading from its start to its end."""
    with open_binary(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        yield tar


@cache
def _extracted(archive: Path, member: str, version: tuple[int, int]) -> Path:
    """Copy a member into a temporary folder of this process, once."""
    target = Path(tempfile.mkdtemp(dir=_scratch().name)) / Path(member).name
    try:
        with _opened_member(archive, member) as content, target.open("wb") as stream:
            n_left = MOST_BYTES  # the size that the archive states may be wrong
            while chunk := content.read(min(CHUNK_BYTES, n_left + 1)):
                stream.write(chunk)
                n_left -= len(chunk)
                if n_left < 0:
                    raise _too_large(archive, member)
    except ARCHIVE_ERRORS as err:
        raise TaskFileError("an archive cannot be read", file=str(archive), member=member, reason=str(err)) from err
    return target


@contextmanager
def _opened_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened, opened.open(member) as content:
            yield content
        return
    with _opened_tar(archive) as tar:
        info = next(info for info in tar if info.isfile() and info.name.removeprefix("./") == member)
        extracted = tar.extractfile(info)
        assert extracted is not None, "a regular file has content"
        with extracted:
            yield extracted


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make the temporary folder, which is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="mlprune-archive-")
