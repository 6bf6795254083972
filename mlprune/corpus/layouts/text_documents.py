"""Documents of parallel text: which page or article each sentence is from, if the publisher states it.

The documents of a text are the same in all its languages. Sentences of one document depend on each other.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from mlprune.corpus.layouts import text_tables
from mlprune.corpus.layouts.text_layout import TextDocument, TextSource, files_in
from mlprune.corpus.parquet_files import parquet_columns, read_parquet
from mlprune.corpus.text_files import read_lines, uncompressed_name

logger = logging.getLogger(__name__)
_URL_COLUMNS = ("url", "URL")
_GENRE_COLUMN = "domain"


def flores_documents(source: TextSource) -> Sequence[TextDocument]:
    """Return `URL` and `domain` of each line of `metadata_dev.tsv` or `metadata_devtest.tsv`."""
    path = _near(source, f"metadata_{source.split}.tsv")
    if path is None:
        return ()
    header, *rows = [line.split("\t") for line in read_lines(path) if line] or [[]]
    url = next((header.index(name) for name in _URL_COLUMNS if name in header), None)
    genre = header.index(_GENRE_COLUMN) if _GENRE_COLUMN in header else None
    return [TextDocument(_cell(row, url), _cell(row, genre)) for row in rows]


def ntrex_documents(source: TextSource) -> Sequence[TextDocument]:
    """Return each line of `DOCUMENT_IDS.tsv`."""
    path = _near(source, "DOCUMENT_IDS.tsv")
    return () if path is None else [TextDocument(_cell(line.split("\t"), 0)) for line in read_lines(path) if line]


def table_documents(source: TextSource) -> Sequence[TextDocument]:
    """Return the columns `url` and `domain` of each row, in the order of the ids."""
    columns = parquet_columns(source.path)
    url = next((name for name in _URL_COLUMNS if name in columns), None)
    if url is None:
        return ()
    rows = read_parquet(source.path)
    if rows and isinstance(rows[0].get("id"), int):
        rows = sorted(rows, key=lambda row: cast("int", row["id"]))
    return [TextDocument(str(row[url] or ""), str(row.get(_GENRE_COLUMN) or "")) for row in rows]


def wmt_documents(source: TextSource) -> Sequence[TextDocument]:
    """Return `document_id` and `domain` of each row whose source is not bad."""
    rows = text_tables.wmt_rows(source)
    return [TextDocument(str(row["document_id"]), str(row.get(_GENRE_COLUMN) or "")) for row in rows]


def aligned_documents(
    source: TextSource, documents: Sequence[TextDocument], *, n_lines: int
) -> tuple[TextDocument, ...]:
    """Return the documents of a text, or nothing, with a warning, if they are not those of its lines."""
    if documents and len(documents) != n_lines:
        message = "%s: documents are ignored: %d are listed for %d sentences"
        logger.warning(message, source.path.parent, len(documents), n_lines)
        return ()
    return tuple(documents) if any(document.name for document in documents) else ()


def _near(source: TextSource, name: str) -> Path | None:
    """Return the file of a name next to a source or one folder above it, plain or compressed."""
    folders = (source.path.parent, source.path.parent.parent)
    return next((file for folder in folders for file in files_in(folder) if uncompressed_name(file) == name), None)


def _cell(row: Sequence[str], place: int | None) -> str:
    return row[place].strip() if place is not None and place < len(row) else ""
