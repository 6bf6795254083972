"""Config of the model in a GGUF file, from its metadata.

Unknown settings (scaled rotary frequencies, experts) would change the model, so they are refused. Settings that a file
lacks have the defaults of the model's config in transformers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlprune.errors import ModelError
from mlprune.importing.sources.gguf_file import GgufHeader, find_gguf, read_header
from mlprune.importing.sources.gguf_names import architecture_of
from mlprune.importing.sources.gguf_tokenizer import write_gguf_tokenizer
from mlprune.models.checkpoint.content_hashes import TOKENIZER_JSON

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SETTINGS: Mapping[str, str] = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.sliding_window": "sliding_window",
    "rope.dimension_count": "head_dim",
}
"""Setting of a file -> attribute of the config."""
ROTARY_BASES: Mapping[str, str] = {"rope.freq_base": "full_attention", "rope.freq_base_swa": "sliding_attention"}
"""Setting of a file -> kind of attention, in a model that has several kinds."""
SPECIAL_TOKENS: Mapping[str, str] = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
"""Key of the metadata -> attribute of the config."""
EMBEDDING, HEAD = "token_embd.weight", "output.weight"


def prepare_gguf(source: Path, target: Path) -> None:
    """Write the config of the GGUF file of a folder to another folder, and its tokenizer if the folder has no other.

    Raises:
        ModelError: the file cannot be read, or has settings or a tokenizer that are not known here.
    """
    header = read_header(source / find_gguf(source)[0])
    gguf_config(header).save_pretrained(target)
    if not (source / TOKENIZER_JSON).exists():
        write_gguf_tokenizer(header, target)


def gguf_config(header: GgufHeader) -> "PreTrainedConfig":
    """Return the config of the model in a file.

    Raises:
        ModelError: the architecture or a setting is not known.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds, and other sources do not need it
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: PLC0415

    model_type = architecture_of(header.architecture, str(header.path)).model_type
    _check_settings(header)
    special = {name: header.metadata[key] for key, name in SPECIAL_TOKENS.items() if key in header.metadata}
    values = {SETTINGS[name]: shortest(value) for name, value in header.settings.items() if name in SETTINGS}
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    sizes = {"vocab_size": shapes[EMBEDDING][0]} if EMBEDDING in shapes else {}
    config = AutoConfig.for_model(
        model_type,
        **{**special, **values, **sizes},
        tie_word_embeddings=HEAD not in shapes,
        dtype="float32",
        architectures=[MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]],
    )
    for name, attention in ROTARY_BASES.items():
        if name in header.settings:
            config.rope_parameters.get(attention, config.rope_parameters)["rope_theta"] = header.settings[name]
    return config


def _check_settings(header: GgufHeader) -> None:
    unread = {
        name: value for name, value in header.settings.items() if name not in SETTINGS and name not in ROTARY_BASES
    }
    if unread:
        message = "a GGUF file has unknown settings; import the published safetensors or PyTorch files"
        raise ModelError(message, path=str(header.path), architecture=header.architecture, got=unread)


def shortest(value: object) -> object:
    """Return a float32 as the shortest decimal that rounds to it (1e-06, not 9.999999974752427e-07)."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
