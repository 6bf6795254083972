"""Importance matrices for the quantiser of llama.cpp: GGUF files with what `llama-imatrix` collects in a forward pass.

A file has two float32 tensors for each weight tensor that a block of the model has in GGUF: `NAME.in_sum2`, the sums of
squares of the features that it reads, and `NAME.counts`, the number of tokens. A stack of experts has a row for each
expert. Layers that read one input have the same sums. The names of tensors are those of the `gguf` package.

Source: common/imatrix-loader.cpp and tools/imatrix of llama.cpp, b11739.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing.importance import (
    GivenSet,
    Importance,
    ObservedSet,
    block_importance,
    observed_sets,
)
from mlprune.errors import BadInputError, ModelError, PermanentError, StoreError
from mlprune.models.architecture.architecture import Architecture, Experts
from mlprune.models.checkpoint.weight_files import architecture_at, read_json_object, weight_name
from mlprune.models.loading import inspect_model
from mlprune.steps.inputs import base_model_identity
from mlprune.store.store import Store
from mlprune.vocabulary import TokenScope

Values = NDArray[np.float32]
Names = Mapping[tuple[int, str], tuple[str, ...]]
"""(block, layer) -> names of its weight in GGUF. The layer of all experts has the path of the experts and its name."""
OTHER_NAMES: Mapping[str, str] = {"cohere": "command-r", "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2"}
"""`model_type` -> architecture of GGUF, where the two differ in more than `_`, `-` and the ending `_text`."""
TOKENIZERS = ("BPE", "Unigram", "WordPiece")
"""Types of a `tokenizer.json` for which GGUF has a tokenizer."""
TYPE = "imatrix"
"""`general.type` of the file."""
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"


@dataclass(frozen=True)
class Header:
    """The metadata of a file."""

    datasets: tuple[str, ...]
    """Each set with its languages and, if there are several, its share."""
    chunk_count: int
    """Demonstrations."""
    chunk_size: int
    """Counted tokens of a demonstration, rounded mean, at least 1."""


@dataclass(frozen=True)
class WrittenMatrix:
    """What a file contains."""

    header: Header
    n_matrices: int
    """Weight tensors with an importance."""
    n_tokens: int
    n_bytes: int


def export_imatrix(
    store: Store, sets: Sequence[GivenSet], model_path: Path, out: Path, *, token_scope: TokenScope = "all"
) -> WrittenMatrix:
    """Write the importance matrix of demonstration sets. The file appears completely or not at all.

    It is read again and compared before it gets its name; an earlier file is replaced.

    Args:
        sets: their shares sum to 1.
        model_path: folder of the base model that was observed.
        token_scope: the tokens that count.
    Raises:
        BadInputError: the store lacks statistics of a set, or the `gguf` package is not installed.
        ModelError: GGUF has no name for the type of the model, for a layer or for the tokenizer.
        StoreError: the file cannot be written.
        DamagedArtefactError: a file of statistics is missing or damaged.
        PermanentError: the file differs from what was written.
    """
    gguf = require_gguf()
    architecture = architecture_at(model_path)
    _require_tokenizer(model_path)
    names = gguf_names(architecture, gguf)
    base_model_id = base_model_identity(inspect_model(model_path)).id
    has_experts = bool(architecture.experts)
    observed = observed_sets(store, sets, base_model_id, token_scope=token_scope, has_experts=has_experts)
    header = _header(store, observed)
    tensors: dict[str, Values] = {}
    for block in range(architecture.n_blocks):
        for layer, importance in block_importance(store, observed, architecture, block=block).items():
            tensors |= _tensors(names[block, layer], importance)
    target = out.expanduser().resolve()
    try:
        remove_left_over(target)
        with replacing(target) as temporary:
            _write(temporary, header, tensors, gguf=gguf)
            _compare(temporary, header, tensors, gguf=gguf)
        n_bytes = target.stat().st_size
    except OSError as err:
        message = "the importance matrix cannot be written"
        raise StoreError(message, path=str(out), reason=err.strerror or str(err)) from err
    return WrittenMatrix(header, len(tensors) // 2, sum(one.n_tokens for one in observed), n_bytes)


def require_gguf() -> ModuleType:
    """Return the `gguf` package. It is an extra.

    Raises:
        BadInputError: it is not installed.
    """
    try:
        import gguf  # noqa: PLC0415 - an extra
    except ImportError as err:
        message = "an importance matrix needs the gguf package"
        raise BadInputError(message, expected="pip install -e '.[gguf]'", got=str(err)) from err
    module: ModuleType = gguf
    return module


def gguf_names(architecture: Architecture, gguf: ModuleType) -> Names:
    """Return the names of all prunable weights in GGUF.

    The `gguf` package maps the names of published checkpoints. Experts are stacks in GGUF, whatever checkpoints and the
    model library have: their names follow from the place of the layer in the expert. A layer has several names if GGUF
    stores it in several tensors, or if converters may store it joined or divided.

    Raises:
        ModelError: the package does not know the type of the model, or a layer.
    """
    kind = _gguf_architecture(architecture.name, gguf)
    of_layers = gguf.get_tensor_name_map(kind, architecture.n_blocks)
    names: dict[tuple[int, str], tuple[str, ...]] = {}
    for block in range(architecture.n_blocks):
        of_block = architecture.block(block)
        for layer in (layer for layer in of_block.layers if not of_block.is_routed(layer)):
            names[block, layer] = _names_of_layer(architecture, block, layer, of_layers)
        if of_block.experts is not None:
            for name, stacks in _stacks_of_experts(of_block.experts, kind, gguf).items():
                names[block, name] = tuple(stack.format(bid=block) for stack in stacks)
    missing = sorted({layer for (_, layer), of_layer in names.items() if not of_layer})
    if missing:
        message = "the gguf package has no names for layers of this type of model"
        raise ModelError(message, model_type=architecture.name, got=missing)
    return names


def _stacks_of_experts(experts: Experts, kind: Any, gguf: ModuleType) -> dict[str, list[str]]:
    """Return layer of all experts -> names of its stacks in GGUF, with `{bid}` for the block."""
    first, last = experts.names
    of_kind = gguf.MODEL_TENSOR
    gated = (of_kind.FFN_GATE_EXP, of_kind.FFN_UP_EXP, of_kind.FFN_GATE_UP_EXP)
    stacks = {first: gated if first.startswith("gate") else (of_kind.FFN_UP_EXP,), last: (of_kind.FFN_DOWN_EXP,)}
    known = gguf.MODEL_TENSORS[kind]
    return {
        f"{experts.path}.{name}": [gguf.TENSOR_NAMES[stack] for stack in of_layer if stack in known]
        for name, of_layer in stacks.items()
    }


def _gguf_architecture(model_type: str, gguf: ModuleType) -> Any:
    """Return the architecture of GGUF of a type of model.

    Raises:
        ModelError: there is none.
    """
    plain = {re.sub("[-_]", "", name): kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    name = OTHER_NAMES.get(model_type, model_type)
    kind = plain.get(re.sub("[-_]", "", name.removesuffix("_text")))
    if kind is None:
        raise ModelError(
            "the gguf package has no names of tensors for this type of model, which an importance matrix needs",
            model_type=model_type,
            expected="a type that it maps, such as llama, qwen3, gemma3_text, gpt2 or qwen3_moe",
        )
    return kind


def _names_of_layer(architecture: Architecture, block: int, layer: str, of_layers: Any) -> tuple[str, ...]:
    """Return the names of the weight of a layer outside of experts: of the model's name, or of those in checkpoints."""
    weight = weight_name(architecture, block, layer)
    ways = architecture.block(block).ways_of.get(f"{layer}.weight", ())
    stored = [tuple(part.of_block(block).name for part in way) for way in ways]
    for candidate in ((weight,), (weight.removeprefix(f"{architecture.prefix}."),), *stored):
        found = [of_layers.get_name(name.removesuffix(".weight")) for name in candidate]
        if None not in found:
            return tuple(found)
    return ()


def _require_tokenizer(model_path: Path) -> None:
    """Check that GGUF has a tokenizer of the type of the base model's, without which it has no file of the model.

    Raises:
        ModelError: it has none.
    """
    path = model_path / "tokenizer.json"
    model = read_json_object(path).get("model") if path.exists() else None
    kind = model.get("type") if isinstance(model, dict) else None  # early files of BPE have no type
    if kind not in (None, *TOKENIZERS):
        message = "GGUF has no tokenizer of the type of the base model's, so llama.cpp cannot run the model"
        raise ModelError(message, path=str(path), expected=list(TOKENIZERS), got=kind)


def _header(store: Store, observed: Sequence[ObservedSet]) -> Header:
    n_texts = sum(one.n_demonstrations for one in observed)
    n_tokens = sum(one.n_tokens for one in observed)
    datasets = []
    for one in observed:
        languages = ", ".join(_languages(store, one.given.id))
        share = f", share {one.given.share:.4g}" if len(observed) > 1 else ""
        datasets.append(one.given.label + (f" ({languages})" if languages else "") + share)
    return Header(tuple(datasets), n_texts, max(1, round(n_tokens / n_texts)))


def _languages(store: Store, set_id: str) -> list[str]:
    """Return the languages of a set and of the sets that it mixes, each once."""
    rows = store.require("demonstration_sets", set_id).rows
    described = rows["demonstration_sets"][0]
    own = [str(language) for side in ("source", "target") if (language := described[f"{side}_language"])]
    parts = [str(part["part_id"]) for part in rows.get("demonstration_set_parts", ())]
    return list(dict.fromkeys([*own, *(language for part in parts for language in _languages(store, part))]))


def _tensors(names: Sequence[str], importance: Importance) -> dict[str, Values]:
    """Return the two tensors of each name, [matrices, in] and [matrices, 1]."""
    sums = importance.sums.numpy().astype(np.float32)
    counts = importance.counts.numpy().astype(np.float32)[:, None]
    return {f"{name}.weight.{end}": value for name in names for end, value in (("in_sum2", sums), ("counts", counts))}


def _write(path: Path, header: Header, tensors: Mapping[str, Values], *, gguf: ModuleType) -> None:
    writer = gguf.GGUFWriter(path, "")  # such files name no architecture
    writer.add_type(TYPE)
    writer.add_array(DATASETS, list(header.datasets))
    writer.add_uint32(CHUNK_COUNT, header.chunk_count)
    writer.add_uint32(CHUNK_SIZE, header.chunk_size)
    for name in sorted(tensors):
        writer.add_tensor(name, tensors[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _compare(path: Path, header: Header, tensors: Mapping[str, Values], *, gguf: ModuleType) -> None:
    """Read a file again.

    Raises:
        PermanentError: it differs from what was written.
    """
    reader = gguf.GGUFReader(path)
    fields = {name: reader.fields[name].contents() for name in (DATASETS, CHUNK_COUNT, CHUNK_SIZE)}
    expected = {DATASETS: list(header.datasets), CHUNK_COUNT: header.chunk_count, CHUNK_SIZE: header.chunk_size}
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    wrong = [name for name in expected if fields[name] != expected[name]]
    wrong += sorted(found.keys() ^ tensors.keys())
    wrong += [name for name in tensors if name in found and not np.array_equal(found[name], tensors[name])]
    if wrong:
        raise PermanentError("the file that was written differs from the importance matrix", path=str(path), got=wrong)
