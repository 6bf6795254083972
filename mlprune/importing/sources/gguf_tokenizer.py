"""Tokenizer of a GGUF file: transformers builds it, and the splitting of words is set for the tokenizers known here.

A GGUF file names the regular expression that splits a text into words, and does not contain it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Regex, Tokenizer, pre_tokenizers

from mlprune.errors import ModelError, reason_of, unknown
from mlprune.importing.sources.gguf_file import GgufHeader

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
