"""Text in every compression, and the choice of a file."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mlprune.corpus import text_files
from mlprune.corpus.text_files import listed_names, read_lines, read_text, uncompressed_name
from mlprune.errors import CorpusError


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
        with pytest.raises(CorpusError, match="cannot be read") as caught:
            read_text(tmp_path / name)
        assert caught.value.context["file"] == str(tmp_path / name)
    (tmp_path / name).write_bytes(WRITERS[name](b"caf\xe9\n"))
    with pytest.raises(CorpusError) as caught:
        read_text(tmp_path / name)
    assert caught.value.context["expected"] == "UTF-8"


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
    with pytest.raises(CorpusError) as caught:
        read_lines(tmp_path / name)
    assert caught.value.context["file"] == str(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_file_that_expands_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(text_files, "FREE_MIB", 1)
    (tmp_path / name).write_bytes(WRITERS[name](b"\n" * (1 << 20)))
    assert len(read_lines(tmp_path / name)) == 1 << 20
    (tmp_path / name).write_bytes(WRITERS[name](b"\n" * (16 << 20)))
    with pytest.raises(CorpusError):
        read_text(tmp_path / name)


def test_a_pipe_or_a_folder_in_place_of_a_text_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.txt.zst")
    (tmp_path / "folder.txt.gz").mkdir()
    for name in ("pipe.txt", "pipe.txt.zst", "folder.txt.gz"):
        with pytest.raises(CorpusError):
            read_lines(tmp_path / name)
