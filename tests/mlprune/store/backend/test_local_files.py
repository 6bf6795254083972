"""Listing of local folders: whatever the folders contain, a listing ends and names what it skips."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.given_files import NOT_A_FILE
from mlprune.store.backend.local_files import (
    create_local,
    entries_below,
    entries_in,
    file_infos,
    file_size,
    read_local,
)


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


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to(path)])
def test_what_is_not_a_regular_file_cannot_be_read_and_is_not_waited_for(
    tmp_path: Path, make: Callable[[str], None]
) -> None:
    path = str(tmp_path / "x")
    make(path)
    with pytest.raises(OSError, match="x") as raised:
        read_local(path)
    assert raised.value.errno in NOT_A_FILE
    with pytest.raises(OSError, match="x") as raised:
        create_local(path, b"x")
    assert raised.value.errno in NOT_A_FILE


def test_a_part_of_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    parts = [read_local(str(path)), read_local(str(path), 2, 3), read_local(str(path), 8, 5)]
    assert parts == [b"0123456789", b"234", b"89"]
    assert read_local(str(path), 20, 1) == b""
    path.write_bytes(b"")
    assert read_local(str(path)) == b""


def test_a_link_to_a_folder_above_it_is_not_followed(tmp_path: Path) -> None:
    store = tmp_path / "outer" / "store"
    (store / "runs").mkdir(parents=True)
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "mask").write_bytes(b"1")
    for name, target in {"up": store, "further": tmp_path, "root": Path("/"), "masks": tmp_path / "big"}.items():
        (store / "runs" / name).symlink_to(target)
    paths = {Path(entry.path).relative_to(store).as_posix() for entry in entries_below(str(store))}
    assert paths == {"runs/up", "runs/further", "runs/root", "runs/masks/mask"}
