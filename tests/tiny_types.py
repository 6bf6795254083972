"""Tiny random models of every causal model type of transformers, made from the default config of the type.

The sizes of the default config are replaced by small ones that fit each other, by the name of the key. Lists with one
entry per block keep at least one block of each kind. A type that needs more than these rules has an entry in `SPECIAL`.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.tiny_models import END, POSITIONS, VOCABULARY, WINDOW, tiny_tokenizer

CAUSAL_TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
"""The types that transformers can load as a causal language model."""
HIDDEN, HEADS, KEY_HEADS, HEAD_WIDTH, NEURONS = 32, 4, 2, 8, 48
MIN_BLOCKS = 3

SIZES: dict[str, int] = {
    **dict.fromkeys(
        ("vocab_size", "decoder_vocab_size", "unpadded_vocab_size", "vocab_size_per_layer_input"), VOCABULARY
    ),
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "embedding_dim", "embedding_size", "word_embed_proj_dim"), HIDDEN
    ),
    **dict.fromkeys(("lru_width", "input_embedding_size", "output_embedding_size", "emb_dim"), HIDDEN),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size", "dff", "dim_ff", "d_inner"), NEURONS),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "intermediate_size_mlp"), NEURONS),
    **dict.fromkeys(("dense_intermediate_size", "shared_intermediate_size"), NEURONS),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_blocks"), MIN_BLOCKS),
    **dict.fromkeys(("decoder_layers", "encoder_layers"), MIN_BLOCKS),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), MIN_BLOCKS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads", "num_heads"), HEADS),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "index_n_heads"), KEY_HEADS),
    **dict.fromkeys(("head_dim", "d_head", "dim_head", "attention_head_size", "swa_head_dim"), HEAD_WIDTH),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length"), POSITIONS),
    **dict.fromkeys(("model_max_length", "rel_extent"), POSITIONS),
    **dict.fromkeys(("sliding_window", "attention_window_size", "window_size", "local_attention"), WINDOW),
    **dict.fromkeys(("attention_chunk_size", "sliding_window_size"), WINDOW),
    # Attention with low ranks (MLA).
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_rope_head_dim": HEAD_WIDTH,
    "qk_nope_head_dim": 6,
    "v_head_dim": 6,
    "rotary_dim": 4,
    # State spaces, convolutions and linear attention. Their inner width is twice the hidden size.
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"), HEADS),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 2 * HIDDEN // HEADS),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups"), 1),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 16),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 4),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    **dict.fromkeys(("attention_hidden_size", "mamba_d_ssm"), 2 * HIDDEN),
    "adapter_rank": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_heads": HEADS,
    "linear_head_dim": HEAD_WIDTH,
    "hidden_size_per_layer_input": 6,
    "num_kv_shared_layers": 2,
    "block_multiple_of": 8,
    "first_k_dense_replace": 1,
}
"""Key of a config -> its value in a tiny config, if the default config of the type has a number there."""
BLOCK_COUNTS = tuple(key for key, value in SIZES.items() if value == MIN_BLOCKS)
NEVER_NONE = ("head_dim", "num_key_value_heads")
"""Keys that get their tiny value even if the default is None."""
TOKENS = (
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_eos_token_id",
    "sep_token_id",
    "cls_token_id",
)
"""Keys with a token of the text."""

SPECIAL: dict[str, dict[str, Any]] = {
    "bert-generation": {"is_decoder": True},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "moe_intermediate_size": 8},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"], "num_hidden_layers": 3},
    "mamba2": {"head_dim": 2 * HIDDEN // HEADS},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (8, 8)},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "num_hidden_layers": 4},
}
"""Model type -> values that no rule gives."""

NO_TINY_CONFIG = ("dots3_note", "dots3_note_text", "gemma4_assistant")
"""Types whose default config is invalid, or invalid with small sizes."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "falcon, several key heads": ("falcon", {"new_decoder_architecture": True}),
    "falcon, position biases": (
        "falcon",
        {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True, "num_kv_heads": HEADS},
    ),
    "gemma4_text, no inputs per block": ("gemma4_text", {"hidden_size_per_layer_input": 0}),
    "gemma4_text, experts": (
        "gemma4_text",
        {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 16}
        | {"hidden_size_per_layer_input": 0},
    ),
    "gemma4_text, shared keys": (
        "gemma4_text",
        {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "num_kv_shared_layers": 2},
    ),
    "opt, projections around the blocks": ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "nemotron_h, no experts": ("nemotron_h", {"layers_block_type": ["linear_attention", "full_attention", "mlp"]}),
    "granitemoehybrid, no experts": ("granitemoehybrid", {"num_local_experts": 0}),
    **{
        f"{name}, no experts": (name, {"mlp_layer_types": "dense"})
        for name in (
            *("axk1", "axk2", "bailing_hybrid", "beam", "deepseek_v32", "exaone_moe"),
            *("glm4_moe_lite", "glm_moe_dsa", "hy_v3", "hy_v4", "kimi_linear", "laguna", "mimo_v2_flash"),
        )
    },
    **{
        f"{name}, no experts": (name, {"first_k_dense_replace": 9})
        for name in ("deepseek_v2", "deepseek_v3", "dots1", "glm4_moe")
    },
    **{
        f"{name}, no experts": (name, {"mlp_only_layers": list(range(9))})
        for name in ("flint", "qwen2_moe", "qwen3_moe", "qwen3_next")
    },
}
"""Name -> (model type, changed values), for configs of a type that change its architecture. A string in place of a list
stands for one entry per block."""


def tiny_config_of(name: str, **changes: Any) -> PretrainedConfig:
    """Return a tiny config.

    Args:
        name: a model type or one of `VARIANTS`.
        changes: values of this config.
    """
    model_type, variant = VARIANTS.get(name, (name, {}))
    cls = CONFIG_MAPPING[model_type]
    values = _tiny_values(cls) | SPECIAL.get(model_type, {})
    for key, value in {**variant, **changes}.items():
        is_repeated = isinstance(value, str) and isinstance(values.get(key), list)
        values[key] = [value] * len(values[key]) if is_repeated else value
    return cls(**values)


def _tiny_values(cls: type[PretrainedConfig]) -> dict[str, Any]:
    default = cls()
    keys = [field.name for field in dataclasses.fields(cls) if field.init]
    renamed = getattr(cls, "attribute_map", {}) or {}
    values: dict[str, Any] = {}
    for key in keys:
        value = _value(default, key)
        if key == "text_config" and isinstance(value, PretrainedConfig):
            values[key] = type(value)(**_tiny_values(type(value)))
        elif key in TOKENS and value is not None:
            values[key] = END
        elif key == "pad_token_id" and value is not None:
            values[key] = min(value, VOCABULARY - 1)
        elif "dropout" in key and isinstance(value, float):
            values[key] = 0.0
        elif (
            key in SIZES and renamed.get(key) not in keys and (_is_size(value) or (value is None and key in NEVER_NONE))
        ):
            values[key] = SIZES[key]
    if "kv_lora_rank" in values:
        values["num_key_value_heads"] = values["num_attention_heads"]
    return {**values, **_block_lists(default, keys)}


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _block_lists(default: PretrainedConfig, keys: list[str]) -> dict[str, Any]:
    """Return the lists with one entry per block for one block of each kind, and the number of blocks."""
    counts = [key for key in keys if key in BLOCK_COUNTS]
    n_blocks = next((count for key in counts if isinstance(count := _value(default, key), int)), 0)
    lists = {
        key: list(value)
        for key in keys
        if isinstance(value := _value(default, key), list | tuple) and len(value) == n_blocks
    }
    if not lists or not n_blocks:
        return {}
    kinds = list(zip(*lists.values(), strict=True))
    first = {kinds.index(kind) for kind in kinds}
    others = [block for block in range(n_blocks) if block not in first]
    chosen = sorted([*first, *others[: max(0, MIN_BLOCKS - len(first))]])
    return {
        **{key: [values[block] for block in chosen] for key, values in lists.items()},
        **{key: len(chosen) for key in counts if _value(default, key) == n_blocks},
    }


def _value(config: PretrainedConfig, key: str) -> Any:
    """The value of a key, or None if it differs between blocks."""
    try:
        return getattr(config, key, None)
    except RuntimeError:
        return None


def tiny_model_of(name: str, *, seed: int = 0, **changes: Any) -> Any:
    """A random float32 model in evaluation mode whose activations are large enough to distinguish tokens.

    Weights are those of transformers' own initialisation plus noise: norms are around 1, decay rates stay negative.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config_of(name, **changes), dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


def save_tiny_model_of(folder: Path, name: str, *, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny random model to a folder, like a model folder of a user, and return the folder."""
    tiny_model_of(name, seed=seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
