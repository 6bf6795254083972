"""GGUF files of llama.cpp as a source: names of tensors, and weights dequantised to float32, tensor by tensor.

llama.cpp adds 1 to the norms of Gemma, whose formula is 1 + weight. It reorders the rows of q and k of LLaMA, because
it rotates neighbouring features, and transformers rotates the two halves of a head.

The file has weights of few bits, so the imported model is not the published one. The `gguf` package, which belongs
to llama.cpp, dequantises. transformers writes config and tokenizer, see `gguf_config.py`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlprune.capabilities.importing.sources.gguf_file import (
    GgufHeader,
    GgufTensor,
    find_gguf,
    read_header,
    require_gguf,
)
from mlprune.capabilities.importing.sources.weight_format import PIECE_BYTES, Report, TensorSpec, require_finite
from mlprune.errors import ModelError, unknown
from mlprune.models.import_record import QuantisedTensor

Values = NDArray[np.float32]
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ATTENTION = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
}
_FEED_FORWARD = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_TWO_NORMS = {**_ATTENTION, **_FEED_FORWARD, "ffn_norm": "post_attention_layernorm"}
_FOUR_NORMS = {
    **_ATTENTION,
    **_FEED_FORWARD,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_NAME = re.compile(r"(blk\.(?P<block>\d+)\.)?(?P<part>[a-z_]+)\.(?P<kind>weight|bias)")
_MAX_LISTED = 5
FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of tensors that have no codes."""


@dataclass(frozen=True)
class Architecture:
    """How the tensors of an architecture of llama.cpp differ from those of the model."""

    model_type: str
    """In the config of transformers."""
    blocks: Mapping[str, str]
    """Tensor of a block -> module of a block of the model."""
    norms_plus_one: bool = False
    """Whether the norms are stored as 1 + weight."""
    interleaved: bool = False
    """Whether the rows of q and k are in the order of llama.cpp's rotation."""


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", _TWO_NORMS, interleaved=True),
    "qwen2": Architecture("qwen2", _TWO_NORMS),
    "qwen3": Architecture("qwen3", _TWO_NORMS),
    "gemma3": Architecture("gemma3_text", _FOUR_NORMS, norms_plus_one=True),
}
"""`general.architecture` -> how it is stored. Each is tested against the model that the file was made from."""


def architecture_of(name: str, path: str) -> Architecture:
    """Return the record of an architecture.

    Raises:
        ModelError: it has none.
    """
    if name not in ARCHITECTURES:
        raise unknown("architecture of a GGUF file", name, ARCHITECTURES, error=ModelError, path=path)
    return ARCHITECTURES[name]


def model_tensor_name(name: str, architecture: Architecture) -> str | None:
    """Return the name of a tensor in the model; None if it is unknown."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    module = (_TOP if match["block"] is None else architecture.blocks).get(match["part"])
    prefix = "" if match["block"] is None else f"model.layers.{match['block']}."
    return None if module is None else f"{prefix}{module}.{match['kind']}"


def in_model_order(values: Values, heads: int) -> Values:
    """Reorder the rows of q or k from pairs (0, 1), (2, 3), ... to halves (0, n/2), (1, n/2 + 1), ... of each head.

    Args:
        values: [heads * n, ...].
    """
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def codes_of(tensor: GgufTensor) -> QuantisedTensor | None:
    """Return how a tensor is stored; None if it has floats. The first number of a type is the bits of a code."""
    if tensor.quantization in FLOATS:
        return None
    bits = int(re.search(r"\d+", tensor.quantization)[0])  # type: ignore[index] # all other types have a number
    return QuantisedTensor(tensor.quantization, bits, prod(tensor.shape[:-1]) * tensor.row_bytes)


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
            TensorSpec(name, tensor.shape, torch.float32, file, (file, name), codes=codes_of(tensor))
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
            if self._architecture.norms_plus_one and tensor.name.endswith("norm.weight"):
                values = values - np.float32(1)
            if heads:
                values = in_model_order(values, heads)
            made = torch.from_numpy(np.array(values, dtype=np.float32)).view(-1)
            yield require_finite(made, self._header.path, tensor.name)

    def _rotary_heads(self, tensor: GgufTensor) -> int:
        """Return the number of heads whose rows `in_model_order` has to reorder; 0 if the tensor keeps its order."""
        settings = self._header.settings
        heads = settings.get("attention.head_count", 0)
        heads_of = {"attn_q": heads, "attn_k": settings.get("attention.head_count_kv", heads)}
        part = tensor.name.rsplit(".", maxsplit=2)[-2]
        return int(str(heads_of.get(part, 0))) if self._architecture.interleaved else 0

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
