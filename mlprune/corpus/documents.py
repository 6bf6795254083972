"""Plain text of any origin as a list of documents: paragraphs of text files, or the field `text` of a table's rows."""

import re
from pathlib import Path

from mlprune.corpus.row_files import SUFFIXES, read_rows
from mlprune.errors import CorpusError

FIELD = "text"
"""The field of a table's row that is the document."""

_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def read_documents(path: Path) -> tuple[str, ...]:
    """The documents of a text file, of all text files of a folder in the order of their names, or of a table.

    In text files documents are the paragraphs, separated by blank lines; the line breaks inside them stay. In a table
    (.jsonl, .jsonl.gz, .parquet) every row is one, as it stands in `text`.

    Raises:
        CorpusError: there is no such file, it cannot be read or is of another kind, a row has no text, or there are
            no documents.
    """
    if path.is_dir():
        files = sorted(path.glob("*.txt"))
        if not files:
            raise CorpusError("no plain text", folder=str(path), expected="*.txt files", got="none")
        found = tuple(document for file in files for document in _paragraphs(file))
    elif path.suffix == ".txt":
        found = _paragraphs(path)
    elif path.name.endswith(SUFFIXES):
        found = _texts(path)
    else:
        expected = ["a .txt file", "a folder of .txt files", *SUFFIXES]
        raise CorpusError("this is no plain text", path=str(path), expected=expected, got=path.name)
    if not found:
        raise CorpusError("no documents", path=str(path), expected="at least one", got=0)
    return found


def _paragraphs(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise CorpusError("a text file cannot be read", path=str(path), reason=str(err)) from err
    parts = (part.strip("\n") for part in _BLANK_LINES.split("\n" + text + "\n"))
    return tuple(part for part in parts if part.strip())


def _texts(path: Path) -> tuple[str, ...]:
    rows = read_rows(path)
    for number, row in enumerate(rows, start=1):
        value = row.get(FIELD)
        if not isinstance(value, str) or not value.strip():
            raise CorpusError("a row has no text", file=str(path), row=number, key=FIELD, expected="a text", got=value)
    return tuple(row[FIELD] for row in rows)
