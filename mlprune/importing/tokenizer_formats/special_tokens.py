"""Special tokens of a published tokenizer, from the files in which different versions of transformers stored them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.checkpoint.weight_files import read_json_object

ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TokenizerSettings:
    """Settings from the files next to a vocabulary."""

    config: JsonObject
    """tokenizer_config.json, without what is fixed here; empty if there is none."""
    special: Mapping[str, str]
    """Role, such as `eos_token` -> token."""
    special_ids: Mapping[str, int]
    """Role -> id, from the model's config; for roles without a token."""
    added: Mapping[str, int]
    """Tokens in addition to the vocabulary -> id."""
    vocab_size: int
    """Of the model's config: the number of rows of the embedding."""

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a setting of tokenizer_config.json."""
        value = self.config.get(name)
        return value if isinstance(value, bool) else default


def read_settings(source: Path, config: JsonObject) -> TokenizerSettings:
    """Read the files next to a vocabulary.

    Args:
        source: folder of the tokenizer.
        config: config.json of the model.
    Raises:
        ModelError: a file is damaged.
    """
    tokenizer_config = _optional(source / "tokenizer_config.json")
    named = {**_optional(source / "special_tokens_map.json"), **tokenizer_config}
    special = {role: token for role in ROLES if (token := _text(named.get(role))) is not None}
    ids = {role: config.get(f"{role}_id") for role in ROLES if role not in special}
    size = config.get("vocab_size")
    return TokenizerSettings(
        config={key: value for key, value in tokenizer_config.items() if key not in ("tokenizer_file", "name_or_path")},
        special=special,
        special_ids={role: number for role, number in ids.items() if type(number) is int},
        added=_added(_optional(source / "added_tokens.json"), tokenizer_config.get("added_tokens_decoder")),
        vocab_size=size if type(size) is int else 0,
    )


def _optional(path: Path) -> JsonObject:
    return read_json_object(path) if path.exists() else {}


def _text(value: JsonValue) -> str | None:
    """Return the text of a token, which is stored as a text or as an object."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _added(added: JsonObject, decoder: JsonValue) -> dict[str, int]:
    tokens = {token: number for token, number in added.items() if type(number) is int}
    if isinstance(decoder, dict):
        for number, value in decoder.items():
            token = _text(value)
            if token is not None and number.isdecimal():
                tokens[token] = int(number)
    return tokens
