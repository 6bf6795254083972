"""Config of the text part of a multimodal model: find the part, and write its config as that of a text-only model.

A part is found by its structure: it is a config inside the config whose class has a causal language model in
transformers. No model type is named here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlprune.errors import ModelError, reason_of
from mlprune.json_values import JsonObject
from mlprune.models.architecture.config_checks import largest_numbers
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.models.model_limits import within_limits

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Keys that the config of a part gets from the config around it, unless it states them itself."""


@dataclass(frozen=True)
class _Part:
    """A config inside a config."""

    path: tuple[str, ...]
    """Keys that lead to it."""
    config: Any
    """The library's object."""
    outer: Any
    """The library's object that contains it."""


def write_text_config(folder: Path) -> str | None:
    """Replace config.json of a multimodal model by that of its text part; any other config stays as it is.

    Returns: the model type of the multimodal model; None if the config is not of such a model.
    Raises:
        ModelError: the model has several text parts or none that is a decoder, or the library does not know its type.
    """
    stated = read_json_object(folder / "config.json")
    if stated.get("is_encoder_decoder") or not any(isinstance(value, Mapping) for value in stated.values()):
        return None
    outer = _library_config(folder, stated)
    part = None if outer is None else _text_part(outer, folder, needs_part="text_config" in stated)
    if part is None:
        return None
    values = _text_values(part, stated)
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return str(stated["model_type"])


def _library_config(folder: Path, stated: JsonObject) -> Any:
    """Return the library's object for a config with parts; None if its type has no parts.

    Raises:
        ModelError: the library does not know the type although the config has a text part, or rejects the config.
    """
    from transformers import CONFIG_MAPPING, AutoConfig  # noqa: PLC0415 - takes seconds

    model_type = stated.get("model_type")
    if model_type not in CONFIG_MAPPING:
        if isinstance(stated.get("text_config"), Mapping):
            needs_code = "auto_map" in stated
            raise ModelError(
                "the model needs code from its folder, which never runs here; import the version for transformers"
                if needs_code
                else "the installed transformers does not know this multimodal model; a newer version may",
                path=str(folder / "config.json"),
                model_type=model_type,
            )
        return None
    if not CONFIG_MAPPING[model_type].sub_configs:
        return None

    def load() -> Any:
        try:
            return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as err:  # a wrong config can raise anything in the library's code
            raise ModelError("the model's config cannot be used", path=str(folder), reason=reason_of(err)) from err

    largest = largest_numbers(stated)
    within_limits("the model's config", lambda: {"has_parts": bool(load())}, path=str(folder), largest=largest)
    return load()


def _text_part(outer: Any, folder: Path, *, needs_part: bool) -> _Part | None:
    """Return the only part that is a causal language model.

    Args:
        needs_part: False accepts a model that is one language model, whose parts are not models; None is returned.
    Raises:
        ModelError: there are several, or none.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING  # noqa: PLC0415 - takes seconds

    parts = list(_parts(outer))
    text_parts = [part for part in parts if type(part.config) in MODEL_FOR_CAUSAL_LM_MAPPING]
    if not needs_part and (outer.is_encoder_decoder or (type(outer) in MODEL_FOR_CAUSAL_LM_MAPPING and not text_parts)):
        return None
    if len(text_parts) != 1:
        raise ModelError(
            "the model has several text parts, and only one could be pruned"
            if text_parts
            else "no part of the model is a decoder of text that transformers can run alone",
            path=str(folder / "config.json"),
            model_type=outer.model_type,
            expected="one part that is a causal language model",
            got={".".join(part.path): part.config.model_type for part in text_parts or parts},
        )
    return text_parts[0]


def _parts(outer: Any, path: tuple[str, ...] = ()) -> Iterator[_Part]:
    """Yield the configs inside a config that have no further ones inside."""
    for key in type(outer).sub_configs:
        config = getattr(outer, key, None)
        if config is None:
            continue
        if type(config).sub_configs:
            yield from _parts(config, (*path, key))
        else:
            yield _Part((*path, key), config, outer)


def _text_values(part: _Part, stated: JsonObject) -> dict[str, object]:
    """Return the complete config of a part as a model of its own.

    Args:
        stated: the config of the multimodal model as its file states it.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedConfig  # noqa: PLC0415 - takes seconds

    around: dict[str, object] = {}
    inner: object = stated
    for key in part.path:
        around |= {name: inner[name] for name in TOKEN_IDS if name in inner} if isinstance(inner, Mapping) else {}
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    own = inner if isinstance(inner, Mapping) else {}
    values, common = (json.loads(config.to_json_string(use_diff=False)) for config in (part.config, PreTrainedConfig()))
    return {
        **{name: value for name, value in values.items() if name not in common or value != common[name]},
        **{name: value for name, value in around.items() if name not in own},
        "architectures": [MODEL_FOR_CAUSAL_LM_MAPPING[type(part.config)].__name__],
        "dtype": values.get("dtype") or _dtype_name(part.outer),
        # whether they can be tied: the library keeps a head that is stored with other values than the embedding
        "tie_word_embeddings": bool(getattr(part.outer, "tie_word_embeddings", None) or own.get("tie_word_embeddings")),
    }


def _dtype_name(config: Any) -> str | None:
    dtype = getattr(config, "dtype", None)
    return None if dtype is None else str(dtype).removeprefix("torch.")
