"""Config and tokenizer of the model in a GGUF file, from its metadata.

Unknown settings (scaled rotary frequencies, experts) would change the model, so they are refused. Settings that a file
lacks have the defaults of the model's config in transformers.

transformers builds the tokenizer. A GGUF file names the regular expression that splits a text into words, and does not
contain it: it is set for the tokenizers known here.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Regex, Tokenizer, pre_tokenizers

from mlprune.capabilities.importing.sources.gguf_file import GgufHeader, find_gguf, read_header
from mlprune.capabilities.importing.sources.gguf_source import architecture_of
from mlprune.errors import ModelError, reason_of, unknown
from mlprune.models.checkpoint.content_hashes import TOKENIZER_JSON

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
NOT_COMPARED = ("context_length", "attention.sliding_window")
"""Settings of a file that may differ from those of the base model: converters and users change them."""
ROTARY_BASES: Mapping[str, str] = {"rope.freq_base": "full_attention", "rope.freq_base_swa": "sliding_attention"}
"""Setting of a file -> kind of attention, in a model that has several kinds."""
GGUF_SPECIAL_TOKENS: Mapping[str, str] = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.eos_token_id": "eos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
"""Key of the metadata -> attribute of the config."""
EMBEDDING, HEAD = "token_embd.weight", "output.weight"
if TYPE_CHECKING:
    from transformers import PreTrainedConfig
BYTE_LEVEL = "gpt2"
"""`tokenizer.ggml.model` of a byte-level BPE."""
SENTENCEPIECE = "llama"
"""`tokenizer.ggml.model` of a sentencepiece model."""
_LETTERS_DIGITS_AND_SPACES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: Mapping[str, str | None] = {
    "gpt-2": None,
    "smollm": None,
    "llama-bpe": _LETTERS_DIGITS_AND_SPACES.format(digits="{1,3}"),
    "qwen2": _LETTERS_DIGITS_AND_SPACES.format(digits=""),
}
"""`tokenizer.ggml.pre` -> regular expression that matches the words of a text; None for that of GPT-2."""
ONE_DIGIT_PER_WORD = ("smollm",)
"""`tokenizer.ggml.pre` of tokenizers that split a text at every digit first."""
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")


def write_gguf_tokenizer(header: GgufHeader, target: Path) -> None:
    """Write the tokenizer of a GGUF file to a folder as tokenizer.json.

    Raises:
        ModelError: the tokenizer cannot be built, or splits texts in a way that is not known here.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # noqa: PLC0415 - takes seconds

    kind, name = header.metadata.get("tokenizer.ggml.model"), header.metadata.get("tokenizer.ggml.pre", "gpt-2")
    if kind not in (BYTE_LEVEL, SENTENCEPIECE):
        raise _unknown_tokenizer(header, kind, (BYTE_LEVEL, SENTENCEPIECE))
    if kind == BYTE_LEVEL and name not in SPLITS:
        raise _unknown_tokenizer(header, name, SPLITS)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(header.path.parent), gguf_file=header.path.name, local_files_only=True
        )
    except Exception as err:  # a damaged file can raise anything in the parser
        message = "the tokenizer of a GGUF file cannot be read"
        raise ModelError(message, path=str(header.path), reason=reason_of(err)) from err
    backend = tokenizer.backend_tokenizer
    if kind == BYTE_LEVEL:
        backend.pre_tokenizer = word_splitting(str(name))
    backend = with_tokens_of_file(backend, header)
    tokens = {key: getattr(tokenizer, key) for key in SPECIAL_TOKENS}
    PreTrainedTokenizerFast(tokenizer_object=backend, **tokens).save_pretrained(target)


def word_splitting(name: str) -> pre_tokenizers.PreTokenizer:
    """Return the splitting of a byte-level BPE by its name in a GGUF file."""
    pattern = SPLITS[name]
    if pattern is not None:
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if name in ONE_DIGIT_PER_WORD else []
    return pre_tokenizers.Sequence([*digits, words])


def _unknown_tokenizer(header: GgufHeader, got: object, known: Iterable[str]) -> ModelError:
    what = "tokenizer of a GGUF file: put tokenizer.json of the published model into a folder with the file"
    return unknown(what, got, known, error=ModelError, path=str(header.path))


def with_tokens_of_file(backend: Tokenizer, header: GgufHeader) -> Tokenizer:
    """Remove the tokens that transformers adds to those of the file, such as GPT-2's <|endoftext|>.

    Raises:
        ModelError: a token of the file is missing.
    """
    n_tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(n_tokens, int):
        raise ModelError("a GGUF file has no list of tokens", path=str(header.path), got=n_tokens)
    if backend.get_vocab_size() == n_tokens:
        return backend
    values = json.loads(backend.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if token["id"] < n_tokens]
    backend = Tokenizer.from_str(json.dumps(values))
    if backend.get_vocab_size() != n_tokens:
        context = {"path": str(header.path), "expected": n_tokens, "got": backend.get_vocab_size()}
        raise ModelError("transformers reads another number of tokens from a GGUF file", context)
    return backend


def prepare_gguf(source: Path, target: Path) -> None:
    """Write the config of the GGUF file of a folder to another folder, and its tokenizer if the folder has no other.

    Raises:
        ModelError: the file cannot be read, or has settings or a tokenizer that are not known here.
    """
    header = read_header(source / find_gguf(source)[0])
    gguf_config(header).save_pretrained(target)
    if not (source / TOKENIZER_JSON).exists():
        write_gguf_tokenizer(header, target)


def write_config_of_base(source: Path, target: Path, base: Path) -> None:
    """Write the config of a base model to a folder, after the settings of a folder's GGUF file were compared with it.

    Settings of the file that are unknown here are not compared.

    Raises:
        ModelError: the file cannot be read, or belongs to another model.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds, and other sources do not need it

    header = read_header(source / find_gguf(source)[0])
    config = AutoConfig.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    expected: dict[str, object] = {"model_type": config.model_type, "has a head": not config.tie_word_embeddings}
    got: dict[str, object] = {
        "model_type": architecture_of(header.architecture, str(header.path)).model_type,
        "has a head": HEAD in {tensor.name for tensor in header.tensors},
    }
    for name, value in header.settings.items():
        key = None if name in NOT_COMPARED else SETTINGS.get(name)
        if name in ROTARY_BASES:
            rotary = config.rope_parameters.get(ROTARY_BASES[name], config.rope_parameters)
            expected[name], got[name] = shortest(float(rotary["rope_theta"])), shortest(value)
        elif key is not None and getattr(config, key, None) is not None:
            expected[name], got[name] = shortest(getattr(config, key)), shortest(value)
    different = [name for name in expected if expected[name] != got[name]]
    if different:
        context = {"path": str(header.path), "base": str(base)}
        message = "a GGUF file belongs to another model than the base model"
        wanted, found = ({name: values[name] for name in different} for values in (expected, got))
        raise ModelError(message, context, expected=wanted, got=found)
    shutil.copyfile(base / "config.json", target / "config.json")


def gguf_config(header: GgufHeader) -> "PreTrainedConfig":
    """Return the config of the model in a file.

    Raises:
        ModelError: the architecture or a setting is not known.
    """
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds, and other sources do not need it
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: PLC0415

    model_type = architecture_of(header.architecture, str(header.path)).model_type
    _check_settings(header)
    special = {name: header.metadata[key] for key, name in GGUF_SPECIAL_TOKENS.items() if key in header.metadata}
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
