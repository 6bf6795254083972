"""Check that a disk has room for the files of an import."""

import shutil
from pathlib import Path

from mlprune.errors import ModelError

RESERVE_BYTES = 2**26
"""Free space that is left on the disk."""


def require_space(folder: Path, n_bytes: int, *, purpose: str) -> None:
    """Check that the disk of a folder has room for some bytes.

    Args:
        folder: it exists.
        purpose: what the bytes are for, for the message.
    Raises:
        ModelError: the disk is too small.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes + RESERVE_BYTES > free:
        expected, got = f"{(n_bytes + RESERVE_BYTES) / 1e9:.2f} GB", f"{free / 1e9:.2f} GB free"
        raise ModelError(f"the disk is too small for the {purpose}", path=str(folder), expected=expected, got=got)
