"""Hash the files of a source, and compare the checksums inside them, in one pass."""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mlprune.errors import ModelError
from mlprune.importing.sources.weight_format import Checksum

_PIECE_BYTES = 2**24


def hash_file(path: Path, checksums: Sequence[Checksum], *, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 of a file.

    Args:
        checksums: of ranges of the file.
        progress: receives the number of bytes of each piece that was read.
    Raises:
        ModelError: a checksum differs: the file is damaged.
        OSError: the file cannot be read.
    """
    state = hashlib.sha256()
    computed = [0] * len(checksums)
    position = 0
    with path.open("rb", buffering=0) as stream:
        while data := stream.read(_PIECE_BYTES):
            state.update(data)
            for number, checksum in enumerate(checksums):
                if checksum.begin < position + len(data) and checksum.end > position:
                    part = memoryview(data)[max(0, checksum.begin - position) : checksum.end - position]
                    computed[number] = zlib.crc32(part, computed[number])
            position += len(data)
            progress(len(data))
    wrong = [checksum.name for checksum, crc32 in zip(checksums, computed, strict=True) if checksum.crc32 != crc32]
    if wrong:
        message = "a weight file is damaged: its checksums differ; get the file again"
        raise ModelError(message, path=str(path), records=wrong[:5], n_records=len(wrong))
    return state.hexdigest()
