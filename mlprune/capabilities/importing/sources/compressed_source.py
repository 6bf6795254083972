"""Folders of compressed-tensors as a source: weights of integer codes, read as values, in pieces.

`pack-quantized`: `NAME.weight_packed` int32 [out, words], packed codes, the lowest bits first, as value + 2^(bits - 1);
`weight_scale` [out, groups], [out, 1] or [1]; `weight_shape` [2]; and for asymmetric levels `weight_zero_point`, packed
along the columns: int32 [words, groups]. `int-quantized` and `naive-quantized`: `NAME.weight` int8 [out, in], with its
scale and zero point as they are. A value is (q - z) * s in the dtype of the scale, as compressed-tensors 0.20 does it.

Activations that a config quantises are not: only weights are read, and the summary says so.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.importing.sources.safetensors_source import SafetensorsReader, find_safetensors
from mlprune.capabilities.importing.sources.weight_format import PIECE_BYTES, Report, TensorSpec, require_finite
from mlprune.errors import ModelError
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.rewritten_files import write_json
from mlprune.models.checkpoint.tensor_slices import TensorSlice, tensor_slices
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.models.import_record import QuantisedTensor
from mlprune.numeric.weights.codes import Codes

CONFIG_KEY = "quantization_config"
METHOD = "compressed-tensors"
PACKED = "pack-quantized"
FORMATS = (PACKED, "int-quantized", "naive-quantized")
"""Formats that are read."""
MIXED = "mixed-precision"
"""Format of a folder whose groups have formats of their own."""
STRATEGIES = ("tensor", "channel", "group")
MAX_BITS = 8
_TYPES: Mapping[str, torch.dtype] = {
    "I8": torch.int8, "I32": torch.int32, "I64": torch.int64,
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32,
}  # fmt: skip
_ENDS = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point")
_OF_ACTIVATIONS = re.compile(r"(.*\.)?(input|output|[qkv])_(scale|zero_point)")
"""Names of tensors that belong to activations."""


@dataclass(frozen=True)
class _Scheme:
    """How the weights of a group of layers are stored."""

    targets: tuple[str, ...]
    bits: int
    group: int | None
    is_symmetric: bool

    def has(self, module: str, *, by_name: bool) -> bool:
        """Whether a target is the name of a module, or a regular expression of it; else, whether one is its class."""
        kind = "Embedding" if "embed" in module.rpartition(".")[2] else "Linear"
        if not by_name:
            return kind in self.targets
        return any(
            bool(re.match(target[3:], module)) if target.startswith("re:") else target == module
            for target in self.targets
        )


def find_compressed(folder: Path) -> tuple[str, ...]:
    """Return the names of the weight files of a folder of compressed-tensors; empty if it is another folder.

    Raises:
        ModelError: the index is damaged.
    """
    if not (folder / "config.json").is_file():
        return ()
    config = read_json_object(folder / "config.json").get(CONFIG_KEY)
    is_compressed = isinstance(config, Mapping) and config.get("quant_method") == METHOD
    return find_safetensors(folder) if is_compressed else ()


def prepare_compressed(source: Path, target: Path) -> None:
    """Write the config of a folder without its quantisation to another folder.

    Raises:
        ModelError: the format is not read here.
    """
    config = read_json_object(source / "config.json")
    _schemes(config, source)
    write_json(target / "config.json", {key: value for key, value in config.items() if key != CONFIG_KEY})


@contextmanager
def open_compressed(folder: Path, report: Report) -> Iterator["CompressedReader"]:
    """Open the weight files of a folder.

    Raises:
        ModelError: the format is not read here, or a file is damaged.
    """
    reader = CompressedReader(folder)
    report(f"the codes of {folder.name} are read as values: {reader.quantization}")
    yield reader


class CompressedReader:
    """Weights of a folder under their names in the model; one piece is in memory at a time.

    Raises:
        ModelError: the format is not read here, or tensors are missing or do not fit together.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schemes, self._notes = _schemes(read_json_object(folder / "config.json"), folder)
        self._plain = SafetensorsReader(folder)
        self._slices = {file: tensor_slices(folder / file) for file in sorted({one.file for one in self._plain.specs})}
        self._files = {spec.name: spec.file for spec in self._plain.specs}
        coded = {spec.name: spec for spec in map(self._coded, self._plain.specs) if spec is not None}
        codes = {spec.name.removesuffix("weight") for spec in coded.values()}
        parts = {prefix + end for prefix in codes for end in _ENDS}
        others = [
            spec
            for spec in self._plain.specs
            if spec.name not in parts and spec.name not in coded and not _OF_ACTIVATIONS.fullmatch(spec.name)
        ]
        self._specs = (*others, *coded.values())

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All weights."""
        return self._specs

    @property
    def quantization(self) -> str:
        """Number of tensors of each kind, and what is not read."""
        kinds = Counter(str(spec.dtype)[6:] if spec.codes is None else spec.codes.kind for spec in self._specs)
        return "; ".join((", ".join(f"{kind}: {number}" for kind, number in kinds.most_common()), *self._notes))

    def pieces(self, spec: TensorSpec) -> Iterator[Tensor]:
        """Yield the values of a tensor; see `WeightReader`."""
        if spec.codes is None:
            yield from self._plain.pieces(spec)
            return
        module, (n_rows, n_inputs) = spec.name.removesuffix("weight"), spec.shape
        zeros, step = self._zeros(module, spec), max(1, PIECE_BYTES // (spec.dtype.itemsize * max(1, n_inputs)))
        for first in range(0, n_rows, step):
            rows = slice(first, min(first + step, n_rows))
            values = self._dequantised(module, spec, rows, zeros=None if zeros is None else zeros[rows])
            yield require_finite(values, self._folder / spec.file, spec.name).view(-1)

    def _coded(self, spec: TensorSpec) -> TensorSpec | None:
        """Return the weight that a tensor of codes contains; None for another tensor.

        Raises:
            ModelError: tensors of the weight are missing or do not fit together.
        """
        is_packed = spec.name.endswith(".weight_packed")
        if not is_packed and spec.dtype != torch.int8:
            return None
        if not is_packed and not spec.name.endswith(".weight"):
            return None
        module = spec.name.removesuffix("weight_packed").removesuffix("weight")
        scheme, scale = self._scheme_of(module.removesuffix("."), spec), self._slice(f"{module}weight_scale", spec)
        shape = self._shape(module, spec) if is_packed else spec.shape
        zeros = None if scheme.is_symmetric else self._slice(f"{module}weight_zero_point", spec)
        self._check(spec, scheme, shape, is_packed=is_packed)
        parts = [self._slice(spec.name, spec), scale, *([] if zeros is None else [zeros])]
        codes = QuantisedTensor(
            f"int{scheme.bits}", scheme.bits, sum(part.n_bytes for part in parts), scheme.group, scheme.is_symmetric
        )
        dtype, name = _TYPES.get(scale.type_name, torch.int8), f"{module}weight"
        if not dtype.is_floating_point:
            raise self._does_not_fit(spec, f"{module}weight_scale", expected="floats", got=scale.type_name)
        return TensorSpec(name, shape, dtype, spec.file, storage=(spec.file, name), codes=codes)

    def _scheme_of(self, module: str, spec: TensorSpec) -> _Scheme:
        """Return how a module is stored: as a target of its name says, else as one of its class."""
        for by_name in (True, False):
            found = {scheme for scheme in self._schemes if scheme.has(module, by_name=by_name)}
            if len(found) == 1:
                return found.pop()
        expected = "one group of config_groups whose targets have the layer"
        raise self._does_not_fit(spec, spec.name, expected=expected, got=len(found))

    def _check(self, spec: TensorSpec, scheme: _Scheme, shape: tuple[int, ...], *, is_packed: bool) -> None:
        """Check that codes, scales and zero points have the shapes that follow from the shape of the weight."""
        if len(shape) != 2 or min(shape) < 1:
            raise self._does_not_fit(spec, spec.name, expected="a matrix", got=shape)
        (n_rows, n_inputs), module = shape, spec.name.removesuffix("weight_packed").removesuffix("weight")
        n_groups = 1 if scheme.group is None else -(-n_inputs // scheme.group)
        of_tensor: list[tuple[int, ...]] = [(n_rows,), (1,), (1, 1), ()] if scheme.group is None else []
        of_row = {(n_rows, n_groups), *of_tensor}
        expected = {f"{module}weight_scale": of_row}
        if is_packed:
            expected[spec.name] = {(n_rows, -(-n_inputs * scheme.bits // 32))}
        if not scheme.is_symmetric:
            name = f"{module}weight_zero_point"
            packed: set[tuple[int, ...]] = {(-(-n_rows * scheme.bits // 32), n_groups)}
            expected[name] = packed if self._slice(name, spec).type_name == "I32" else of_row
        for name, shapes in expected.items():
            if (got := self._slice(name, spec).shape) not in shapes:
                raise self._does_not_fit(spec, name, expected=sorted(shapes)[-1], got=got)

    def _shape(self, module: str, spec: TensorSpec) -> tuple[int, ...]:
        values = self._read(f"{module}weight_shape", self._slice(f"{module}weight_shape", spec))
        return tuple(values.flatten().tolist())

    def _slice(self, name: str, spec: TensorSpec) -> TensorSlice:
        """Return where a tensor is. Scales may be in another file than codes."""
        if name not in self._files:
            raise self._does_not_fit(spec, name, expected="the tensor", got="none")
        return self._slices[self._files[name]][name]

    def _read(self, name: str, stored: TensorSlice, rows: slice = slice(None)) -> Tensor:
        """Read rows of a tensor without mapping its file."""
        path = self._folder / self._files[name]
        if stored.type_name not in _TYPES:
            message = "a tensor of codes has an unknown type"
            raise ModelError(message, path=str(path), tensor=name, expected=sorted(_TYPES), got=stored.type_name)
        dtype = _TYPES[stored.type_name]
        first, last, _ = rows.indices(stored.shape[0] if stored.shape else 1)
        row_bytes = dtype.itemsize * prod(stored.shape[1:])
        with path.open("rb") as stream:
            stream.seek(stored.begin + first * row_bytes)
            data = bytearray(stream.read((last - first) * row_bytes))
        return torch.frombuffer(data, dtype=dtype).view((last - first, *stored.shape[1:]) if stored.shape else ())

    def _zeros(self, module: str, spec: TensorSpec) -> Tensor | None:
        """Return the zero points, [out, groups] or [out, 1] as codes from 0; None if they are in the middle."""
        assert spec.codes is not None, "the weight has codes"
        if spec.codes.is_symmetric:
            return None
        name = f"{module}weight_zero_point"
        stored = self._read(name, self._slice(name, spec))
        if stored.dtype != torch.int32:
            own = stored.to(torch.int16).add_(2 ** (spec.codes.bits - 1))
            return own if own.dim() == 2 and len(own) > 1 else own.view(-1, 1).expand(spec.shape[0], -1)
        layout = torch.tensor([spec.shape[0], spec.codes.bits, 0])
        words = {"codes": stored.T.contiguous(), "scales": torch.ones(stored.shape[1], 1), "shape": layout}
        zeros: Tensor = Codes.of_tensors(words).values.to(torch.int16).T
        return zeros

    def _dequantised(self, module: str, spec: TensorSpec, rows: slice, *, zeros: Tensor | None) -> Tensor:
        """Return the values of some rows, in the dtype of the scales."""
        assert spec.codes is not None, "the weight has codes"
        codes, n_rows = spec.codes, rows.stop - rows.start
        of_scale = self._slice(f"{module}weight_scale", spec)
        is_per_row = prod(of_scale.shape) > 1 or spec.shape[0] == 1
        scales = self._read(f"{module}weight_scale", of_scale, rows if is_per_row else slice(None))
        scales = scales.view(-1, 1).expand(n_rows, -1) if codes.group is None else scales
        middle, n_inputs = 2 ** (codes.bits - 1), spec.shape[1]

        def spread(of_groups: Tensor) -> Tensor:
            return of_groups.repeat_interleave(codes.group or n_inputs, dim=1)[:, :n_inputs]

        name = f"{module}weight_packed"
        if name in self._files:
            words = self._read(name, self._slice(name, spec), rows)
            layout = torch.tensor([n_inputs, codes.bits, 0])
            unpacked = Codes.of_tensors({"codes": words, "scales": scales[:, :1], "shape": layout})
            stored = unpacked.values.to(torch.int16)
        else:
            stored = self._read(spec.name, self._slice(spec.name, spec), rows).to(torch.int16) + middle
        return (stored - (middle if zeros is None else spread(zeros))).to(scales.dtype).mul_(spread(scales))

    def _does_not_fit(self, spec: TensorSpec, name: str, *, expected: object, got: object) -> ModelError:
        message = "the codes of a weight do not fit together: the folder is damaged, or of another format"
        return ModelError(message, path=str(self._folder / spec.file), tensor=name, expected=expected, got=got)


def _schemes(config: JsonObject, folder: Path) -> tuple[tuple[_Scheme, ...], tuple[str, ...]]:
    """Return how weights are stored, and what a folder quantises that is not read.

    Raises:
        ModelError: a format is not read here.
    """
    values, path = config.get(CONFIG_KEY), folder / "config.json"
    assert isinstance(values, Mapping), "the folder was found by this key"
    try:
        groups = list(values["config_groups"].values())  # type: ignore[union-attr]
        formats = [str(group.get("format") or values.get("format")) for group in groups]
        schemes = tuple(_scheme(group) for group in groups if group.get("weights"))
        notes = [
            f"{what} quantised in the source, not here"
            for key, what in (("input_activations", "activations are"), ("output_activations", "outputs are"))
            if any(group.get(key) for group in groups)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        message = "the quantization_config of a folder cannot be read"
        raise ModelError(message, path=str(path), reason=str(err) or type(err).__name__) from err
    sparsity = values.get("sparsity_config") or {}
    sparse = str(sparsity.get("format") or "dense") if isinstance(sparsity, Mapping) else str(sparsity)
    unread = [one for one in (*formats, *([] if sparse == "dense" else [sparse])) if one not in FORMATS]
    unread += [] if values.get("quantization_status", "compressed") == "compressed" else ["uncompressed"]
    if unread or not schemes:
        message = "a format of compressed-tensors is not read: only integer codes of weights are"
        expected = {"format": FORMATS, "strategy": STRATEGIES}
        raise ModelError(message, path=str(path), expected=expected, got=unread or "no weights")
    if values.get("kv_cache_scheme"):
        notes.append("the cache is quantised in the source, not here")
    return schemes, tuple(notes)


def _scheme(group: JsonObject) -> _Scheme:
    """Return how the weights of a group are stored.

    Raises:
        ValueError: it is not read here.
    """
    weights, targets = group["weights"], group["targets"]
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights of a group are {weights!r}")
    bits, strategy, size = weights["num_bits"], weights["strategy"], weights.get("group_size")
    read = {"type": "int", "num_bits": f"1 to {MAX_BITS}", "strategy": STRATEGIES, "dynamic": False}
    is_read = weights.get("type", "int") == "int" and strategy in STRATEGIES and not weights.get("dynamic")
    is_read &= isinstance(bits, int) and 1 <= bits <= MAX_BITS
    is_read &= strategy != "group" or (isinstance(size, int) and size > 0)
    is_read &= weights.get("actorder") not in ("group", "activation")
    if not is_read:
        raise ValueError(f"its weights are {dict(weights)}; read are {read}")
    own = size if strategy == "group" else None
    is_symmetric = bool(weights.get("symmetric", True))
    return _Scheme(tuple(targets), bits, own, is_symmetric)  # type: ignore[arg-type]
