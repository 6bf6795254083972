"""Text files as they are published: compressed or not, as rows of a table or as documents."""

import csv
import errno
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

import pyarrow as pa

from mlprune.corpus.parquet_files import read_parquet
from mlprune.errors import CorpusError, repeated
from mlprune.given_files import expanded_limit, kind_of, open_given
from mlprune.json_values import JsonObject, JsonValue, parse_json
from mlprune.vocabulary import COMPRESSIONS, DELIMITED_SUFFIXES, JSON_SUFFIXES, READABLE_SUFFIXES, SUFFIXES

MOST_COMPARED_FILES = 50
"""Most files whose names are compared with those of layouts."""
LEAST_LIKENESS = 0.6
"""Share of equal characters of two names from which one is said to be near to the other."""
_NAMES = re.compile(r"[\w./-]+\.\w+")
FIELD = "text"
"""The field of a table's row that contains the document."""
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
"""Endings that may follow the extension of a text file: not compressed, gzip, Zstandard."""

READ_ERRORS = (OSError, EOFError, zlib.error, UnicodeDecodeError, pa.ArrowException)
"""Errors of files that are missing, damaged or not text."""
MOST_LINE_MIB = 16
"""Longest line of a text. A document of this size has three million words."""
MOST_JSON_MIB = 256
"""Largest file of JSON that is parsed as a whole. Published ones have up to about 40 MiB."""
LINE_BYTES = 64
"""Bytes that a line of a compressed file counts in addition to its text, because each line becomes an object."""
_PIECE_BYTES = 1 << 18
MOST_LISTED_FILES = 20
"""Longest list of existing files in an error."""


@contextmanager
def open_text(path: Path, *, most_line_mib: int | None = None) -> Iterator[TextIO]:
    """Open a text file for reading from its start to its end, without a byte-order mark.

    Lines end with "\\n" alone, so "\\r" stays and other separators such as U+2028 do not break a line.

    Args:
        most_line_mib: longest line, in MiB, if it is not the usual one.
    Raises:
        CorpusError: the file is missing, is not UTF-8, has a line that is too long, or its compressed data is damaged,
            cut off, or expands too much.
    """
    most_line_bytes = (most_line_mib or MOST_LINE_MIB) << 20
    try:
        with (
            open_binary(path, most_line_bytes=most_line_bytes) as binary,
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
        is_text = self._most_line_bytes is not None
        self._n_bytes += len(data) + (LINE_BYTES * data.count(b"\n") if is_text else 0)
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
        return kind_of(folder.stat().st_mode) if folder.exists() else "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    n_more = len(names) - MOST_LISTED_FILES
    return [*names[:MOST_LISTED_FILES], f"and {n_more:,} more"] if n_more > 0 else names or "an empty folder"


def nearest_layout(path: Path, examples: Mapping[str, str]) -> dict[str, str]:
    """Return the layouts with the example names most like those at a path, for an error; nothing if none is like them.

    Args:
        examples: layout -> names of its files as text.
    """
    files = [path] if path.is_file() else sorted(islice(filter(Path.is_file, path.rglob("*")), MOST_COMPARED_FILES))
    likeness = {
        layout: max((_likeness(example, file) for example in _NAMES.findall(words) for file in files), default=0.0)
        for layout, words in examples.items()
    }
    most = max(likeness.values(), default=0.0)
    nearest = [f"{layout}: {examples[layout]}" for layout, value in likeness.items() if value == most]
    return {"nearest": "; ".join(nearest)} if most >= LEAST_LIKENESS else {}


def _likeness(example: str, file: Path) -> float:
    """Return the share of equal characters of an example and the last parts of a path."""
    name = "/".join(file.parts[-1 - example.count("/") :])
    return SequenceMatcher(None, example, name, autojunk=False).ratio()


def read_rows(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of a file, in order.

    Args:
        path: a file with one of the extensions `READABLE_SUFFIXES`. In a `.tsv` file quotes are characters like any
            other; in a `.csv` file they enclose a value. The values of both are texts.
    Raises:
        CorpusError: the file has another extension or cannot be read, or as `read_json_lines`, `read_json` and
            `read_delimited`.
    """
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.name.endswith(SUFFIXES):
        return read_json_lines(path)
    if path.name.endswith(DELIMITED_SUFFIXES):
        delimiter, quoted = delimited_format(path)
        return [dict(row) for row in read_delimited(path, delimiter=delimiter, quoted=quoted)]
    if path.name.endswith(JSON_SUFFIXES):
        return read_json(path)[0]
    raise CorpusError("a file has an unknown extension", file=str(path), expected=READABLE_SUFFIXES, got=path.name)


def delimited_format(path: Path) -> tuple[str, bool]:
    """The delimiter of a file of `DELIMITED_SUFFIXES`, and whether its values are in quotes."""
    return (",", True) if uncompressed_name(path).endswith(".csv") else ("\t", False)


def read_json_lines(path: Path) -> list[dict[str, JsonValue]]:
    """All rows of JSON lines, of any extension. Row i is line i + 1.

    Raises:
        CorpusError: the file cannot be read, or a line is not a JSON object of texts. An empty line is not one.
    """
    return [_row(line, file=str(path), number=number) for number, line in enumerate(read_lines(path), start=1)]


def read_json(path: Path) -> tuple[list[dict[str, JsonValue]], bool]:
    """All rows of a `.json` file, and whether row i is line i + 1.

    The content decides: JSON lines, an array of objects, or one object with exactly one array of objects among its
    values, such as `{"version": "1.1", "data": [...]}`.

    Raises:
        CorpusError: the file cannot be read, is none of these, or is too large to be parsed as a whole.
    """
    with open_text(path, most_line_mib=MOST_JSON_MIB) as text:
        first = next((line for line in text if line.strip()), "")
        is_one_line = not any(line.strip() for line in text)
    if _is_object(first) and not is_one_line:
        return read_json_lines(path), True
    value, has_escapes = _whole_json(path)
    arrays = arrays_of_objects(value.values() if isinstance(value, dict) else [value])
    if isinstance(value, dict) and not arrays:
        return read_json_lines(path), True
    if len(arrays) != 1:
        expected = "JSON lines, an array of objects, or an object with one such array"
        raise CorpusError("a file has no rows", file=str(path), expected=expected, got=first[:80])
    rows = cast("list[dict[str, JsonValue]]", arrays[0])
    for number, row in enumerate(rows, start=1):
        if has_escapes and _has_half_pair(row):
            raise _half_pair(file=str(path), row=number)
    return rows, False


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def arrays_of_objects(values: Iterable[object]) -> list[list[object]]:
    """Return those of some values that are arrays of objects, not empty."""
    arrays = (value for value in values if isinstance(value, list))
    return [array for array in arrays if array and all(isinstance(each, dict) for each in array)]


def _whole_json(path: Path) -> tuple[object, bool]:
    """Parse a file as one value; also return whether a text may contain half of a surrogate pair."""
    with open_text(path, most_line_mib=MOST_JSON_MIB) as stream:
        text = stream.read((MOST_JSON_MIB << 20) + 1)
    if len(text) > MOST_JSON_MIB << 20:
        expected = f"at most {MOST_JSON_MIB} MiB, or JSON lines"
        raise CorpusError("a file of JSON is too large", file=str(path), expected=expected, got="more")
    try:
        return json.loads(text, object_pairs_hook=_without_repeated_keys), "\\u" in text
    except _RepeatedKeyError as err:
        raise CorpusError("a key occurs twice in an object", file=str(path), key=str(err)) from err
    except (ValueError, RecursionError) as err:
        line = {"line": err.lineno} if isinstance(err, json.JSONDecodeError) else {}
        expected = "JSON lines, or an array of objects"
        raise CorpusError(
            "a file is not JSON", {"file": str(path), **line}, expected=expected, reason=str(err)
        ) from err


def _row(line: str, *, file: str, number: int) -> dict[str, JsonValue]:
    try:
        row = json.loads(line, object_pairs_hook=_without_repeated_keys)
    except _RepeatedKeyError as err:
        raise CorpusError("a key occurs twice in a row", file=file, line=number, key=str(err), got=line[:80]) from err
    except (ValueError, RecursionError) as err:
        raise CorpusError("a line is not JSON", file=file, line=number, expected="an object", got=line[:80]) from err
    if not isinstance(row, dict):
        raise CorpusError("a line is not a JSON object", file=file, line=number, expected="an object", got=line[:80])
    if "\\u" in line and _has_half_pair(row):
        raise _half_pair(file=file, line=number, got=line[:80])
    return row


def _half_pair(**place: object) -> CorpusError:
    message = "a text contains half of a surrogate pair, which is not a character"
    return CorpusError(message, {**place, "expected": "characters, or both halves"})


def _has_half_pair(row: dict[str, JsonValue]) -> bool:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


class _RepeatedKeyError(Exception):
    """A JSON object has a key twice."""


def _without_repeated_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _RepeatedKeyError(repeated(name for name, _ in pairs)[0])
    return values


def read_delimited(path: Path, *, delimiter: str = "\t", quoted: bool = False) -> list[dict[str, str]]:
    """All rows of a text file whose first line names the columns. Without quotes, row i is line i + 2.

    Args:
        quoted: whether double quotes enclose a value, which may then contain delimiters and line breaks, and two of
            them stand for one. Published tables separated by tabs have bare quotes inside sentences instead.
    Raises:
        CorpusError: the file cannot be read, has no header or a column twice, or a row has another number of cells.
    """
    cells = read_cells(path, delimiter=delimiter, quoted=quoted)
    _, header = next(cells, (0, []))
    if not header or len(set(header)) < len(header):
        raise CorpusError("a table has no usable header", file=str(path), expected="different names", got=header)
    rows = []
    for number, values in cells:
        if len(values) != len(header):
            place = {"file": str(path), "line": number, "delimiter": delimiter}
            expected = f"{len(header)} cells as in the header"
            raise CorpusError("a row has another number of cells", place, expected=expected, got=len(values))
        rows.append(dict(zip(header, values, strict=True)))
    return rows


def read_cells(path: Path, *, delimiter: str = "\t", quoted: bool = False) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line that is not empty, with the number of the line, from 1; see `read_delimited`.

    Raises:
        CorpusError: the file cannot be read, or a quote is wrong.
    """
    with open_text(path) as text:
        if not quoted:
            yield from ((number, line.split(delimiter)) for number, line in _filled_lines(text))
            return
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            yield from ((reader.line_num, values) for values in reader if values)
        except csv.Error as err:
            context = {"file": str(path), "line": reader.line_num, "delimiter": delimiter, "reason": str(err)}
            raise CorpusError("a line is not a row of the table", context) from err


def _filled_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start=1):
        content = line.removesuffix("\n").rstrip("\r")
        if content:
            yield number, content


def read_documents(path: Path) -> tuple[str, ...]:
    """The documents of a text file, of all text files of a folder in the order of their names, or of a table.

    In a text file, documents are paragraphs separated by blank lines; line breaks inside a paragraph stay. In a table
    (.jsonl, .parquet, .tsv, .csv), the field `text` of each row is a document. Text and JSON lines may be compressed.

    Raises:
        CorpusError: the file does not exist, cannot be read or is of another kind, a row has no text, or there are no
            documents.
    """
    if path.is_dir():
        files = sorted(file for ending in COMPRESSIONS for file in path.glob(f"*.txt{ending}"))
        if not files:
            raise CorpusError("no plain text", folder=str(path), expected="*.txt files", got=listed_names(path))
        documents = tuple(document for file in files for document in _paragraphs(file))
    elif uncompressed_name(path).endswith(".txt"):
        documents = _paragraphs(path)
    elif path.name.endswith(READABLE_SUFFIXES):
        documents = _texts(path)
    else:
        expected = ["a .txt file", "a folder of .txt files", *READABLE_SUFFIXES]
        raise CorpusError("the path is not plain text", path=str(path), expected=expected, got=listed_names(path))
    if not documents:
        raise CorpusError("no documents", path=str(path), expected="at least one", got=0)
    return documents


def _paragraphs(path: Path) -> tuple[str, ...]:
    text = read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    parts = (part.strip("\n") for part in _BLANK_LINES.split("\n" + text + "\n"))
    return tuple(part for part in parts if part.strip())


def _texts(path: Path) -> tuple[str, ...]:
    return tuple(_text(row, path=path, number=number) for number, row in enumerate(read_rows(path), start=1))


def _text(row: JsonObject, *, path: Path, number: int) -> str:
    value = row.get(FIELD)
    if not isinstance(value, str) or not value.strip():
        raise CorpusError("a row has no text", file=str(path), row=number, key=FIELD, expected="a text", got=value)
    return value
