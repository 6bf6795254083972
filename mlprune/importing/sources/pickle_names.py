"""Names that a PyTorch file asks for, found without unpickling anything.

`torch.load(weights_only=True)` refuses unknown names itself. This scan comes first: it allows fewer names, and its
error contains the refused name.
"""

import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mlprune.errors import ModelError
from mlprune.importing.sources.archive_records import checked_entries, is_archive

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
