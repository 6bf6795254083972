"""Rows of the three kinds of table file, and files that cannot be read."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.corpus.row_files import read_rows
from mlprune.errors import CorpusError

ROWS = [{"id": 1, "text": "a\u2028b", "list": ["x", "y"]}, {"id": 2, "text": "你好", "list": []}]
JSON_LINES = '{"id": 1, "text": "a\u2028b", "list": ["x", "y"]}\r\n{"id": 2, "text": "你好", "list": []}\n'


def test_the_three_kinds_of_file_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSON_LINES.encode())
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(JSON_LINES.encode()))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    assert [read_rows(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz", "c.parquet")] == [ROWS] * 3


def test_a_byte_order_mark_and_a_missing_last_newline_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"id": 1}\n{"id": 2}')
    assert read_rows(tmp_path / "a.jsonl") == [{"id": 1}, {"id": 2}]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert read_rows(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("line", ["{'id': 1}", "", "[1, 2]", '"text"', "{"])
def test_a_line_that_is_not_an_object_is_reported_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 0}\n' + line + "\n")
    with pytest.raises(CorpusError) as caught:
        read_rows(tmp_path / "a.jsonl")
    assert caught.value.context["line"] == 2
    assert caught.value.context["file"] == str(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_a_file_of_other_bytes_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(CorpusError, match="cannot be read"):
        read_rows(tmp_path / name)


def test_a_cut_off_or_damaged_archive_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(JSON_LINES.encode())
    for damaged in (whole[:-12], whole[:12] + bytes([whole[12] ^ 0xFF]) + whole[13:]):
        (tmp_path / "a.jsonl.gz").write_bytes(damaged)
        with pytest.raises(CorpusError, match="cannot be read"):
            read_rows(tmp_path / "a.jsonl.gz")


def test_a_file_that_is_not_there_or_of_another_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl")
    (tmp_path / "a.csv").write_text("id\n1\n")
    with pytest.raises(CorpusError, match="unknown extension"):
        read_rows(tmp_path / "a.csv")
