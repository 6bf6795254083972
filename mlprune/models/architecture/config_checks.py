"""Check the config of a model before the model library builds it: its sizes, and what kind of model it is.

Building a model of an absurd size takes hours or all memory. The sizes are checked as the file states them: the configs
of some model types make a list with an entry per block.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from difflib import get_close_matches
from heapq import nlargest

from mlprune.errors import ModelError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.architecture.exceptions import COMPUTED_POSITIONS

MAX_BLOCKS = 256
"""Largest number of blocks that is built. The deepest published decoder has 126 (Llama 3.1 405B). The model's code runs
once before any work, which takes about 0.03 s per block."""
MAX_WIDTH = 1 << 20
"""Largest number of features or heads; the widest layers have about 100,000 features."""
MAX_COUNT = 1 << 25
"""Largest vocabulary and number of positions; the longest published context has 10 million tokens."""
MAX_TABLE_ENTRIES = 1 << 32
"""Largest number of entries of a table of positions, which is computed and not read."""

MAX_LABELS = 1 << 16
"""Largest number of classes; decoders have none, but the library makes a name for each that a config states."""

_BLOCKS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "num_key_value_heads", "attention_heads", "n_head")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "n_embed", "intermediate_size", "ffn_dim", "n_inner", "head_dim")
_COUNTS = ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx", "seq_length")
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(_BLOCKS, MAX_BLOCKS),
    **dict.fromkeys((*_HEADS, *_WIDTHS), MAX_WIDTH),
    **dict.fromkeys(_COUNTS, MAX_COUNT),
    "num_labels": MAX_LABELS,
}
"""Key of a config -> largest value."""
N_LARGEST = 3
"""Largest numbers of a config that a message names."""
OTHER_PARTS = ("vision_config", "audio_config", "text_config", "image_config", "speech_config")
"""Ends of the keys of a config that describe one of several parts of a multimodal model."""
TEXT_PART = "multimodal with a text part"
"""Kind of a model whose text part an import makes a model of its own."""
DECODERS = "a causal language model (docs/models.md)"


def require_buildable(config: JsonObject) -> None:
    """Check the sizes in a config, and in the configs inside it.

    Raises:
        ValueError: a size is above its limit.
    """
    for key, value in _sizes(config):
        if value > LIMITS[key]:
            what = "blocks" if key in _BLOCKS else f"as {key}"
            raise ValueError(f"the config has {value} {what}; at most {LIMITS[key]} are built")
    if config.get("model_type") in COMPUTED_POSITIONS:
        sizes = dict(_sizes(config))
        n_entries = sizes.get("max_position_embeddings", 0) * sizes.get("d_model", sizes.get("hidden_size", 0))
        if n_entries > MAX_TABLE_ENTRIES:
            raise ValueError(f"the table of positions has {n_entries} entries; at most {MAX_TABLE_ENTRIES} are built")


def _sizes(config: JsonObject) -> Iterator[tuple[str, int | float]]:
    """Yield (key, value) of all sizes in a config and in the configs inside it."""
    todo: list[JsonValue] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, Mapping):
            yield from ((key, size) for key, size in value.items() if key in LIMITS and isinstance(size, int | float))
            todo.extend(value.values())


def largest_numbers(config: JsonObject) -> dict[str, int | float]:
    """Return the keys with the largest numbers in a config, for a message; those in a list have no key of their own."""
    numbers: dict[str, int | float] = {}
    todo: list[tuple[str, JsonValue]] = list(config.items())
    while todo:
        key, value = todo.pop()
        if isinstance(value, Mapping):
            todo.extend(value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            todo.extend((key, inner) for inner in value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[key] = max(value, numbers.get(key, value))
    return {key: numbers[key] for key in nlargest(N_LARGEST, numbers, key=lambda key: numbers[key])}


def check_rope_types(config: JsonObject) -> None:
    """Check the kinds of rotary positions in a config, before the library warns of unknown ones on its own lines.

    Raises:
        ValueError: a kind is unknown.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: PLC0415 - imports transformers

    known = {"default", "su", *ROPE_INIT_FUNCTIONS}  # "su" is Phi-3's earlier name of longrope
    for key in ("rope_scaling", "rope_parameters"):
        settings = config.get(key)
        of_layers = [settings, *settings.values()] if isinstance(settings, Mapping) else []
        for setting in of_layers:
            if isinstance(setting, Mapping):
                name = setting.get("rope_type", setting.get("type", "default"))
                if name not in known:
                    raise ValueError(f"unknown kind of rotary positions in {key}: {name!r}; known: {sorted(known)}")


def check_token_ids(config: JsonObject) -> None:
    """Check that the padding token has a row in the embedding, before the library fails to build it.

    Raises:
        ValueError: it has none.
    """
    padding, size = config.get("pad_token_id"), config.get("vocab_size")
    if isinstance(padding, int) and isinstance(size, int) and padding >= size:
        raise ValueError(f"pad_token_id is {padding}, but vocab_size is {size}; null is a possible value")


def require_decoder(config: JsonObject) -> None:
    """Check that a config describes a causal language model that reads only text and is part of the model library.

    Raises:
        ModelError: it does not; `kind` in the context says what the model is, and `next` what to do.
    """
    model_type = str(config.get("model_type") or "")
    refuse_quantised(config)
    from transformers.models.auto import configuration_auto, modeling_auto  # noqa: PLC0415 - takes a second

    decoders = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if model_type not in configuration_auto.CONFIG_MAPPING_NAMES:
        _refuse_unknown(config, model_type, tuple(decoders))
    _refuse_parts(config, model_type, decoders)
    if config.get("is_encoder_decoder") or model_type in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise _not_a_decoder(model_type, "encoder and decoder")
    if model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise _not_a_decoder(model_type, "encoder")
    if model_type in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES and model_type not in decoders:
        raise _not_a_decoder(model_type, "multimodal")
    if model_type not in decoders:
        raise _not_a_decoder(model_type, "no language model")


def _not_a_decoder(model_type: str, kind: str, **context: object) -> ModelError:
    return ModelError(
        "only decoders can be pruned: the tasks here score and write texts from left to right",
        model_type=model_type,
        kind=kind,
        **context,
        next=f"use {DECODERS}",
    )


def refuse_quantised(config: JsonObject, **context: object) -> None:
    """Refuse a model whose config says that its weights are quantised.

    Args:
        context: of the error.
    Raises:
        ModelError: they are.
    """
    quantisation = config.get("quantization_config")
    if quantisation:
        raise ModelError(
            "the model is quantised",
            **context,
            model_type=config.get("model_type"),
            kind="quantised",
            expected="no quantization_config; an import reads that of compressed-tensors",
            got=quantisation.get("quant_method") if isinstance(quantisation, Mapping) else quantisation,
            next="use the original model, or mlprune import FOLDER --out NEW if it is of compressed-tensors",
        )


def _refuse_parts(config: JsonObject, model_type: str, decoders: Container[str]) -> None:
    """Refuse a model of several parts; if exactly one is a decoder of text, say how to make it a model of its own."""
    parts = {path: part for path, part in _parts(config) if path.endswith(OTHER_PARTS)}
    if not parts:
        return
    texts = {path: part for path, part in parts.items() if part.get("model_type") in decoders}
    if not texts and (part := config.get("text_config")) and isinstance(part, Mapping) and "model_type" not in part:
        texts = {"text_config": part}
    if config.get("is_encoder_decoder") or len(texts) != 1:
        raise _not_a_decoder(model_type, "multimodal", got=sorted(parts))
    raise ModelError(
        "the model is multimodal; its text part can be pruned as a model of its own",
        model_type=model_type,
        kind=TEXT_PART,
        got=next(iter(texts)),
        next="mlprune import SOURCE --out FOLDER writes the text part; name that folder in the recipe",
    )


def _parts(config: JsonObject, prefix: str = "") -> Iterator[tuple[str, JsonObject]]:
    """Yield (path, config) of the configs inside a config."""
    for key, value in config.items():
        if key.endswith("_config") and isinstance(value, Mapping):
            yield f"{prefix}{key}", value
            yield from _parts(value, f"{prefix}{key}.")


def _refuse_unknown(config: JsonObject, model_type: str, known: tuple[str, ...]) -> None:
    if config.get("auto_map"):
        raise ModelError(
            "the model needs Python code of its own folder (trust_remote_code), which never runs here",
            model_type=model_type,
            kind="remote code",
            got="auto_map in config.json",
            next="use a checkpoint of the same model that was converted to a type of transformers",
        )
    raise ModelError(
        "the transformers library has no such model type",
        model_type=model_type,
        kind="unknown type",
        nearest=get_close_matches(model_type, known, n=3),
        next="check model_type in config.json, or install a newer version of transformers",
    )
