"""Scratch folders: only those of processes that have ended count as abandoned."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mlprune.store.scratch import OWNER, PREFIX, abandoned_folders, remove_abandoned, scratch_folder

KILLED = """
import os, pathlib
from mlprune.store.scratch import scratch_folder
folder = scratch_folder()
(pathlib.Path(folder.name) / "block-000.safetensors").write_bytes(bytes(100))
os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_folder_is_removed_with_its_object_and_is_not_abandoned_before() -> None:
    folder = scratch_folder()
    assert Path(folder.name).is_dir()
    assert abandoned_folders() == []
    folder.cleanup()
    assert not Path(folder.name).exists()


def test_only_the_folder_of_a_killed_process_is_found_and_removed(tmp_path: Path) -> None:
    own_folder = scratch_folder()
    for name in (f"{PREFIX}without-owner", "mlprune-other"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{PREFIX}elsewhere").mkdir()
    (tmp_path / f"{PREFIX}elsewhere" / OWNER).write_text("another-boot.1/1/1")
    assert subprocess.run([sys.executable, "-c", KILLED], check=False).returncode == -9
    (abandoned,) = abandoned_folders()
    assert abandoned.n_bytes > 100
    assert remove_abandoned(abandoned)
    assert abandoned_folders() == []
    assert len(list(tmp_path.iterdir())) == 4
    own_folder.cleanup()
