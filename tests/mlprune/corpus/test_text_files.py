"""Text in every compression, and the choice of a file."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlprune import given_files
from mlprune.corpus import text_files
from mlprune.corpus.text_files import (
    listed_names,
    read_cells,
    read_delimited,
    read_documents,
    read_lines,
    read_rows,
    read_text,
    uncompressed_name,
)
from mlprune.errors import CorpusError
from tests.refusals import refused


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


WRITERS: dict[str, Callable[[bytes], bytes]] = {"a.txt": bytes, "a.txt.gz": gzip.compress, "a.txt.zst": zstd}


@pytest.mark.parametrize("name", WRITERS)
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WRITERS[name](b"\xef\xbb\xbf" + "un\u2028deux\r\n\r\ntrois".encode()))
    assert read_lines(path) == ["un\u2028deux", "", "trois"]
    assert read_text(path) == "un\u2028deux\r\n\r\ntrois"
    assert uncompressed_name(path) == "a.txt"
    path.write_bytes(WRITERS[name](b""))
    assert read_lines(path) == []


def test_several_frames_are_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.zst").write_bytes(zstd(b"un\nde") + zstd(b"ux\n"))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"un\nde") + gzip.compress(b"ux\n"))
    assert read_lines(tmp_path / "a.zst") == read_lines(tmp_path / "a.gz") == ["un", "deux"]


@pytest.mark.parametrize("name", WRITERS)
def test_missing_damaged_and_foreign_files_are_one_error(tmp_path: Path, name: str) -> None:
    data = WRITERS[name](bytes(range(256)) * 40)
    for content in (None, data[: len(data) // 2], b"caf\xe9\n"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with refused(CorpusError, file=str(tmp_path / name)):
            read_text(tmp_path / name)
    (tmp_path / name).write_bytes(WRITERS[name](b"caf\xe9\n"))
    with refused(CorpusError, expected="UTF-8"):
        read_text(tmp_path / name)


def test_an_error_lists_few_names(tmp_path: Path) -> None:
    assert listed_names(tmp_path) == "an empty folder"
    assert listed_names(tmp_path / "none") == "no such folder"
    for number in range(23):
        (tmp_path / f"{number:02}").touch()
    assert listed_names(tmp_path)[-2:] == ["19", "and 3 more"]
    assert listed_names(tmp_path / "00") == "a file, 00"


@pytest.mark.parametrize("name", WRITERS)
def test_a_line_that_is_too_long_is_refused_before_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(text_files, "MOST_LINE_MIB", 1)
    line = b"x" * (1 << 20)
    (tmp_path / name).write_bytes(WRITERS[name](line + b"\n" + line + b"\n"))
    assert read_lines(tmp_path / name) == [line.decode()] * 2
    (tmp_path / name).write_bytes(WRITERS[name](b"\n" + 2 * line))
    with refused(CorpusError, file=str(tmp_path / name)):
        read_lines(tmp_path / name)


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_file_that_expands_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(given_files, "FREE_MIB", 1)
    (tmp_path / name).write_bytes(WRITERS[name](b"x" * 1000 + b"\n" + b"x" * 1_000_000))
    assert len(read_lines(tmp_path / name)) == 2
    for data in (b"x" * 1000 * (1 << 10) * 2, b"\n" * (1 << 15)):  # a line counts more than its text
        (tmp_path / name).write_bytes(WRITERS[name](data))
        with refused(CorpusError, file=str(tmp_path / name)):
            read_text(tmp_path / name)


def test_a_pipe_or_a_folder_in_place_of_a_text_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.txt.zst")
    (tmp_path / "folder.txt.gz").mkdir()
    for name in ("pipe.txt", "pipe.txt.zst", "folder.txt.gz"):
        with pytest.raises(CorpusError):
            read_lines(tmp_path / name)


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
    with refused(CorpusError, line=2) as caught:
        read_rows(tmp_path / "a.jsonl")
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
    with refused(CorpusError, got="a.xml"):
        read_rows(tmp_path / "a.xml")


def test_half_of_a_surrogate_pair_is_reported_with_its_line_and_a_whole_pair_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n{"nested": ["\\ud800 x"]}\n')
    with refused(CorpusError, line=2):
        read_rows(path)
    path.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert read_rows(path) == [{"text": "\U0001f600"}]


def test_a_key_that_occurs_twice_in_a_row_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1, "label": 0}\n{"id": 2, "label": 0, "label": 1}\n')
    with refused(CorpusError, line=2, key="label"):
        read_rows(path)


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
    with refused(CorpusError, file=str(path), row=2):
        read_documents(path)


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
    with refused(CorpusError, got=["fr.doc"]):
        read_documents(tmp_path / "folder")


OBJECTS = [{"id": 1, "text": "un\u2028deux"}, {"id": 2, "text": "trois"}]


@pytest.mark.parametrize(
    "text",
    [
        "".join(json.dumps(row) + "\n" for row in OBJECTS),
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=4),
        json.dumps({"version": "1.1", "data": OBJECTS}),
        "\n" + json.dumps({"version": "1.1", "data": OBJECTS, "tags": ["a"]}, indent=1),
    ],
)
def test_the_content_of_a_json_file_says_where_its_rows_are(tmp_path: Path, text: str) -> None:
    for name, data in (("a.json", text.encode()), ("a.json.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        assert read_rows(tmp_path / name) == OBJECTS


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("", {"line": 1}),
        ("[]", {"got": "[]"}),
        ("[1]", {"got": "[1]"}),
        ('[{"a": 1}, 2]', {}),
        ('{"a": [{"b": 1}], "c": [{"b": 1}]}', {}),
        ('[\n{"a": 1},\n{"a": }]', {"line": 3}),
        ('{"a": 1}\nno\n', {"line": 2}),
        ('[{"a": 1, "a": 2}]', {"key": "a"}),
        ('[{"a": "\\ud800"}]', {"row": 1}),
        ("[" * 100_000, {}),
    ],
)
def test_a_json_file_without_rows_is_refused(tmp_path: Path, text: str, context: dict[str, object]) -> None:
    (tmp_path / "a.json").write_text(text)
    with refused(CorpusError, file=str(tmp_path / "a.json"), **context):
        read_rows(tmp_path / "a.json")


def test_a_json_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MOST_JSON_MIB", 1)
    (tmp_path / "a.json").write_text("[\n" + '{"a": "b"},\n' * 100_000 + "{}]")
    with refused(CorpusError, file=str(tmp_path / "a.json")):
        read_rows(tmp_path / "a.json")
