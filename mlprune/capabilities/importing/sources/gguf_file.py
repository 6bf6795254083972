"""The header of a GGUF file: its metadata, and the places of its tensors.

Numbers are little-endian. A text is its length (8 bytes) and its bytes. The file begins with the magic, the version (4
bytes), the number of tensors and of metadata entries (8 each); then the entries (key, type, value) and the tensors
(name, number of dimensions, sizes, type, offset). The values begin at the next multiple of the alignment.
"""

import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import ModuleType

from mlprune.errors import ModelError

INSTALL = "pip install -e '.[gguf]'"
MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_HEADER_BYTES = 64 << 20
"""Size of the longest header that is read; most of it is the vocabulary, which has less than 10 MiB."""
_NUMBERS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
"""Type of a metadata value -> its layout."""
_TEXT, _LIST = 8, 9
_MAX_LISTED = 5
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of a file."""

    name: str
    shape: tuple[int, ...]
    """As in PyTorch: the last dimension is contiguous."""
    quantization: str
    """Such as `Q4_K` or `F32`."""
    begin: int
    """First byte, from the start of the file."""
    row_bytes: int
    """Size of one row of the last dimension."""


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensors of a file."""

    path: Path
    metadata: Mapping[str, object]
    """Key -> value; of lists, only the length."""
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        """Type of model, as llama.cpp names it."""
        return str(self.metadata.get("general.architecture"))

    @property
    def settings(self) -> Mapping[str, object]:
        """Metadata of the architecture: the key without the architecture -> value."""
        prefix = f"{self.architecture}."
        return {key.removeprefix(prefix): value for key, value in self.metadata.items() if key.startswith(prefix)}

    @property
    def quantization(self) -> str:
        """Number of tensors of each type, such as `Q4_K: 27, F32: 109`; the type with most values first."""
        n_values: Counter[str] = Counter()
        n_tensors: Counter[str] = Counter()
        for tensor in self.tensors:
            n_values[tensor.quantization] += prod(tensor.shape)
            n_tensors[tensor.quantization] += 1
        return ", ".join(f"{name}: {n_tensors[name]}" for name, _ in n_values.most_common())


def find_gguf(folder: Path) -> tuple[str, ...]:
    """Return the name of the GGUF file of a folder, as a tuple of one name; empty if it has none.

    Raises:
        ModelError: the folder has several.
    """
    names = tuple(sorted(path.name for path in folder.glob("*.gguf")))
    if len(names) > 1:
        message = "the folder has several GGUF files; pass the path of the one to import"
        raise ModelError(message, path=str(folder), got=list(names[:_MAX_LISTED]), n_files=len(names))
    return names


def require_gguf(path: Path) -> ModuleType:
    """Return the `gguf` package, which knows the types of tensors. It is an extra: only this source needs it.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import gguf  # noqa: PLC0415 - an extra
    except ImportError as err:
        message = f"reading a GGUF file needs the gguf package; install it with {INSTALL}"
        raise ModelError(message, path=str(path)) from err
    module: ModuleType = gguf
    return module


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file; no tensor is read.

    Raises:
        ModelError: the `gguf` package is missing, the file is damaged, or it is one part of several.
    """
    gguf = require_gguf(path)
    try:
        with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
            header = _HeaderParser(path, data, gguf).parse()
    except (struct.error, ValueError, IndexError, KeyError, OverflowError, RecursionError) as err:
        reason = str(err) or type(err).__name__
        raise ModelError("a GGUF file is damaged or not a GGUF file", path=str(path), reason=reason) from err
    except OSError as err:
        raise ModelError("a GGUF file cannot be read", path=str(path), reason=err.strerror) from err
    n_parts = header.metadata.get("split.count", 1)
    if isinstance(n_parts, int) and n_parts > 1:
        message = "the GGUF file is one part of several; merge the parts into one file first"
        raise ModelError(message, path=str(path), n_parts=n_parts)
    return header


class _HeaderParser:
    """Parse a header from its start; `_at` is the next byte."""

    def __init__(self, path: Path, data: mmap, gguf: ModuleType) -> None:
        self._path = path
        self._data = data
        self._gguf = gguf
        self._at = 0

    def parse(self) -> GgufHeader:
        magic, self._at = self._data[: len(MAGIC)], len(MAGIC)
        version = self._number("<I")
        if magic != MAGIC or version not in VERSIONS:
            raise ValueError(f"expected {MAGIC!r} and a version of {VERSIONS}, got {magic!r} and {version}")
        n_tensors, n_entries = self._number("<Q"), self._number("<Q")
        metadata = {}
        for _ in range(n_entries):
            key = self._text()
            if key in metadata:
                raise ValueError(f"the key {key!r} occurs twice")
            metadata[key] = self._value(self._number("<I"))
        tensors = [self._tensor() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"alignment {alignment}")
        begin = -(-self._at // alignment) * alignment
        placed = tuple(self._placed(*tensor, first=begin) for tensor in tensors)
        return GgufHeader(self._path, metadata, placed)

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        self._require_header()
        return value  # type: ignore[no-any-return] # also floats and booleans, which only the metadata has

    def _require_header(self) -> None:
        """Check that the next byte is in the file, and that the header is not too long."""
        if self._at > len(self._data):
            raise ValueError("the file ends in the middle of its header")
        if self._at > MAX_HEADER_BYTES:
            raise ValueError(f"its header has more than {MAX_HEADER_BYTES >> 20} MiB")

    def _text(self) -> str:
        begin = self._at + 8
        self._at = begin + self._number("<Q")
        self._require_header()
        return self._data[begin : self._at].decode("utf-8", errors="replace")

    def _value(self, kind: int) -> object:
        """Read a value; of a list, return the length."""
        if kind == _TEXT:
            return self._text()
        if kind != _LIST:
            return self._number(_NUMBERS[kind])
        kind, length = self._number("<I"), self._number("<Q")
        if kind in _NUMBERS:
            self._at += length * struct.calcsize(_NUMBERS[kind])
            self._require_header()
        else:
            for _ in range(length):
                self._value(kind)
        return length

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Read name, shape, type and offset of a tensor."""
        name, n_dimensions = self._text(), self._number("<I")
        if n_dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"{name} has {n_dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(n_dimensions))
        return name, shape[::-1], self._number("<I"), self._number("<Q")

    def _placed(self, name: str, shape: tuple[int, ...], kind: int, offset: int, *, first: int) -> GgufTensor:
        quantization = self._gguf.GGMLQuantizationType(kind)
        block_size, block_bytes = self._gguf.GGML_QUANT_SIZES[quantization]
        row_bytes, begin = shape[-1] // block_size * block_bytes, first + offset
        if shape[-1] % block_size or begin + prod(shape[:-1]) * row_bytes > len(self._data):
            raise ValueError(f"the file ends in the middle of {name}, or its rows are not whole blocks")
        return GgufTensor(name, shape, quantization.name, begin=begin, row_bytes=row_bytes)
