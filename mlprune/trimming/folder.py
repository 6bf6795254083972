"""Folders with a smaller vocabulary: the tokenizer in place, with the ids of the base model, or a smaller model."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mlprune.errors import BadInputError, ModelError
from mlprune.hashing import digest
from mlprune.json_values import JsonValue
from mlprune.models.checkpoint.content_hashes import TOKENIZER_FILES, TOKENIZER_JSON, file_sha256
from mlprune.models.checkpoint.rewritten_files import write_json
from mlprune.models.checkpoint.tensor_slices import (
    TensorSlice,
    padded_rows,
    read_rows,
    replace_tensors,
    tensor_slices,
)
from mlprune.models.checkpoint.weight_files import INDEX_FILE, WeightFiles, architecture_at, read_json_object
from mlprune.models.loading import MAX_LISTED, SENTENCE, inspect_model, load_tokenizer
from mlprune.models.metadata_cache import cached_metadata
from mlprune.trimming.tokenizer_json import TokenizerJson

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG = "config.json", "generation_config.json", "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
SIZE = "vocab_size"
"""Beginning of the keys of a config for the number of tokens; a further embedding can have a key of its own."""
COPIED = (TOKENIZER_CONFIG, "special_tokens_map.json", TEMPLATE)
"""Files of a tokenizer next to its vocabulary."""
TOKEN_LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "forced_decoder_ids")
"""Keys of configs with tokens whose names do not end in `_token_id`."""


@dataclass(frozen=True)
class KeptTokens:
    """The tokens of a base model that a checkpoint with fewer tokens has, and what follows from them."""

    ids: tuple[int, ...]
    """Of the base model, ascending."""
    tensors: tuple[str, ...]
    """Stored tensors of the base model with a row per token."""
    settings: Mapping[str, JsonValue]
    """Key of the config -> its value in the checkpoint, where it differs."""


def read_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> TokenizerJson:
    """Return the file of a loaded tokenizer, as it runs.

    Raises:
        BadInputError: it has none, or its vocabulary cannot be trimmed.
    """
    if not tokenizer.is_fast:
        message = "the tokenizer cannot be trimmed: it has no tokenizer.json"
        raise BadInputError(message, expected=TOKENIZER_JSON, got="a slow tokenizer")
    source = TokenizerJson(json.loads(tokenizer.backend_tokenizer.to_str()))
    source.require_trimmable()
    return source


def required_tokens(source: TokenizerJson, folder: Path, *, n_rows: int) -> frozenset[int]:
    """Return the tokens of a model folder that every smaller vocabulary keeps; see `TokenizerJson.required`.

    Args:
        n_rows: rows of the embedding; tokens beyond it have no weights and are dropped.
    """
    ids: list[int] = []
    for name in (CONFIG, GENERATION_CONFIG):
        if (folder / name).exists():
            ids += [number for values in _token_values(read_json_object(folder / name)).values() for number in values]
    template = folder / TEMPLATE
    text = template.read_text(encoding="utf-8") if template.exists() else ""
    if (folder / TOKENIZER_CONFIG).exists():
        text += str(read_json_object(folder / TOKENIZER_CONFIG).get("chat_template") or "")
    return frozenset(number for number in source.required(ids=ids, chat_template=text) if number < n_rows)


def _token_values(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Return key -> the tokens that a config names there."""
    named = {key: value for key, value in config.items() if key.endswith(("_token_id", "_token_ids"))}
    named |= {key: config[key] for key in TOKEN_LISTS if key in config}
    return {key: _numbers(value) for key, value in named.items()}


def _numbers(value: object) -> list[int]:
    if isinstance(value, list):
        return [number for inner in value for number in _numbers(inner)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def write_tokenizer(
    base: Path, target: Path, kept: Sequence[int], *, source: TokenizerJson, new_ids: Mapping[int, int] | None = None
) -> None:
    """Write the files of a tokenizer with some tokens to a folder that exists.

    Args:
        base: folder of the base model.
        source: its tokenizer.
        new_ids: kept token -> new id; None: tokens keep their ids.
    """
    for name in COPIED:
        if (base / name).exists():
            shutil.copyfile(base / name, target / name)
    for name in set(TOKENIZER_FILES) - set(COPIED):
        (target / name).unlink(missing_ok=True)
    write_json(target / TOKENIZER_JSON, source.trimmed(kept, new_ids=new_ids))
    original = load_tokenizer(base)
    config = dict(read_json_object(base / TOKENIZER_CONFIG)) if (base / TOKENIZER_CONFIG).exists() else {}
    config |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": list(original.model_input_names),
        "eos_token": original.eos_token,
    }
    for key in ("auto_map", "add_bos_token", "add_eos_token", "vocab_file"):  # the post-processor has these tokens
        config.pop(key, None)
    decoder = config.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        is_kept, number_of = set(kept), new_ids or {}
        config["added_tokens_decoder"] = {
            str(number_of.get(int(number), int(number))): token
            for number, token in decoder.items()
            if int(number) in is_kept
        }
    write_json(target / TOKENIZER_CONFIG, config)
    _check_written(target, original, kept, new_ids=new_ids)


def _check_written(
    target: Path, original: "PreTrainedTokenizerBase", kept: Sequence[int], *, new_ids: Mapping[int, int] | None
) -> None:
    """Check that the written tokenizer gives a sentence the tokens of the original one, if all of them are kept.

    Raises:
        ModelError: it does not.
    """
    expected = original(SENTENCE)["input_ids"]
    if not set(kept).issuperset(expected):
        return
    expected = [new_ids[number] for number in expected] if new_ids else expected
    got = load_tokenizer(target)(SENTENCE)["input_ids"]
    if got != expected:
        message = "the trimmed tokenizer differs from that of the base model on kept tokens"
        raise ModelError(message, sentence=SENTENCE, expected=expected, got=got)


def vocabulary_tensors(folder: Path) -> dict[str, int]:
    """Return the stored tensors with a row per token: embeddings, and the head and its bias if they are stored.

    Raises:
        BadInputError: an embedding and the head have other sizes, so the config does not describe them.
    """
    from mlprune.models.meta_model import build_skeleton  # noqa: PLC0415 - imports transformers

    model = build_skeleton(folder, torch.float32)
    rows = int(model.get_input_embeddings().weight.shape[0])
    parameters = dict(model.named_parameters(remove_duplicate=False))
    of_tokens = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    bias = getattr(model.get_output_embeddings(), "bias", None)
    of_tokens |= set() if bias is None else {id(bias)}
    of_tokens |= {id(embedding.weight) for embedding in _token_embeddings(model)}
    names = {name: int(tensor.shape[0]) for name, tensor in parameters.items() if id(tensor) in of_tokens}
    files = WeightFiles(folder, architecture_at(folder))
    if set(names.values()) != {rows}:
        raise BadInputError("the embeddings and the head have different numbers of tokens", got=names)
    return {part.name: rows for name in names if files.has(name) for part in files.parts(name)}


def _token_embeddings(model: "PreTrainedModel") -> list[nn.Embedding]:
    """Return the embeddings that read the tokens themselves; Gemma 4 has one more, with inputs of every block.

    The model runs without weights as far as it can: the embeddings come first.
    """
    tokens = torch.zeros(1, 2, dtype=torch.long, device="meta")
    found: list[nn.Embedding] = []

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Embedding) and (args[0] is tokens or args[0]._base is tokens):
            found.append(module)

    handles = [module.register_forward_pre_hook(note) for module in model.modules() if isinstance(module, nn.Embedding)]
    with suppress(Exception):  # later operations may need values
        model(input_ids=tokens)
    for handle in handles:
        handle.remove()
    return found


def trim_folder(folder: Path, kept: Sequence[int], *, multiple: int = 1) -> int:
    """Keep only the rows of some tokens in a model folder with all weights, which is changed in place.

    Of the weights, the kept rows of one tensor are in memory at a time. The tokenizer of the folder has to be written
    afterwards.

    Args:
        kept: tokens in ascending order.
        multiple: `vocab_size` is rounded up to a multiple of it by rows of zeros, and a bias of the lowest value.
    Returns: the rows of the new embedding.
    Raises:
        BadInputError: the config has no `vocab_size`, or embeddings and the head have different numbers of tokens.
    """
    config = dict(read_json_object(folder / CONFIG))
    names = vocabulary_tensors(folder)
    n_rows = next(iter(names.values()))
    n_new = -(-len(kept) // multiple) * multiple
    trimmed = _trimmed_config(config, kept, n_rows=n_rows, n_new=n_new)
    files = WeightFiles(folder, architecture_at(folder))
    n_bytes = 0
    for name in (file for file in files.file_names if file != INDEX_FILE):
        stored = tensor_slices(folder / name)
        shapes = {tensor: (n_new, *stored[tensor].shape[1:]) for tensor in names if tensor in stored}
        n_bytes += replace_tensors(folder / name, shapes, lambda file, place: _rows(file, place, kept, n_new))
    if (folder / INDEX_FILE).exists():
        index = dict(read_json_object(folder / INDEX_FILE))
        write_json(folder / INDEX_FILE, {**index, "metadata": {"total_size": n_bytes}})
    write_json(folder / CONFIG, trimmed)
    if (folder / GENERATION_CONFIG).exists():
        generation = read_json_object(folder / GENERATION_CONFIG)
        write_json(folder / GENERATION_CONFIG, _renumbered(generation, kept))
    return n_new


def has_tokenizer_files_of(base: Path, folder: Path) -> bool:
    """Whether all files of a checkpoint's tokenizer are those of its base model; a checkpoint may have none."""
    present = [name for name in TOKENIZER_FILES if (folder / name).exists()]
    return all((base / name).exists() and file_sha256(base / name) == file_sha256(folder / name) for name in present)


def tokenizer_rules(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    """Return what determines the tokens of a text, without the truncation and padding of the last call."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    rules |= {"vocabulary": tokenizer.get_vocab(), "special tokens": tokenizer.all_special_tokens}
    return {key: value for key, value in rules.items() if key not in ("truncation", "padding", "version")}


def kept_tokens(base: Path, adopted: Path) -> KeptTokens | None:
    """Return the tokens of a base model that a checkpoint has; None if it has all of them, or others.

    The result is cached while the files do not change.

    Args:
        base: folder of the base model.
        adopted: folder of the checkpoint; without a tokenizer, it has that of the base model.
    Raises:
        BadInputError: the tokenizer is not that of an export with these tokens.
        ModelError: a tokenizer cannot be read.
    """
    is_equal_size = len({read_json_object(folder / CONFIG).get(SIZE) for folder in (base, adopted)}) == 1
    has_tokenizer = any((adopted / name).exists() for name in TOKENIZER_FILES)
    if not has_tokenizer or (is_equal_size and has_tokenizer_files_of(base, adopted)):
        return None
    name = f"tokens of {digest(dict(inspect_model(base).content))}"
    found = cached_metadata(adopted, name, lambda: _kept_tokens(base, adopted, is_equal_size=is_equal_size))
    return KeptTokens(tuple(found["ids"]), tuple(found["tensors"]), found["settings"]) if found else None


def _kept_tokens(base: Path, adopted: Path, *, is_equal_size: bool) -> dict[str, Any]:
    """Return the fields of `KeptTokens`, or none of them."""
    tokenizer, got = load_tokenizer(base), tokenizer_rules(load_tokenizer(adopted))
    ids, own = tokenizer.get_vocab(), got["vocabulary"]
    if not own.keys() <= ids.keys() or (own.keys() == ids.keys() and is_equal_size):
        return {}
    source, tensors = read_tokenizer(tokenizer), vocabulary_tensors(base)
    n_rows, kept = next(iter(tensors.values())), sorted(ids[token] for token in own)
    config, n_new = read_json_object(base / CONFIG), read_json_object(adopted / CONFIG).get(SIZE)
    lacking = required_tokens(source, base, n_rows=n_rows).difference(kept)
    different = [f"without {source.tokens[number]}" for number in sorted(lacking)[:MAX_LISTED]]
    if not lacking:
        expected = _rules_of_export(base, kept, source=source)
        different = sorted(key for key in {*expected, *got} if expected.get(key) != got.get(key))
    if different or kept[-1] >= n_rows or not isinstance(n_new, int) or n_new < len(kept):
        message = "a checkpoint with a part of its base model's tokens can be adopted only if mlprune exported it"
        context = {"path": str(adopted), "base": str(base), "expected": "the tokenizer and rows of an export"}
        advice = "adopt the checkpoint with all tokens, and give its entry the same `keep`"
        raise BadInputError(message, context, got=different or f"{SIZE} {n_new}", n_tokens=len(kept), next=advice)
    trimmed = _trimmed_config(config, kept, n_rows=n_rows, n_new=n_new)
    settings = {key: value for key, value in trimmed.items() if value != config[key]}
    return {"ids": kept, "tensors": list(tensors), "settings": settings}


def _rules_of_export(base: Path, kept: Sequence[int], *, source: TokenizerJson) -> dict[str, Any]:
    """Return the rules of the tokenizer that an export with some tokens has."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tokenizer(base, folder, kept, source=source, new_ids={old: new for new, old in enumerate(kept)})
        return tokenizer_rules(load_tokenizer(folder))


def _trimmed_config(config: Mapping[str, Any], kept: Sequence[int], *, n_rows: int, n_new: int) -> dict[str, Any]:
    """Return a config with some tokens, of which the embedding had `n_rows` and has `n_new` rows.

    Raises:
        BadInputError: the config has no `vocab_size`.
    """
    sizes = [key for key, value in config.items() if key.startswith(SIZE) and value == n_rows]
    if SIZE not in sizes:
        message = "the vocabulary cannot be made smaller: the config does not state its size"
        raise BadInputError(message, key=SIZE, expected=n_rows, got=config.get(SIZE))
    return _renumbered(config, kept) | dict.fromkeys(sizes, n_new)


def _rows(file: Path, stored: TensorSlice, kept: Sequence[int], n_new: int) -> Tensor:
    """Return the rows of kept tokens, followed by padding."""
    return padded_rows(read_rows(file, stored, kept).reshape(len(kept), *stored.shape[1:]), n_new)


def _renumbered(config: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return a config with the new ids of the tokens that it names; those without weights become null."""
    number_of = {old: new for new, old in enumerate(kept)}
    return {**config, **{key: _new_value(config[key], number_of) for key in _token_values(config)}}


def _new_value(value: JsonValue, number_of: Mapping[int, int]) -> JsonValue:
    if isinstance(value, list):
        return [_new_value(inner, number_of) for inner in value]
    return number_of.get(value) if isinstance(value, int) and not isinstance(value, bool) else value
