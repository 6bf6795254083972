"""Tokenizer files of an imported model: copies of those of the source, and always a tokenizer.json.

Published models have tokenizer.json, a sentencepiece model alone (XGLM), or vocab.json and merges.txt (mGPT). Without
tokenizer.json, transformers may build a tokenizer that reads every word as unknown.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, processors

from mlprune.errors import ModelError
from mlprune.importing.sources.weight_format import Report
from mlprune.importing.tokenizer_formats.byte_level_tokenizer import MERGES, VOCABULARY, byte_level_tokenizer
from mlprune.importing.tokenizer_formats.sentencepiece_file import read_sentencepiece
from mlprune.importing.tokenizer_formats.sentencepiece_tokenizer import (
    FAIRSEQ_FAMILIES,
    fairseq_model,
    sentencepiece_tokenizer,
)
from mlprune.importing.tokenizer_formats.special_tokens import TokenizerSettings, read_settings
from mlprune.models.checkpoint.content_hashes import SENTENCEPIECE_FILES, TOKENIZER_FILES, TOKENIZER_JSON
from mlprune.models.checkpoint.weight_files import read_json_object
from mlprune.models.loading import check_tokenizer
from mlprune.models.tokenizer_checks import require_vocabulary

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


def write_tokenizer(source: Path, target: Path, report: Report) -> None:
    """Write the tokenizer of a source to the folder of the imported model, which has config.json already.

    Args:
        report: receives lines for the user.
    Raises:
        ModelError: the source has no tokenizer, or it cannot be converted or does not fit the model.
    """
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
