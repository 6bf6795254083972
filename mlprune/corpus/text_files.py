"""Text files as they are published: plain, gzip or Zstandard, with or without a byte-order mark, with any line ends."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import pyarrow as pa

from mlprune.errors import CorpusError

COMPRESSIONS = ("", ".gz", ".zst")
"""Endings that may follow the extension of a text file: not compressed, gzip, Zstandard."""
READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException)
"""Errors of files that are missing, damaged or not text."""
MOST_LISTED_FILES = 20
"""Longest list of existing files in an error."""


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for reading from its start to its end, without a byte-order mark.

    Lines end with "\\n" alone, so "\\r" stays and other separators such as U+2028 do not break a line.

    Raises:
        CorpusError: the file is missing, is not UTF-8, or its compressed data is damaged or cut off.
    """
    try:
        with open_binary(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="\n") as text:
            yield text
    except UnicodeDecodeError as err:
        raise CorpusError("a file cannot be read", file=str(path), expected="UTF-8", reason=str(err)) from err
    except READ_ERRORS as err:
        raise CorpusError("a file cannot be read", file=str(path), reason=str(err)) from err


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading its decompressed bytes. Raises OSError; reading can also raise as `open_text` catches."""
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path))
    if path.suffix == ".zst":
        return cast("BinaryIO", pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


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
