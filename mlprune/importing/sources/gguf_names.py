"""Tensors of GGUF files as those of the model: names, and the changes that a conversion to GGUF made to the values.

llama.cpp adds 1 to the norms of Gemma, whose formula is 1 + weight. It reorders the rows of q and k of LLaMA, because
it rotates neighbouring features, and transformers rotates the two halves of a head.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ModelError, unknown

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


def rotary_heads(name: str, architecture: Architecture, *, heads: int, key_heads: int) -> int:
    """Return the number of heads whose rows `in_model_order` has to reorder; 0 if the tensor keeps its order."""
    part = name.rsplit(".", maxsplit=2)[-2]
    return {"attn_q": heads, "attn_k": key_heads}.get(part, 0) if architecture.interleaved else 0


def in_model_order(values: Values, heads: int) -> Values:
    """Reorder the rows of q or k from pairs (0, 1), (2, 3), ... to halves (0, n/2), (1, n/2 + 1), ... of each head.

    Args:
        values: [heads * n, ...].
    """
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def is_shifted_norm(name: str, architecture: Architecture) -> bool:
    """Whether a tensor is a norm that is stored as 1 + weight."""
    return architecture.norms_plus_one and name.endswith("norm.weight")
