"""Scratch folders: what a process keeps on the disk for as long as it lives. One that was killed leaves its own behind.

They lie in the system's folder for temporary files (`TMPDIR`), and each says whose it is.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlprune.store.process_identity import is_gone, this_process

PREFIX = "mlprune-scratch-"
OWNER = "owner"
"""File that names the process."""


@dataclass(frozen=True)
class Abandoned:
    """A scratch folder whose process has ended."""

    path: Path
    n_bytes: int


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder of this process, which goes when the object does."""
    folder = tempfile.TemporaryDirectory(prefix=PREFIX)
    (Path(folder.name) / OWNER).write_text(this_process() or "", encoding="utf-8")
    return folder


def abandoned_folders() -> list[Abandoned]:
    """The scratch folders here of processes of this machine that have ended.

    A folder without a readable owner, or of a process of which nothing can be known, is none of them.
    """
    found = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    return [Abandoned(path, _size(path)) for path in found if is_gone(_owner(path))]


def remove_abandoned(folder: Abandoned) -> bool:
    """Remove such a folder; whether it is gone."""
    shutil.rmtree(folder.path, ignore_errors=True)
    return not folder.path.exists()


def _owner(path: Path) -> str:
    try:
        return (path / OWNER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
