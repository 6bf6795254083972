"""Archives of PyTorch: their records, the names they ask for, and the sizes of storages.

Names that a PyTorch file asks for, found without unpickling anything.

`torch.load(weights_only=True)` refuses unknown names itself. This scan comes first: it allows fewer names, and its
error contains the refused name.

Sizes that the pickle of a PyTorch archive gives to its storages, compared with the records that hold the values.

`torch.load` of a mapped file does not compare them: it would read the bytes that follow a record that is too short.
"""

import pickle
import pickletools
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlprune.capabilities.importing.sources.weight_format import Checksum
from mlprune.errors import ModelError

_LOCAL_HEADER_BYTES = 30
_LENGTHS_OFFSET = 26
"""Place of the lengths of name and extra field in a local header."""
ALLOWED_NAMES = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch.nn.parameter.Parameter",
        "torch.Size",
        "torch.Tensor",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        *(
            f"torch.{kind}{suffix}"
            for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
            for suffix in ("Storage", "Tensor")
        ),
    }
)
"""Everything that a file of tensors needs: dictionaries, tensors and their storages."""
N_LEGACY_PICKLES = 5
"""Pickles at the start of a file in the old format: magic number, version, system, tensors, keys of storages."""
MAX_PICKLE_BYTES = 2**28
"""Largest pickle inside an archive. It describes the tensors; that of a large model has less than a megabyte."""
PICKLE_FILE = "data.pkl"
STRING_OPCODES = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING"})
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


def is_archive(path: Path) -> bool:
    """Whether a PyTorch file has the format of a zip archive; otherwise it has the old format."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def record_checksums(path: Path) -> tuple[Checksum, ...]:
    """Return the checksums of the records of a file; none for the old format, or if they were switched off.

    `torch.load` does not compare them.

    Raises:
        ModelError: the archive is damaged, has two records of one name, or compresses a record.
    """
    try:
        if not is_archive(path):
            return ()
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return tuple(_checksum(entry, stream) for entry in checked_entries(archive) if entry.CRC)
    except (OSError, struct.error, zipfile.BadZipFile, NotImplementedError) as err:
        raise ModelError("a weight file is damaged", path=str(path), reason=str(err)) from err


def checked_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the records of an archive. `torch.load` finds a record without regard to upper and lower case.

    Raises:
        BadZipFile: two records have the same name, or a record is compressed.
    """
    entries = archive.infolist()
    names = {entry.filename.casefold() for entry in entries}
    if len(names) < len(entries) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise zipfile.BadZipFile("records are compressed or occur twice; torch.save writes no such files")
    return entries


def _checksum(entry: zipfile.ZipInfo, stream: IO[bytes]) -> Checksum:
    stream.seek(entry.header_offset)
    n_name, n_extra = struct.unpack_from("<HH", stream.read(_LOCAL_HEADER_BYTES), _LENGTHS_OFFSET)
    begin = entry.header_offset + _LOCAL_HEADER_BYTES + n_name + n_extra
    return Checksum(entry.filename, begin, begin + entry.file_size, entry.CRC)


def check_pickle_names(path: Path) -> None:
    """Check that a PyTorch file asks for nothing but tensors.

    Raises:
        ModelError: it asks for another name, or it is damaged.
    """
    refused: list[str] = []
    damage: Exception | None = None
    try:
        refused.extend(name for name in _names_in_file(path) if name not in ALLOWED_NAMES)
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as err:
        damage = err
    if refused:
        message = "a weight file asks for more than tensors and was not loaded: loading it could run code"
        raise ModelError(message, path=str(path), got=list(dict.fromkeys(refused)), expected="a file of tensors")
    if damage is not None:
        reason = str(damage) or type(damage).__name__
        raise ModelError("a weight file is damaged or not a PyTorch file", path=str(path), reason=reason) from damage


def _full_name(module: str, name: str) -> str:
    """Return a name as Python 3 knows it: pickles of protocol 2 have Python 2's names of modules."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    if module in ("posix", "nt"):
        return f"{module}.{name} (os.{name})"
    return f"{module}.{name}"


def _names_in_file(path: Path) -> Iterator[str]:
    if not is_archive(path):
        with path.open("rb") as stream:
            for _ in range(N_LEGACY_PICKLES):
                yield from _names_in_pickle(stream)
        return
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in checked_entries(archive) if is_pickle(entry.filename)]
        if len(entries) != 1 or entries[0].file_size > MAX_PICKLE_BYTES:
            names = [entry.filename for entry in entries]
            raise ValueError(f"expected one {PICKLE_FILE} of at most {MAX_PICKLE_BYTES} bytes, got {names}")
        with archive.open(entries[0]) as stream:
            yield from _names_in_pickle(stream)


def is_pickle(record: str) -> bool:
    """Whether a record is the pickle; `torch.load` ignores upper and lower case."""
    return record.rpartition("/")[2].casefold() == PICKLE_FILE


def _names_in_pickle(stream: IO[bytes]) -> Iterator[str]:
    """Yield the names that a pickle imports; the stream is left after its end."""
    pushed: list[object] = ["", ""]
    memo: dict[object, object] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            module, _, attribute = str(argument).partition(" ")
            yield _full_name(module, attribute)
            pushed.append(None)
        elif name == "STACK_GLOBAL":
            yield _full_name(str(pushed[-2]), str(pushed[-1]))
            pushed.append(None)
        elif name in ("EXT1", "EXT2", "EXT4"):
            yield f"extension {argument}"
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else argument] = pushed[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            pushed.append(memo.get(argument))
        elif name in STRING_OPCODES:
            pushed.append(argument)
        del pushed[:-2]


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
        """Return a placeholder with the name of what the pickle asks for."""
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
