"""Checkpoints of a recovery that runs: one file per job, replaced as a whole, with a hash of its content.

The file begins with the SHA-256 of everything after it. A file that is damaged counts as missing: the job begins again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mlprune.capabilities.recovery.records import FOLDER
from mlprune.json_values import Row
from mlprune.store.store import Store

_HASH_BYTES = 32


@dataclass(frozen=True)
class Progress:
    """How far a recovery is."""

    step: int
    """Steps that were taken."""
    best_step: int
    """Steps after which the best state was measured."""
    best_loss: float
    """Held-out loss of that state."""
    rows: tuple[Row, ...]
    """Of table `recovery_losses`, so far."""


class CheckpointFile:
    """The checkpoint of one job.

    Args:
        name: of the job; a job with other settings has another one.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._path = f"{FOLDER}/{name}.bin"

    def write(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Replace the file."""
        text = json.dumps(asdict(progress)).encode()
        stored = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        data = len(text).to_bytes(8, "little") + text + save(stored)
        self._store.write(self._path, hashlib.sha256(data).digest() + data)

    def read(self) -> tuple[Progress, Mapping[str, Tensor]] | None:
        """Return what was written; None if there is no file, or it is damaged."""
        content = self._store.read_file(self._path)
        if content is None or hashlib.sha256(content[_HASH_BYTES:]).digest() != content[:_HASH_BYTES]:
            return None
        start = _HASH_BYTES + 8
        end = start + int.from_bytes(content[_HASH_BYTES:start], "little")
        try:
            values = json.loads(content[start:end])
            return Progress(**{**values, "rows": tuple(values["rows"])}), load(content[end:])
        except (SafetensorError, ValueError, TypeError, KeyError):
            return None

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self._store.delete(self._path)
