"""Listing of local folders: whatever the folders contain, a listing ends and names what it skips."""

import logging
import os
from pathlib import Path

import pytest

from mlprune.store.backend.local_files import entries_below, entries_in, file_infos, file_size


def test_files_of_all_depths_are_listed_with_their_sizes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "deep").write_bytes(b"123")
    (tmp_path / "top").write_bytes(b"1")
    infos = {Path(info.path).name: info.n_bytes for info in file_infos(entries_below(str(tmp_path)))}
    assert infos == {"deep": 3, "top": 1}
    assert {entry.name for entry in entries_in(str(tmp_path))} == {"a", "top"}


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert entries_in(str(tmp_path / "nothing")) == []
    assert list(entries_below(str(tmp_path / "nothing"))) == []


def test_a_link_to_itself_is_listed_and_has_no_size(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert [entry.name for entry in entries_below(str(tmp_path))] == ["loop"]
    assert list(file_infos(entries_below(str(tmp_path)))) == []
    assert file_size(str(tmp_path / "loop")) == -1


def test_a_name_that_is_not_utf_8_is_reported_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")).write_bytes(b"{}")
    (tmp_path / "good.json").write_bytes(b"{}")
    with caplog.at_level(logging.WARNING):
        assert [entry.name for entry in entries_below(str(tmp_path))] == ["good.json"]
    assert "\\xff.json" in caplog.text


def test_only_regular_files_have_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12")
    assert [file_size(str(tmp_path / name)) for name in ("file", ".", "nothing", "file/below")] == [2, -1, -1, -1]
