"""Scratch folders: temporary files of one process, which stay on the disk if the process is killed.

They are in the system's folder for temporary files (`TMPDIR`), and each contains the name of its process.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlprune.processes.process_identity import is_gone, this_process

PREFIX = "mlprune-scratch-"
OWNER = "owner"
"""Name of the file that contains the process identity."""


@dataclass(frozen=True)
class Abandoned:
    """A scratch folder whose process has ended."""

    path: Path
    n_bytes: int


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Create a folder for this process; it is removed together with the returned object."""
    folder = tempfile.TemporaryDirectory(prefix=PREFIX)
    (Path(folder.name) / OWNER).write_text(this_process() or "", encoding="utf-8")
    return folder


def abandoned_folders() -> list[Abandoned]:
    """List the scratch folders of this machine whose process has ended.

    A folder without a readable owner, or of a process of which nothing is known, is not listed.
    """
    folders = sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    return [Abandoned(folder, _size(folder)) for folder in folders if is_gone(_owner(folder))]


def remove_abandoned(folder: Abandoned) -> bool:
    """Remove an abandoned folder; return whether it is gone."""
    shutil.rmtree(folder.path, ignore_errors=True)
    return not folder.path.exists()


def _owner(path: Path) -> str:
    try:
        return (path / OWNER).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
