import fcntl
import os
from pathlib import Path

import pytest

from mlprune.errors import ModelError
from mlprune.importing import staging
from mlprune.importing.staging import staging_folder


def test_the_folder_appears_under_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "models" / "out"
    with staging_folder(target) as folder:
        (folder.path / "file").write_text("x")
        assert not target.exists()
    assert (target / "file").read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_every_file_is_flushed_before_the_folder_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, bool]] = []

    def fsync(number: int) -> None:
        flushed.append((os.fstat(number).st_ino, (tmp_path / "out").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with staging_folder(tmp_path / "out") as folder:
        for name in ("config.json", "tokenizer.json"):
            (folder.path / name).write_text("{}")
    written = [(path.stat().st_ino, False) for path in (*sorted((tmp_path / "out").iterdir()), tmp_path / "out")]
    assert flushed == [*written, (tmp_path.stat().st_ino, True)]


def test_a_folder_that_a_killed_import_left_is_removed_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "o[u]t*.writing-01234567").mkdir()
    with staging_folder(tmp_path / "o[u]t*"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["o[u]t*"]


def test_an_error_removes_the_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), staging_folder(tmp_path / "out") as folder:
        folder.path.write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_writes_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "WAIT_S", 0.05)
    other = tmp_path / "out.writing-01234567"
    other.mkdir()
    lock = os.open(other, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ModelError, match="another import"), staging_folder(tmp_path / "out"):
        pytest.fail("the folder must not be written")
    assert other.exists()
    os.close(lock)
    with staging_folder(tmp_path / "out"):
        assert not other.exists()


def test_a_target_with_files_is_not_replaced(tmp_path: Path) -> None:
    def add_file() -> None:
        with staging_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "file").write_text("kept")

    with pytest.raises(ModelError, match="run the same command again"):
        add_file()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]
