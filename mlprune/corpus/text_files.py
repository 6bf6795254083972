"""Text files as they are published: plain, gzip or Zstandard, with or without a byte-order mark, with any line ends."""

import errno
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

import pyarrow as pa

from mlprune.errors import CorpusError
from mlprune.given_files import open_given

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSIONS = ("", ".gz", ".zst")
"""Endings that may follow the extension of a text file: not compressed, gzip, Zstandard."""
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException)
"""Errors of files that are missing, damaged or not text."""
MOST_LINE_MIB = 16
"""Longest line of a text. A document of this size has three million words."""
MOST_EXPANSION, FREE_MIB = 100, 64
"""A compressed file may expand to this many times its size, and in any case to this many MiB."""
_PIECE_BYTES = 1 << 18
MOST_LISTED_FILES = 20
"""Longest list of existing files in an error."""


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for reading from its start to its end, without a byte-order mark.

    Lines end with "\\n" alone, so "\\r" stays and other separators such as U+2028 do not break a line.

    Raises:
        CorpusError: the file is missing, is not UTF-8, has a line that is too long, or its compressed data is damaged,
            cut off, or expands too much.
    """
    try:
        with (
            open_binary(path, most_line_bytes=MOST_LINE_MIB << 20) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="\n") as text,
        ):
            yield text
    except UnicodeDecodeError as err:
        raise CorpusError("a file cannot be read", file=str(path), expected="UTF-8", reason=str(err)) from err
    except READ_ERRORS as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def open_binary(path: Path, *, most_line_bytes: int | None = None) -> BinaryIO:
    """Open a file for reading its decompressed bytes. Raises OSError; reading can also raise as `open_text` catches.

    Args:
        most_line_bytes: longest line, if the file has lines.
    """
    file = open_given(path)
    if path.suffix in (".gz", ".tgz"):
        opened, most_bytes = cast("BinaryIO", gzip.GzipFile(fileobj=file)), expanded_limit(path)
    elif path.suffix == ".zst":
        opened, most_bytes = cast("BinaryIO", pa.input_stream(file, compression="zstd")), expanded_limit(path)
    else:
        opened, most_bytes = file, None
    bounded = _BoundedBytes(opened, file, most_bytes=most_bytes, most_line_bytes=most_line_bytes)
    return io.BufferedReader(bounded, _PIECE_BYTES)


def expanded_limit(path: Path) -> int:
    """Return the most bytes to which a compressed file or an archive may expand: texts shrink to a tenth, not less."""
    return max(FREE_MIB << 20, MOST_EXPANSION * path.stat().st_size)


class _BoundedBytes(io.RawIOBase):
    """The bytes of a file, up to an OSError where all of them, or a line, are too many.

    Args:
        opened: decompresses `file`, or is `file`.
    """

    def __init__(
        self, opened: BinaryIO, file: BinaryIO, *, most_bytes: int | None, most_line_bytes: int | None
    ) -> None:
        self._opened, self._file = opened, file
        self._most_bytes, self._most_line_bytes = most_bytes, most_line_bytes
        self._n_bytes = self._n_line_bytes = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read the next bytes."""
        view = memoryview(buffer)
        data = self._opened.read(len(view))
        view[: len(data)] = data
        self._n_bytes += len(data)
        end = data.rfind(b"\n")
        self._n_line_bytes = len(data) - end - 1 if end >= 0 else self._n_line_bytes + len(data)
        if self._most_bytes is not None and self._n_bytes > self._most_bytes:
            raise OSError(errno.EFBIG, f"the file expands to more than {self._most_bytes >> 20:,} MiB")
        if self._most_line_bytes is not None and self._n_line_bytes > self._most_line_bytes:
            raise OSError(errno.EFBIG, f"a line has more than {self._most_line_bytes >> 20:,} MiB")
        return len(data)

    def close(self) -> None:
        """Close both files."""
        super().close()
        self._opened.close()
        self._file.close()


def read_text(path: Path) -> str:
    """The whole text of a file; raises as `open_text` does."""
    with open_text(path) as text:
        return text.read()


def read_lines(path: Path) -> list[str]:
    """The lines of a file without their ends, "\\n" or "\\r\\n"; an empty file has none. Raises as `open_text` does."""
    with open_text(path) as text:
        return [line.removesuffix("\n").rstrip("\r") for line in text]


def uncompressed_name(path: Path) -> str:
    """The name of a file without the ending of a compression: `fr.txt.gz` is `fr.txt`."""
    return path.name.removesuffix(path.suffix) if path.suffix in COMPRESSIONS[1:] else path.name


def listed_names(folder: Path) -> list[str] | str:
    """The names in a folder for an error message, sorted, the first 20 and how many more there are."""
    if folder.is_file():
        return f"a file, {folder.name}"
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    n_more = len(names) - MOST_LISTED_FILES
    return [*names[:MOST_LISTED_FILES], f"and {n_more:,} more"] if n_more > 0 else names or "an empty folder"
