"""GGUF files of llama.cpp as a source: weights are dequantised to float32, tensor by tensor.

The file has weights of few bits, so the imported model is not the published one. The `gguf` package, which belongs
to llama.cpp, dequantises. transformers writes config and tokenizer, see `mlprune.importing.sources.gguf_config`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import ModelError
from mlprune.importing.sources.gguf_file import GgufHeader, GgufTensor, find_gguf, read_header, require_gguf
from mlprune.importing.sources.gguf_names import (
    Values,
    architecture_of,
    in_model_order,
    is_shifted_norm,
    model_tensor_name,
    rotary_heads,
)
from mlprune.importing.sources.weight_format import PIECE_BYTES, Report, TensorSpec

_MAX_LISTED = 5


@contextmanager
def open_gguf(folder: Path, report: Report) -> Iterator["GgufReader"]:
    """Open the GGUF file of a folder.

    Raises:
        ModelError: the file cannot be read, or has tensors of another kind of model.
    """
    header = read_header(folder / find_gguf(folder)[0])
    report(f"{header.path.name} is dequantised; types of its tensors: {header.quantization}")
    yield GgufReader(header)


class GgufReader:
    """Tensors of a GGUF file under their names in the model, float32; one piece is in memory at a time.

    Raises:
        ModelError: the architecture or a tensor is not known.
    """

    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self._architecture = architecture_of(header.architecture, str(header.path))
        self._tensors: dict[str, GgufTensor] = {}
        unexpected = []
        for tensor in header.tensors:
            name = model_tensor_name(tensor.name, self._architecture)
            if name is None:
                unexpected.append(tensor.name)
            else:
                self._tensors[name] = tensor
        if unexpected:
            message = "a GGUF file has tensors that its model does not have"
            context = {"path": str(header.path), "architecture": header.architecture}
            raise ModelError(message, context, tensors=unexpected[:_MAX_LISTED], n_tensors=len(unexpected))

    @property
    def quantization(self) -> str:
        """Types of the tensors, with the number of tensors of each."""
        return self._header.quantization

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """All tensors, in the order of the file."""
        file = self._header.path.name
        return tuple(
            TensorSpec(name, tensor.shape, torch.float32, file=file, storage=(file, name))
            for name, tensor in self._tensors.items()
        )

    def pieces(self, spec: TensorSpec) -> Iterator[Tensor]:
        """Yield the values of a tensor; see `WeightReader`. Tensors whose rows are reordered come in one piece."""
        tensor = self._tensors[spec.name]
        heads = self._rotary_heads(tensor)
        n_rows = prod(tensor.shape[:-1])
        step = n_rows if heads else max(1, PIECE_BYTES // (4 * tensor.shape[-1]))
        for first in range(0, n_rows, step):
            values = self._dequantized(tensor, first, min(step, n_rows - first))
            if is_shifted_norm(tensor.name, self._architecture):
                values = values - np.float32(1)
            if heads:
                values = in_model_order(values, heads)
            yield torch.from_numpy(np.array(values, dtype=np.float32)).view(-1)

    def _rotary_heads(self, tensor: GgufTensor) -> int:
        heads = self._setting("attention.head_count", 0)
        key_heads = self._setting("attention.head_count_kv", heads)
        return rotary_heads(tensor.name, self._architecture, heads=heads, key_heads=key_heads)

    def _setting(self, name: str, default: int) -> int:
        return int(str(self._header.metadata.get(f"{self._header.architecture}.{name}", default)))

    def _dequantized(self, tensor: GgufTensor, first: int, n_rows: int) -> Values:
        """Read and dequantise some rows: [n_rows, last dimension], float32."""
        gguf, context = require_gguf(self._header.path), {"path": str(self._header.path), "tensor": tensor.name}
        with self._header.path.open("rb") as stream:
            stream.seek(tensor.begin + first * tensor.row_bytes)
            data = stream.read(n_rows * tensor.row_bytes)
        rows = np.frombuffer(data, dtype=np.uint8).reshape(n_rows, tensor.row_bytes)
        try:
            values: Values = gguf.dequantize(rows, gguf.GGMLQuantizationType[tensor.quantization])
        except NotImplementedError as err:
            message = "the gguf package cannot dequantise a tensor; import another quantisation of the model"
            raise ModelError(message, context, got=tensor.quantization) from err
        return values
