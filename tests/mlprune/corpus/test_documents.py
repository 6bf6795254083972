"""Plain text from files, folders and tables."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.corpus.documents import read_documents
from mlprune.errors import CorpusError


def test_documents_of_a_text_file_are_its_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeff\n  one\n two \r\nthree\n\n \t\n\nfour\r\n\r\nça va\n\n".encode())
    assert read_documents(path) == ("  one\n two \nthree", "four", "ça va")


def test_a_folder_is_its_text_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, text in (("b.txt", "3"), ("a.txt", "1\n\n2"), ("c.md", "no"), ("empty.txt", "\n\n")):
        (tmp_path / name).write_text(text)
    assert read_documents(tmp_path) == ("1", "2", "3")


def test_every_row_of_a_table_is_an_unchanged_document(tmp_path: Path) -> None:
    texts = ["a\n\nb ", "你好"]
    lines = "".join(json.dumps({"text": text, "url": "x"}) + "\n" for text in texts)
    (tmp_path / "a.jsonl").write_text(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        assert read_documents(tmp_path / name) == tuple(texts)


@pytest.mark.parametrize("row", [{}, {"text": ""}, {"text": " \n"}, {"text": 3}, {"text": None}])
def test_a_row_without_a_text_is_reported_with_its_number(tmp_path: Path, row: dict) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n' + json.dumps(row) + "\n")
    with pytest.raises(CorpusError, match="no text") as caught:
        read_documents(path)
    assert (caught.value.context["file"], caught.value.context["row"]) == (str(path), 2)


def test_a_path_without_documents_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "none.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.doc").write_text("text\na\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    for name, message in (
        ("blank.txt", "no documents"),
        ("none.jsonl", "no documents"),
        ("folder", "no plain text"),
        ("a.doc", "not plain text"),
        ("latin.txt", "cannot be read"),
        ("missing.txt", "cannot be read"),
        ("missing", "not plain text"),
    ):
        with pytest.raises(CorpusError, match=message) as caught:
            read_documents(tmp_path / name)
        assert name in str(caught.value)
    (tmp_path / "folder" / "fr.doc").touch()
    with pytest.raises(CorpusError) as caught:
        read_documents(tmp_path / "folder")
    assert caught.value.context["got"] == ["fr.doc"]
