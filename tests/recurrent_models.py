"""Tiny models with recurrent blocks, in which some parameters stay dense."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM

from tests.tiny_models import PAD, POSITIONS, VOCABULARY, tiny_tokenizer

RECURRENT: Mapping[str, dict[str, Any]] = {
    "mamba": {"num_hidden_layers": 3, "hidden_size": 16, "state_size": 4, "vocab_size": VOCABULARY},
    "qwen3_5_text": {
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": POSITIONS,
        "layer_types": ["linear_attention", "linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
}
"""Type -> config of a tiny model of three blocks."""


def save_recurrent_model(folder: Path, name: str) -> Path:
    """Write a random model to a folder, with a tokenizer, and return the folder."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **RECURRENT[name]))
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
