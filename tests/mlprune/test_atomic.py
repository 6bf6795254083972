"""Atomic writes: whole or not at all, and nothing left of a failure."""

import os
import time
from pathlib import Path

import pytest

from mlprune.atomic import LEFT_OVER_AFTER_S, remove_left_over, replacing, write_atomically
from tests.ended_processes import ended_tag


def test_a_file_is_replaced_and_the_folders_above_it_are_created(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.bin"
    for data in (b"old", b"new"):
        write_atomically(target, data)
        assert target.read_bytes() == data
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", target]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with replacing(target) as temporary:
        temporary.mkdir()
        (temporary / "file").write_text("x")
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("is_folder", [False, True])
def test_an_error_leaves_the_target_as_it_was_and_nothing_else(tmp_path: Path, *, is_folder: bool) -> None:
    target = tmp_path / "target"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as temporary:
            if is_folder:
                temporary.mkdir()
            (temporary / "file" if is_folder else temporary).write_text("half")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_only_old_left_overs_of_the_same_target_are_removed(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f"{name}.writing-0123abcd" for name in ("old", "young", "other"))
    then = time.time() - 2 * LEFT_OVER_AFTER_S
    for folder in (old, young, other):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    for path in (old, old / "model.safetensors", other, other / "model.safetensors", young):
        os.utime(path, (then, then))
    for name in ("old", "young"):
        remove_left_over(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == [other, young]


def test_what_an_ended_process_of_this_machine_left_is_removed_at_once(tmp_path: Path) -> None:
    target = tmp_path / "[model]"
    ended = tmp_path / f"[model].writing-{ended_tag()}-0123abcd"
    ended.mkdir()
    with replacing(target) as temporary:
        temporary.write_text("x")
        remove_left_over(target)
        assert [path.name for path in tmp_path.iterdir()] == [temporary.name]
