"""Tiny random models of every type, built offline: a folder with config, tokenizer and safetensors weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from mlprune.models.architecture.architecture import Architecture
from mlprune.models.architecture.lookup import architecture_of
from mlprune.models.meta_model import MetaModel, shard_parameters
from mlprune.vocabulary import DtypeName

CONFIG_VERSION = "5.24.0"
"""Version of transformers in each `config.json`: ids cover the file, and pinned ids hold for all versions."""
PAD, END, UNKNOWN = 0, 1, 2
SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
VOCABULARY = 260
HIDDEN = 16
HEADS = 2
POSITIONS = 64
WINDOW = 4
"""Tokens in the window of a block with sliding attention."""

FAMILY_NAMES = ("xglm", "gpt2", "bloom")
"""The model types of the paper, for tests that need only these."""
ALL_FAMILY_NAMES = (
    *FAMILY_NAMES,
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "olmo2",
    "smollm3",
    "phi3",
    "opt",
    "gpt_neox",
)
"""Model types that all tests of models cover."""
PAD_IDS = {name: 0 if name == "xglm" else VOCABULARY - 1 for name in ALL_FAMILY_NAMES}
"""`pad_token_id` of each config. Most published models have one near the end of the vocabulary (Phi-3: 32,000 of
32,064; OLMo 2: 100,277 of 100,352), far above the number of distinct tokens of a batch. XGLM's is small."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: three special tokens, then one token per byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def tiny_config(family: str, *, blocks: int, hidden: int, positions: int) -> dict[str, Any]:
    """Config of a tiny model, with every option of its type: biases, few key heads, windows, caps.

    If a type has full and sliding attention, odd blocks have sliding attention.
    """
    special = {
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD_IDS.get(family, PAD),
        "bos_token_id": END,
        "eos_token_id": END,
    }
    mixed = ["sliding_attention" if block % 2 else "full_attention" for block in range(blocks)]
    modern = {
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "max_position_embeddings": positions,
    }
    head = hidden // HEADS
    wide = {**modern, "head_dim": 2 * head}
    settings: dict[str, dict[str, Any]] = {
        "xglm": {
            "max_position_embeddings": positions,
            "d_model": hidden,
            "ffn_dim": 4 * hidden,
            "num_layers": blocks,
            "attention_heads": HEADS,
            "decoder_start_token_id": END,
        },
        "gpt2": {"n_positions": positions, "n_embd": hidden, "n_layer": blocks, "n_head": HEADS},
        "bloom": {"hidden_size": hidden, "n_layer": blocks, "n_head": HEADS},
        "llama": {**modern, "attention_bias": True},
        "mistral": {**modern, "sliding_window": WINDOW},
        "qwen2": {**modern, "use_sliding_window": True, "sliding_window": WINDOW, "layer_types": mixed},
        "qwen3": wide,
        "gemma": wide,
        "gemma2": {
            **wide,
            "query_pre_attn_scalar": head,
            "sliding_window": WINDOW,
            "layer_types": mixed,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 2.0,
        },
        "gemma3_text": {**wide, "query_pre_attn_scalar": head, "sliding_window": WINDOW, "layer_types": mixed},
        "olmo2": modern,
        "smollm3": {**modern, "no_rope_layers": [block % 2 for block in range(blocks)]},
        "phi3": modern,
        "opt": {**modern, "ffn_dim": 4 * hidden, "word_embed_proj_dim": hidden},
        "gpt_neox": {**modern, "intermediate_size": 4 * hidden},
        "granite": modern,
        "cohere": modern,
    }
    return {**special, **settings[family]}


class _Architectures(Mapping[str, Architecture]):
    """Model type -> architecture of its tiny model, discovered when it is asked for."""

    def __getitem__(self, name: str) -> Architecture:
        config = tiny_config(name, blocks=MOST_BLOCKS, hidden=HIDDEN, positions=POSITIONS)
        return architecture_of({"model_type": name, **config})

    def __iter__(self) -> Iterator[str]:
        return iter(ALL_FAMILY_NAMES)

    def __len__(self) -> int:
        return len(ALL_FAMILY_NAMES)


ARCHITECTURES: Mapping[str, Architecture] = _Architectures()
MOST_BLOCKS = 8
"""Blocks of `ARCHITECTURES`."""


def tiny_model(
    family: str, *, seed: int, blocks: int, hidden: int = HIDDEN, positions: int = POSITIONS, **changes: Any
) -> Any:
    """A random model, including biases and norms, whose activations are large enough to distinguish tokens.

    Args:
        changes: of its config.
    """
    settings = tiny_config(family, blocks=blocks, hidden=hidden, positions=positions)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**settings, **changes}))
    generator = torch.Generator().manual_seed(seed)
    adds_one = family.startswith("gemma")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm = name.endswith("weight") and ("norm" in name or "ln_" in name)
            around = 1.0 if is_norm and not adds_one else 0.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2 + around)
    return model.eval()


def save_tiny_model(
    folder: Path,
    family: str = "xglm",
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    blocks: int = 3,
    hidden: int = HIDDEN,
    positions: int = POSITIONS,
    **changes: Any,
) -> Path:
    """Write a tiny random model to a folder, like a model folder of a user, and return the folder."""
    model = tiny_model(family, seed=seed, blocks=blocks, hidden=hidden, positions=positions, **changes)
    model.to(dtype).save_pretrained(folder)
    config = folder / "config.json"
    installed, pinned = (
        f'"transformers_version": "{version}"' for version in (transformers.__version__, CONFIG_VERSION)
    )
    config.write_text(config.read_text("utf-8").replace(installed, pinned), "utf-8")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def load_shard_module(folder: Path, blocks: range, dtype: DtypeName) -> Any:
    """A model with the parameters of one shard loaded and all others on the meta device."""
    meta_model = MetaModel(folder, dtype)
    meta_model.load(name for name, _ in shard_parameters(meta_model.model, meta_model.architecture, blocks))
    return meta_model.model
