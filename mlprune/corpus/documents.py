"""Documents of plain text: paragraphs of text files, or the field `text` of the rows of a table."""

import re
from pathlib import Path

from mlprune.corpus.row_files import READABLE_SUFFIXES, read_rows
from mlprune.corpus.text_files import COMPRESSIONS, listed_names, read_text, uncompressed_name
from mlprune.errors import CorpusError
from mlprune.json_values import JsonObject

FIELD = "text"
"""The field of a table's row that contains the document."""

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


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
