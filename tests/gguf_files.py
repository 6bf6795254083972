"""GGUF files of tiny models, written as llama.cpp's conversion writes them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from mlprune.capabilities.importing.sources.gguf_source import ARCHITECTURES
from tests.tiny_models import SPECIAL_TOKENS, tiny_model, tiny_tokenizer

HIDDEN = 32
"""Rows of 8-bit types are multiples of 32."""
OPTIONS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": False},
    "qwen2": {"use_sliding_window": False, "layer_types": None},
    "qwen3": {},
    "gemma3": {"query_pre_attn_scalar": 256, "layer_types": None},
}
"""Options of tiny models that a GGUF file does not contain: those of the published models."""
MERGED = "Ġ a"
"""The only pair of tokens that the tokenizer merges."""
MODULES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def write_gguf(path: Path, architecture: str, *, changes: dict[str, Any] | None = None) -> Any:
    """Write a tiny random model to a GGUF file, and return the model.

    Args:
        changes: metadata to add or replace, without the architecture.
    """
    family = ARCHITECTURES[architecture].model_type
    model = tiny_model(family, seed=0, hidden=HIDDEN, blocks=2, tie_word_embeddings=False, **OPTIONS[architecture])
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {**_settings(model.config, architecture), **(changes or {})}.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{architecture}.{key}", value)
    _add_tokenizer(writer)
    for name, tensor in model.state_dict().items():
        values, kind = _stored(name, tensor, model.config, architecture=architecture)
        writer.add_tensor(_stored_name(name, architecture), values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _settings(config: Any, architecture: str) -> dict[str, Any]:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotary = config.rope_parameters.get("full_attention", config.rope_parameters)
    settings = {
        "context_length": config.max_position_embeddings,
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": float(rotary["rope_theta"]),
    }
    if architecture in ("qwen3", "gemma3"):
        settings |= {"attention.key_length": head, "attention.value_length": head}
    if architecture == "gemma3":
        settings["attention.sliding_window"] = config.sliding_window
    return settings


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    vocabulary = tiny_tokenizer().get_vocab()
    tokens = [*sorted(vocabulary, key=lambda token: vocabulary[token]), MERGED.replace(" ", "")]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL_TOKENS else 1 for token in tokens])
    writer.add_token_merges([MERGED])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    writer.add_pad_token_id(0)


def _stored_name(name: str, architecture: str) -> str:
    module, _, kind = name.rpartition(".")
    prefix = ""
    if module.startswith("model.layers."):
        _, _, block, module = module.split(".", maxsplit=3)
        prefix = f"blk.{block}."
    if module == "post_attention_layernorm":
        return f"{prefix}{'post_attention_norm' if architecture == 'gemma3' else 'ffn_norm'}.{kind}"
    return f"{prefix}{MODULES[module]}.{kind}"


def _stored(name: str, tensor: torch.Tensor, config: Any, *, architecture: str) -> tuple[Any, Any]:
    """Return the values of a tensor as they are stored, and their type."""
    values = tensor.numpy()
    if architecture == "gemma3" and name.endswith("norm.weight"):
        return values + np.float32(1), None
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        size = len(values) // heads
        order = [
            head * size + half * size // 2 + pair
            for head in range(heads)
            for pair in range(size // 2)
            for half in (0, 1)
        ]
        values = values[order]
    if values.ndim == 1:
        return values, None
    kind = gguf.GGMLQuantizationType.Q8_0
    return gguf.quantize(values, kind), kind
