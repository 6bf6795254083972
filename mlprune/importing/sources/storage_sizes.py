"""Sizes that the pickle of a PyTorch archive gives to its storages, compared with the records that hold the values.

`torch.load` of a mapped file does not compare them: it would read the bytes that follow a record that is too short.
"""

import pickle
import zipfile
from pathlib import Path
from typing import IO

from mlprune.errors import ModelError
from mlprune.importing.sources.archive_records import checked_entries
from mlprune.importing.sources.pickle_names import is_pickle

VALUE_BYTES = {
    "UntypedStorage": 1,
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""Type of a storage -> bytes of a value."""


def check_storage_sizes(path: Path) -> None:
    """Check that every storage of an archive has a record with all of its bytes.

    Raises:
        ModelError: a record is missing or shorter than its storage, or the pickle cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = checked_entries(archive)
            pickled = next(entry for entry in entries if is_pickle(entry.filename))
            with archive.open(pickled) as stream:
                storages = _storages(stream)
    except Exception as err:  # a crafted pickle can raise any error
        raise ModelError("a weight file is damaged", path=str(path), reason=str(err) or type(err).__name__) from err
    folder = pickled.filename.rpartition("/")[0]
    sizes = {entry.filename.casefold(): entry.file_size for entry in entries}
    for key, n_bytes in storages:
        record = f"{folder}/data/{key}"
        got = sizes.get(record.casefold(), 0)
        if got < n_bytes:
            message = "a record of a weight file is shorter than the tensors that it holds"
            raise ModelError(message, path=str(path), record=record, expected=f"{n_bytes} bytes", got=f"{got} bytes")


class _Placeholder:
    """Stand-in for every class and function that a pickle names: nothing of torch is called."""

    def __init__(self, *arguments: object) -> None:
        """Ignore the arguments."""

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore an entry of a dictionary."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state of an object."""


class _StorageUnpickler(pickle.Unpickler):
    """Collect the storages of a pickle."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.storages: list[tuple[str, int]] = []

    def find_class(self, module: str, name: str) -> type[_Placeholder]:
        """Return a stand-in with the name of what the pickle asks for."""
        return type(name, (_Placeholder,), {"__module__": module})

    def persistent_load(self, pid: tuple[str, type[_Placeholder], str, str, int]) -> None:
        """Note the key and the number of bytes of a storage."""
        _, storage_type, key, _, n_values = pid
        self.storages.append((key, n_values * VALUE_BYTES[storage_type.__name__]))


def _storages(stream: IO[bytes]) -> list[tuple[str, int]]:
    """Return (key, number of bytes) of the storages of a pickle."""
    unpickler = _StorageUnpickler(stream)
    unpickler.load()
    return unpickler.storages
