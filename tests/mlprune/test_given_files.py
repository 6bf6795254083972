"""Files that others gave: nothing but regular files within a limit is read, and nothing waits."""

import os
from pathlib import Path

import pytest

from mlprune.given_files import open_given, read_given, require_inside, require_regular


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"12345")
    link.symlink_to(file)
    assert (read_given(file), read_given(link)) == (b"12345", b"12345")
    with open_given(file) as stream:
        assert stream.read(2) == b"12"


def test_what_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "loop", Path("/dev/zero"), tmp_path / "missing"):
        for call in (read_given, require_regular):
            with pytest.raises(OSError):
                call(path)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate((1 << 20) + 1)
    with pytest.raises(OSError, match="too large"):
        read_given(tmp_path / "large", most_mib=1)
    assert len(read_given(tmp_path / "large", most_mib=2)) == (1 << 20) + 1


def test_a_link_may_lead_to_its_own_folder_only(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (inside / "good").symlink_to("file")
    (inside / "bad").symlink_to("../file")
    (inside / "folder").symlink_to(tmp_path)
    for name in ("file", "good", "missing"):
        require_inside(inside / name, inside)
    for name in ("bad", "folder/file", "../file", "../insider"):
        with pytest.raises(PermissionError):
            require_inside(inside / name, inside)
