"""Tiny random multimodal checkpoints, in the forms in which such models are published."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from tests.tiny_models import END, HIDDEN, VOCABULARY, tiny_tokenizer

BLOCKS = 4
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "eos_token_id": END,
}
_WINDOWS = ["sliding_attention", "full_attention"] * (BLOCKS // 2)
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "image_size": 28,
    "patch_size": 14,
}
CONFIGS: Mapping[str, dict[str, Any]] = {
    "gemma3": {
        "text_config": {**_SIZES, "query_pre_attn_scalar": 8, "sliding_window": 4, "layer_types": _WINDOWS},
        "vision_config": _VISION,
        "mm_tokens_per_image": 4,
    },
    "gemma4": {
        "text_config": {
            **_SIZES,
            "global_head_dim": 16,
            "sliding_window": 4,
            "layer_types": _WINDOWS,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": VOCABULARY,
            "final_logit_softcapping": 3.0,
        },
        "vision_config": _VISION,
    },
    "mistral3": {
        "text_config": {**_SIZES, "model_type": "ministral3"},
        "vision_config": {**_VISION, "model_type": "pixtral"},
        "tie_word_embeddings": False,
    },
    "qwen3_5": {
        "text_config": {
            **_SIZES,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [1, 0, 0],
                "partial_rotary_factor": 0.25,
            },
        },
        "vision_config": {
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
    },
}
"""Type of a multimodal model -> config of a tiny one."""


def multimodal_model(model_type: str, *, seed: int = 0, **changes: Any) -> Any:
    """A random multimodal model whose parameters and stored buffers are all drawn."""
    config = AutoConfig.for_model(model_type, **{**CONFIGS[model_type], **changes})
    model = AutoModelForImageTextToText.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    stored = model.state_dict()
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name in stored and tensor.is_floating_point():
                around = 1.0 if "norm" in name or "scalar" in name else 0.0
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2 + around)
    return model.eval()


def publish_multimodal(folder: Path, model: Any, **options: Any) -> Path:
    """Write a multimodal model with a tokenizer as transformers saves it, in the names of published checkpoints."""
    model.save_pretrained(folder, **options)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of the safetensors files of a folder."""
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def rewrite(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Replace the weights of a folder by one file with these tensors."""
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    """Change keys of config.json; the value None removes a key."""
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def text_logits(model: Any, tokens: Tensor) -> Tensor:
    """Logits of text alone."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    return logits
