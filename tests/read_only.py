"""Folders that the test's process may not write to, even if it is root's."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION_3 = 0x20080522
_BYPASS = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: permissions of files do not hold for a process that has them."""
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Remove the permission to write to a folder and the files and folders in it, for the duration of the context."""
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path in reversed(paths):
        path.chmod(0o555 if path.is_dir() else 0o444)
    header, data = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _call(_LIBC.capget, header, data)
    effective = data[0]
    try:
        data[0] = effective & ~_BYPASS
        _call(_LIBC.capset, header, data)
        yield folder
    finally:
        data[0] = effective
        _call(_LIBC.capset, header, data)
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def _call(function: object, *arguments: object) -> None:
    if function(*arguments) != 0:  # type: ignore[operator]
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
