"""Rows of every kind of table file, and files that cannot be read."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune.corpus.row_files import read_cells, read_delimited, read_rows
from mlprune.errors import CorpusError

ROWS = [{"id": 1, "text": "a\u2028b", "list": ["x", "y"]}, {"id": 2, "text": "你好", "list": []}]
JSON_LINES = '{"id": 1, "text": "a\u2028b", "list": ["x", "y"]}\r\n{"id": 2, "text": "你好", "list": []}\n'


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSON_LINES.encode())
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(JSON_LINES.encode()))
    (tmp_path / "c.jsonl.zst").write_bytes(pa.compress(JSON_LINES.encode(), codec="zstd", asbytes=True))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    assert [read_rows(path) for path in sorted(tmp_path.iterdir())] == [ROWS] * 4


def test_tables_of_text_have_a_header_and_only_csv_has_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b'\xef\xbb\xbfen\tfr\r\n"a, b\tc" d\r\n\r\ne\t\r\n')
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b'en,fr\r\n"a, ""b""\nc",d\r\n'))
    assert read_rows(tmp_path / "a.tsv") == [{"en": '"a, b', "fr": 'c" d'}, {"en": "e", "fr": ""}]
    assert read_rows(tmp_path / "b.csv.gz") == [{"en": 'a, "b"\nc', "fr": "d"}]
    assert list(read_cells(tmp_path / "a.tsv"))[1:] == [(2, ['"a, b', 'c" d']), (4, ["e", ""])]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a\tb\n1\t2\n\n3\n", "another number of cells", 4),
        ("a\ta\n1\t2\n", "no usable header", None),
        ("", "no usable header", None),
        ('a\tb\n"1\t2\n', "not a row", 2),
    ],
)
def test_a_wrong_table_of_text_is_an_error(tmp_path: Path, text: str, message: str, line: int | None) -> None:
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        read_delimited(tmp_path / "a.tsv", quoted=message == "not a row")
    assert caught.value.context.get("line") == line


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
    (tmp_path / "a.xml").write_text("id\n1\n")
    with pytest.raises(CorpusError, match="unknown extension"):
        read_rows(tmp_path / "a.xml")


def test_half_of_a_surrogate_pair_is_reported_with_its_line_and_a_whole_pair_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n{"nested": ["\\ud800 x"]}\n')
    with pytest.raises(CorpusError, match="surrogate") as raised:
        read_rows(path)
    assert raised.value.context["line"] == 2
    path.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert read_rows(path) == [{"text": "\U0001f600"}]


def test_a_key_that_occurs_twice_in_a_row_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "label": 0}\n{"id": 2, "label": 0, "label": 1}\n')
    with pytest.raises(CorpusError, match="twice") as caught:
        read_rows(path)
    assert (caught.value.context["line"], caught.value.context["key"]) == (2, "label")
