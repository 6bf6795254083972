"""Hidden states of many batches under keys, of which those beyond a limit are kept on the disk.

The states of all demonstrations of a set can be larger than the memory. The first ones stay in memory; each of the
others is a file in a scratch folder, which is read when its batch runs. Positions and masks, the other arguments of a
block, stay in memory.
"""

import tempfile
from collections.abc import Hashable, Iterator, MutableMapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mlprune.errors import ModelError
from mlprune.models.messages import SweepStates, on_device
from mlprune.models.placement.memory_estimate import MAX_STATE_BYTES
from mlprune.store.scratch import scratch_folder

_HIDDEN = "hidden"


class SpilledStates(MutableMapping[Hashable, SweepStates]):
    """Key -> states of a batch. Threads may use different keys at the same time.

    A key stays in memory or on the disk as long as it has states. States come back on the device where they were.
    """

    def __init__(self) -> None:
        self._states: dict[Hashable, SweepStates] = {}
        self._n_bytes: dict[Hashable, int] = {}
        """Key in memory -> bytes."""
        self._total = 0
        """Bytes of all keys in memory."""
        self._files: dict[Hashable, Path] = {}
        self._n_files = 0
        self._lock = Lock()

    def __getitem__(self, key: Hashable) -> SweepStates:
        """Return the states of a batch.

        Raises:
            KeyError: there are none.
            ModelError: the scratch folder is gone.
        """
        kept, path = self._states[key], self._files.get(key)
        if path is None:
            return kept
        try:
            hidden = load_file(path)[_HIDDEN]
        except (OSError, SafetensorError) as err:
            raise ModelError("spilled hidden states are gone", path=str(path), reason=str(err)) from err
        hidden = on_device(hidden, kept.states.hidden.device)
        return replace(kept, states=replace(kept.states, hidden=hidden))

    def __setitem__(self, key: Hashable, states: SweepStates) -> None:
        """Keep the states of a batch; they replace earlier ones.

        Raises:
            ModelError: the scratch folder cannot be written.
        """
        hidden = states.states.hidden
        with self._lock:
            path = self._place(key, hidden.nbytes)
        if path is not None:
            try:
                save_file({_HIDDEN: hidden.cpu().contiguous()}, path)
            except (OSError, SafetensorError) as err:
                raise ModelError("the scratch folder cannot be written", path=str(path), reason=str(err)) from err
            nothing = torch.empty(0, dtype=hidden.dtype, device=hidden.device)
            states = replace(states, states=replace(states.states, hidden=nothing))
        self._states[key] = states

    def __delitem__(self, key: Hashable) -> None:
        """Forget the states of a batch."""
        with self._lock:
            del self._states[key]
            self._total -= self._n_bytes.pop(key, 0)
            path = self._files.pop(key, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget all states, without reading any."""
        for key in list(self._states):
            del self[key]

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the keys."""
        return iter(self._states)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._states)

    def _place(self, key: Hashable, n_bytes: int) -> Path | None:
        """Return the file of a key, None if its states stay in memory."""
        is_new = key not in self._n_bytes and key not in self._files
        if is_new and self._total + n_bytes > MAX_STATE_BYTES:
            self._files[key] = Path(self._folder.name) / f"{self._n_files}.safetensors"
            self._n_files += 1
        if key not in self._files:
            self._total += n_bytes - self._n_bytes.get(key, 0)
            self._n_bytes[key] = n_bytes
        return self._files.get(key)

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return scratch_folder()
