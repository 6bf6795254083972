"""Tokenizer files of an imported model: copies, special tokens, and always a tokenizer.json.

Published models have tokenizer.json, a sentencepiece model alone (XGLM), or vocab.json and merges.txt (mGPT). Without
tokenizer.json, transformers may build a tokenizer that reads every word as unknown.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from mlprune.capabilities.importing.sentencepiece_tokenizer import (
    FAIRSEQ_FAMILIES,
    fairseq_model,
    read_sentencepiece,
    sentencepiece_tokenizer,
)
from mlprune.capabilities.importing.sources.weight_format import Report
from mlprune.errors import ModelError, reason_of
from mlprune.given_files import read_given_text
from mlprune.json_values import JsonObject, JsonValue, as_int
from mlprune.models.checkpoint.content_hashes import SENTENCEPIECE_FILES, TOKENIZER_FILES, TOKENIZER_JSON
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.models.loading import check_tokenizer, require_vocabulary
from mlprune.models.model_limits import require_sizes

VOCABULARY, MERGES = "vocab.json", "merges.txt"
ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
DEFAULT_SPECIAL: Mapping[str, Mapping[str, str]] = {
    "xglm": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
}
"""Family -> special tokens of a tokenizer whose files do not name them."""
KEPT_SETTINGS = ("model_max_length", "padding_side", "truncation_side", "chat_template")
"""Keys of tokenizer_config.json that are kept."""
BEGIN_OF_TEXT_FAMILIES = ("llama", "mistral", "gemma", "gemma2", "gemma3_text", "opt")
"""Families whose texts begin with the token `bos_token` unless tokenizer_config.json says otherwise."""
END_FIRST_FAMILIES = ("xglm",)
"""Families whose texts begin with the end-of-sequence token."""


def byte_level_tokenizer(folder: Path, *, add_prefix_space: bool, special: tuple[str, ...]) -> Tokenizer:
    """Return the tokenizer of vocab.json and merges.txt in a folder.

    Args:
        add_prefix_space: whether a text gets a space in front.
        special: special tokens; those that the vocabulary lacks are left out.
    Raises:
        ModelError: a file is damaged, or the two do not belong together.
    """
    entries = read_json_object(folder / VOCABULARY)
    try:
        vocabulary = {token: as_int(number) for token, number in entries.items()}
        merges = _merges(read_given_text(folder / MERGES))
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as err:  # the library raises a bare Exception for a merge of unknown tokens
        message = "vocab.json and merges.txt are not a tokenizer"
        raise ModelError(message, path=str(folder), reason=reason_of(err)) from err
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    known = [token for token in special if token in entries]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in known])
    return tokenizer


def _merges(text: str) -> list[tuple[str, str]]:
    """Parse merges.txt: a line with the version, then one pair per line."""
    lines = text.split("\n")
    pairs = [tuple(line.rstrip("\r").split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    wrong = [pair for pair in pairs if len(pair) != 2]
    if wrong:
        raise ValueError(f"a line of merges.txt is not a pair: {' '.join(wrong[0])[:80]!r}")
    return [(pair[0], pair[1]) for pair in pairs]


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


def write_tokenizer(source: Path, target: Path, report: Report) -> None:
    """Write the tokenizer of a source to the folder of the imported model, which has config.json already.

    Args:
        report: receives lines for the user.
    Raises:
        ModelError: the source has no tokenizer, or it cannot be converted or does not fit the model.
    """
    require_sizes(source, TOKENIZER_FILES)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if not (target / TOKENIZER_JSON).exists():
        require_vocabulary(source)
        report(f"{TOKENIZER_JSON} is made from {_convert(target)}")
    check_tokenizer(target)


def _convert(folder: Path) -> str:
    """Write tokenizer.json and tokenizer_config.json of a folder; returns the names of the converted files."""
    config = read_json_object(folder / "config.json")
    family = str(config.get("model_type"))
    settings = read_settings(folder, config)
    name = next((name for name in SENTENCEPIECE_FILES if (folder / name).exists()), None)
    if name is not None:
        model = read_sentencepiece(folder / name)
        if family in FAIRSEQ_FAMILIES:
            model = fairseq_model(model, vocab_size=settings.vocab_size)
        tokenizer = sentencepiece_tokenizer(model)
    else:
        prefix = settings.flag("add_prefix_space", default=False)
        tokenizer = byte_level_tokenizer(folder, add_prefix_space=prefix, special=tuple(settings.special.values()))
    _add_tokens(tokenizer, settings, folder)
    special = _special_tokens(tokenizer, settings, family)
    _set_first_token(tokenizer, family, settings, special=special)
    _write(folder, tokenizer, settings, special=special)
    return name or f"{VOCABULARY} and {MERGES}"


def _add_tokens(tokenizer: Tokenizer, settings: TokenizerSettings, folder: Path) -> None:
    """Add the tokens in addition to the vocabulary, in the order of their ids.

    Raises:
        ModelError: a token would get another id than in the files.
    """
    special = set(settings.special.values())
    for token, number in sorted(settings.added.items(), key=lambda item: item[1]):
        added = AddedToken(token, normalized=False, special=token in special)
        (tokenizer.add_special_tokens if token in special else tokenizer.add_tokens)([added])
        if tokenizer.token_to_id(token) != number:
            message = "an added token does not follow the vocabulary; the files do not belong together"
            got = tokenizer.token_to_id(token)
            raise ModelError(message, path=str(folder), token=token, expected=number, got=got)


def _special_tokens(tokenizer: Tokenizer, settings: TokenizerSettings, family: str) -> dict[str, str]:
    """Return role -> token: as the files say, else the family's, else by the ids in the model's config."""
    by_id = {role: tokenizer.id_to_token(number) for role, number in settings.special_ids.items()}
    special = {**by_id, **DEFAULT_SPECIAL.get(family, {}), **settings.special}
    return {role: token for role, token in special.items() if token and tokenizer.token_to_id(token) is not None}


def _set_first_token(
    tokenizer: Tokenizer, family: str, settings: TokenizerSettings, *, special: Mapping[str, str]
) -> None:
    role = "eos_token" if family in END_FIRST_FAMILIES else "bos_token"
    is_default = family in (*END_FIRST_FAMILIES, *BEGIN_OF_TEXT_FAMILIES)
    token = special.get(role)
    if token is not None and settings.flag("add_bos_token", default=is_default):
        number = tokenizer.token_to_id(token)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, number)]
        )


def _write(folder: Path, tokenizer: Tokenizer, settings: TokenizerSettings, *, special: Mapping[str, str]) -> None:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415 - takes seconds

    kept = {key: settings.config[key] for key in KEPT_SETTINGS if key in settings.config}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, **kept).save_pretrained(folder)
