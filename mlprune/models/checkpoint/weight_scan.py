"""Scan weight files once: hash them, and check that every value of the tensors that a model reads is a finite float.

A file is read from start to end in pieces, so memory is bounded and the scan takes about as long as hashing alone.
Tensors that the model does not read are not checked: old checkpoints have masks with infinite values.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ModelError

logger = logging.getLogger(__name__)

LARGE_BYTES = 4 * 10**9
"""Total size of the files from which a log line announces that they are read."""
PIECE_BYTES = 2**24
_LENGTH_BYTES = 8
_EXPONENTS: Mapping[str, tuple[type, int]] = MappingProxyType(
    {
        "F64": (np.uint64, 0x7FF0_0000_0000_0000),
        "F32": (np.uint32, 0x7F80_0000),
        "BF16": (np.uint16, 0x7F80),
        "F16": (np.uint16, 0x7C00),
    }
)
"""Dtype in the header of a file -> integers of the same size, and the bits that are all set in a NaN or an infinity."""


def scan_weights(path: Path, tensors: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Scan the weight files of a model folder.

    Args:
        tensors: file -> names of its tensors that the model reads; none for a file that is only hashed.
    Returns: file -> SHA-256.
    Raises:
        ModelError: a file cannot be read, or a tensor is quantised, not a float, or has a value that is not finite.
    """
    n_bytes = sum((path / file).stat().st_size for file in tensors if (path / file).exists())
    if n_bytes >= LARGE_BYTES:
        logger.warning("reading %.1f GB of weights of %s once, to hash and check them", n_bytes / 1e9, path)
    return {file: _Scan(path / file).run(names) for file, names in sorted(tensors.items())}


class _Scan:
    """Scan of one file; a piece of it is in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._piece = bytearray(PIECE_BYTES)

    def run(self, names: Collection[str]) -> str:
        """Scan the file and return its SHA-256."""
        try:
            with self._path.open("rb", buffering=0) as stream:
                if names:
                    self._tensors(stream, names)
                while self._read(stream, PIECE_BYTES):
                    pass
        except OSError as err:
            raise ModelError("a weight file cannot be read", path=str(self._path), reason=err.strerror) from err
        except (ValueError, KeyError, TypeError, MemoryError, OverflowError, RecursionError) as err:
            message = "the header of a weight file cannot be read"
            raise ModelError(message, path=str(self._path), reason=f"{type(err).__name__}: {err}") from err
        return self._hash.hexdigest()

    def _tensors(self, stream: FileIO, names: Collection[str]) -> None:
        length = stream.read(_LENGTH_BYTES) or b""
        header_bytes = stream.read(int.from_bytes(length, "little")) or b""
        self._hash.update(length + header_bytes)
        header = json.loads(header_bytes)
        at = 0
        for name in sorted(names, key=lambda name: header[name]["data_offsets"]):
            begin, end = header[name]["data_offsets"]
            self._skip(stream, begin - at)
            self._check(stream, name, header[name]["dtype"], n_bytes=end - begin)
            at = end

    def _skip(self, stream: FileIO, n_bytes: int) -> None:
        while n_bytes > 0:
            n_bytes -= self._read(stream, min(n_bytes, PIECE_BYTES)) or n_bytes

    def _check(self, stream: FileIO, name: str, dtype: str, *, n_bytes: int) -> None:
        """Read a tensor and check its values."""
        context = {"path": str(self._path), "tensor": name}
        if dtype not in _EXPONENTS:
            message = "a weight is quantised or an integer; use the original model"
            raise ModelError(message, context, expected=sorted(_EXPONENTS), got=dtype)
        integers, exponent = _EXPONENTS[dtype]
        n_wrong = 0
        while n_bytes > 0:
            n_read = self._read(stream, min(n_bytes, PIECE_BYTES))
            if not n_read:
                raise ModelError("a weight file ends in the middle of a tensor", context)
            values: NDArray[Any] = np.frombuffer(
                self._piece, dtype=integers, count=n_read // np.dtype(integers).itemsize
            )
            n_wrong += int(np.count_nonzero((values & integers(exponent)) == integers(exponent)))
            n_bytes -= n_read
        if n_wrong:
            message = "a weight has values that are not finite; the file is damaged, or the training diverged"
            raise ModelError(message, context, expected="no NaN and no infinity", n_values=n_wrong)

    def _read(self, stream: FileIO, n_bytes: int) -> int:
        """Read up to `n_bytes` into the piece until it is full or the file ends, and hash them."""
        view = memoryview(self._piece)[:n_bytes]
        n_read = 0
        while n_read < n_bytes and (n_more := stream.readinto(view[n_read:])):
            n_read += n_more
        self._hash.update(view[:n_read])
        return n_read
