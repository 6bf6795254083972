"""Tiny random mixtures of experts of all supported types, built offline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.tiny_models import END, VOCABULARY, tiny_tokenizer

N_EXPERTS, TOP_K = 4, 2
_GROUPS = {"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
_LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
EXPERT_TYPES: Mapping[str, Mapping[str, Any]] = {
    "qwen3_moe": {},
    "mixtral": {},
    "olmoe": {},
    "gpt_oss": {},
    "qwen2_moe": {},
    "granitemoe": {},
    "cohere2_moe": {},
    "deepseek_v3": {**_LATENT, **_GROUPS, "num_key_value_heads": 2},
}
"""Model type -> what its config has besides the sizes."""
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "num_experts_per_tok": TOP_K,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 12,
    "pad_token_id": VOCABULARY - 1,
    "bos_token_id": END,
    "eos_token_id": END,
}
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")


def expert_config(model_type: str, *, n_experts: int = N_EXPERTS, blocks: int = 2, **changes: Any) -> Any:
    """Return the config of a tiny mixture of experts; keys that its type does not have are left out."""
    default = AutoConfig.for_model(model_type)
    wanted = {**_SIZES, **dict.fromkeys(_COUNTS, n_experts), "num_hidden_layers": blocks}
    special = ("pad_token_id", "bos_token_id", "eos_token_id")
    keys = {key: size for key, size in wanted.items() if isinstance(getattr(default, key, None), int) or key in special}
    if model_type == "deepseek_v3":
        keys.pop("head_dim", None)
    return AutoConfig.for_model(model_type, **{**keys, **EXPERT_TYPES[model_type], **changes})


def expert_model(model_type: str, *, seed: int = 0, **changes: Any) -> Any:
    """Return a random model whose experts and routers differ enough to distinguish tokens."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(expert_config(model_type, **changes)).eval().float()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if "norm" in name and parameter.dim() == 1 else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + around)
    return model


def save_expert_model(folder: Path, model_type: str = "qwen3_moe", *, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny mixture of experts to a folder, like a model folder of a user, and return the folder."""
    expert_model(model_type, seed=seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
