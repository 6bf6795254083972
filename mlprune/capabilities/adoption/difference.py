"""Compare a pruned checkpoint that was made elsewhere with its base model.

A checkpoint of codes that was imported as values is compared by the rules of `quantised.py`: a weight that is 0 by
rounding is not removed.

A checkpoint can differ from its base model in the prunable layers of its blocks, or lack experts, heads, neurons or
whole blocks, and tokens. A weight counts as removed if it is exactly 0 in a layer that differs from the base model.
Everything else has to be equal: with another embedding or norm, the checkpoint belongs to another model or to another
revision of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mlprune.capabilities.adoption.quantised import description, embedding_names, new_embeddings
from mlprune.capabilities.adoption.wider_files import WiderFiles, stored
from mlprune.errors import BadInputError
from mlprune.hashing import digest
from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import BIAS_KEYS
from mlprune.models.checkpoint.tensor_slices import padded_rows
from mlprune.models.checkpoint.weight_files import (
    TensorFiles,
    WeightFiles,
    architecture_at,
    bias_name,
    is_obsolete_buffer,
    weight_name,
)
from mlprune.models.import_record import ImportRecord, read_import_record
from mlprune.models.loading import MAX_LISTED, check_tokenizer, inspect_model, load_tokenizer
from mlprune.models.metadata_cache import cached_metadata
from mlprune.steps.checkpoints import checkpoint_content
from mlprune.trimming.folder import KeptTokens, has_tokenizer_files_of, tokenizer_rules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_IGNORED_SETTINGS = ("architectures", "dtype", "torch_dtype", "transformers_version", "use_cache", "return_dict")
"""Keys of a config that do not change what a model computes from tokens. Private keys and ids of tokens do not either:
tokenizers are compared themselves."""


@dataclass(frozen=True)
class CheckpointDifference:
    """How a checkpoint differs from its base model."""

    n_weights: int
    """Prunable weights of the base model."""
    n_removed: int
    weights_changed: bool = False
    """Whether weights that are not removed have new values."""
    biases_changed: bool = False
    removed_blocks: tuple[int, ...] = ()
    """Blocks of the base model that the checkpoint lacks, ascending; the others are then equal."""
    embeddings: tuple[str, ...] = ()
    """Names in the checkpoint of the base model of the embedding and the head, if they have new values."""
    quantised: Mapping[str, Any] = field(default_factory=dict)
    """What a quantised checkpoint is; see `quantised.description`. Empty for another one."""

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights that is removed."""
        return self.n_removed / self.n_weights

    @property
    def is_none(self) -> bool:
        """Whether all blocks have the weights of the base model; the checkpoint then has fewer tokens."""
        return not (self.n_removed or self.weights_changed or self.biases_changed or self.embeddings)


@dataclass(frozen=True)
class LayerDifference:
    """How a prunable layer of a checkpoint differs from that of its base model."""

    removed: Tensor
    """bool [out, in]: weights that are 0, if the weights of the layer differ at all."""
    weight: Tensor
    """[out, in], in the stored dtype; removed ones are +0."""
    is_changed: bool
    """Whether weights that are not removed have new values."""
    bias: Tensor | None
    """[out], in the stored dtype, if it has new values, or values where the base model has no bias."""


def compare_checkpoint(base: Path, adopted: Path, *, tokens: KeptTokens | None = None) -> CheckpointDifference:
    """Compare the folder of a pruned checkpoint with that of its base model.

    All weights are read; the result is cached while the files do not change.

    Args:
        tokens: those of a checkpoint with fewer tokens, whose tokenizer is then compared already.
    Raises:
        BadInputError: the model type, settings, shapes or tokenizers differ, or more than the prunable layers does.
        ModelError: the checkpoint is not a model that can be read.
    """
    checkpoint_content(adopted)
    record = quantised_record(adopted)
    name = f"difference to {digest(dict(inspect_model(base).content))}"
    name += f" with tokens {digest(asdict(tokens))}" if tokens else ""
    name += f" with codes {digest(asdict(record))}" if record else ""
    cached = cached_metadata(adopted, name, lambda: asdict(_compare(base, adopted, tokens, record)))
    lists = {key: tuple(cached[key]) for key in ("removed_blocks", "embeddings")}
    return CheckpointDifference(**{**cached, **lists})


def quantised_record(adopted: Path) -> ImportRecord | None:
    """Return the record of an import that wrote the values of codes; None for another checkpoint."""
    record = read_import_record(adopted)
    return record if record is not None and record.quantised else None


def open_adopted(base: Path, adopted: Path) -> tuple[WeightFiles, WiderFiles]:
    """Open the weights of a base model, and those of a checkpoint with as many blocks, in the base model's shapes."""
    files, own = (WeightFiles(folder, architecture_at(folder)) for folder in (base, adopted))
    return files, WiderFiles(files, own, (base, adopted))


def layer_differences(
    base: WeightFiles, adopted: TensorFiles, block: int, *, has_codes: bool = False
) -> Iterator[tuple[str, LayerDifference]]:
    """Yield each prunable layer of a block and how it differs.

    Args:
        has_codes: whether the values are those of codes, of which none counts as removed.
    Raises:
        BadInputError: the experts, heads or neurons of the checkpoint are not some of the base model's.
    """
    architecture = base.architecture
    kind = architecture.block(block)
    for layer in kind.layers:
        name, bias = weight_name(architecture, block, layer), bias_name(architecture, block, layer)
        expected, weight = (oriented(stored(files, name), kind) for files in (base, adopted))
        is_equal = _are_equal(expected, weight)
        removed = torch.zeros(weight.shape, dtype=torch.bool) if is_equal or has_codes else weight == 0
        weight = weight.masked_fill(removed, 0)
        is_changed = not is_equal and not _are_equal(expected.masked_fill(removed, 0), weight)
        before, after = (stored(files, bias) if files.has(bias) else None for files in (base, adopted))
        is_equal = after is None or (_are_equal(before, after) if before is not None else not bool(after.any()))
        yield layer, LayerDifference(removed, weight, is_changed, None if is_equal else after)


@dataclass(frozen=True)
class _Pair:
    """The weights of a checkpoint and of its base model."""

    model: "PreTrainedModel"
    """The base model without weights."""
    base: Path
    adopted: Path
    files: WeightFiles
    own: TensorFiles
    names: tuple[str, ...]
    """The stored parameters and buffers of the base model."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the base model."""
        return self.files.architecture.n_blocks

    def in_block(self, block: int) -> list[str]:
        """Return the parameters of a block of the base model, relative to the block."""
        prefix = f"{self.files.architecture.blocks}.{block}."
        return [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]

    def is_equal(
        self, name: str, own_name: str, kept: Mapping[int, Sequence[int]] | None = None, *, may_be_padded: bool = False
    ) -> bool:
        """Whether both have a tensor with equal values; of two tied ones, each may store only one.

        Args:
            kept: dimension -> the entries along it that are compared; None: all of the tensor.
            may_be_padded: whether the checkpoint may have rows of padding after them; see `padded_rows`.
        """
        from mlprune.models.meta_model import source_of  # noqa: PLC0415 - imports transformers

        source = source_of(own_name, self.model, self.own)
        if not self.own.has(source):
            return False
        expected, got = stored(self.files, name), stored(self.own, source)
        for dimension, indices in (kept or {}).items():
            expected = expected.index_select(dimension, torch.tensor(indices))
        return _are_equal(padded_rows(expected, len(got)) if may_be_padded else expected, got)

    def dtypes_if_rounded(self, name: str) -> tuple[str, str] | None:
        """Return the dtypes of both if a tensor has the base model's values rounded to its dtype, else None."""
        from mlprune.models.meta_model import source_of  # noqa: PLC0415 - imports transformers

        source = source_of(name, self.model, self.own)
        if not self.own.has(source):
            return None
        expected, got = stored(self.files, name), stored(self.own, source)
        is_rounded = expected.dtype != got.dtype and _are_equal(expected.to(got.dtype), got)
        first, second = (str(tensor.dtype).removeprefix("torch.") for tensor in (expected, got))
        return (first, second) if is_rounded else None


def _compare(base: Path, adopted: Path, tokens: KeptTokens | None, record: ImportRecord | None) -> CheckpointDifference:
    from mlprune.models.meta_model import build_skeleton, source_of  # noqa: PLC0415 - imports transformers

    architecture, other = architecture_at(base), architecture_at(adopted)
    if architecture.name != other.name:
        message = "the checkpoint is of another model type than its base model"
        raise BadInputError(message, path=str(adopted), expected=architecture.name, got=other.name)
    if tokens is None:
        _require_equal_tokenizers(base, adopted)
    files = WeightFiles(base, architecture)
    model = build_skeleton(base, torch.float32)
    named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers())
    names = dict.fromkeys(source_of(name, model, files) for name, _ in named)
    present = tuple(name for name in names if files.has(name) and not is_obsolete_buffer(name))
    own, has_all_blocks = WeightFiles(adopted, other), other.n_blocks >= architecture.n_blocks
    if record is not None:
        return _compare_codes(_Pair(model, base, adopted, files, own, present), own, record)
    wider = WiderFiles(files, own, (base, adopted), present) if has_all_blocks else None
    pair = _Pair(model, base, adopted, files, wider or own, present)
    kept = range(architecture.n_blocks) if has_all_blocks else _kept_blocks(pair)
    _require_equal_settings(pair, kept, wider, tokens)
    _require_equal_others(pair, kept, tokens)
    difference = _changes(pair) if has_all_blocks else _without_blocks(pair, kept)
    if tokens is None and difference.is_none:
        message = "the checkpoint has the weights of its base model: nothing is pruned"
        raise BadInputError(message, path=str(adopted), base=str(base))
    return difference


def _compare_codes(pair: _Pair, own: WeightFiles, record: ImportRecord) -> CheckpointDifference:
    """Compare a quantised checkpoint, which has all parts of its base model.

    Raises:
        BadInputError: settings differ, or it belongs to another model; see `new_embeddings`.
    """
    _require_equal_settings(pair, range(pair.n_blocks), None, None)
    names = embedding_names(pair.base, pair.files)
    others = [name for name in pair.names if name not in _prunable(pair.files.architecture)]
    with_path = {"path": str(pair.adopted), "base": str(pair.base)}
    try:
        new = new_embeddings(pair.files, own, others, record=record, may_differ=tuple(names.values()))
    except BadInputError as err:
        raise BadInputError(err.message, {**with_path, **err.context}) from err
    n_weights = n_zeros = 0
    is_changed = has_new_bias = False
    for block in range(pair.n_blocks):
        for _, layer in layer_differences(pair.files, own, block, has_codes=True):
            n_weights, n_zeros = n_weights + layer.removed.numel(), n_zeros + int((layer.weight == 0).sum())
            is_changed |= layer.is_changed
            has_new_bias |= layer.bias is not None
    what = description(own, record, embeddings=names, n_zeros=n_zeros)
    return CheckpointDifference(n_weights, 0, is_changed, has_new_bias, embeddings=new, quantised=what)


def _prunable(architecture: Architecture) -> set[str]:
    """Return the names of the weights and biases of the layers that can be pruned."""
    return {
        name(architecture, block, layer)
        for block in range(architecture.n_blocks)
        for layer in architecture.block(block).layers
        for name in (weight_name, bias_name)
    }


def _changes(pair: _Pair) -> CheckpointDifference:
    """Count the removed weights of all layers."""
    n_weights = n_removed = 0
    is_changed = has_new_bias = False
    for block in range(pair.n_blocks):
        for _, layer in layer_differences(pair.files, pair.own, block):
            n_weights += layer.removed.numel()
            n_removed += int(layer.removed.sum())
            is_changed |= layer.is_changed
            has_new_bias |= layer.bias is not None
    return CheckpointDifference(n_weights, n_removed, is_changed, has_new_bias)


def _without_blocks(pair: _Pair, kept: Sequence[int]) -> CheckpointDifference:
    """Count the weights of removed blocks."""
    shapes = [pair.files.layer_shapes(block).values() for block in range(pair.n_blocks)]
    sizes = [sum(n_out * n_in for n_out, n_in in of_block) for of_block in shapes]
    removed = tuple(block for block in range(pair.n_blocks) if block not in kept)
    return CheckpointDifference(sum(sizes), sum(sizes[block] for block in removed), removed_blocks=removed)


def _kept_blocks(pair: _Pair) -> list[int]:
    """Return the blocks of the base model that a checkpoint with fewer blocks has, ascending.

    Raises:
        BadInputError: its blocks are not blocks of the base model, in their order.
    """
    prefix, n_blocks = pair.files.architecture.blocks, pair.own.architecture.n_blocks
    kept: list[int] = []
    for block in range(pair.n_blocks):
        of_base, of_own = f"{prefix}.{block}.", f"{prefix}.{len(kept)}."
        if len(kept) < n_blocks and all(pair.is_equal(of_base + name, of_own + name) for name in pair.in_block(block)):
            kept.append(block)
    if len(kept) < n_blocks:
        message = (
            "a checkpoint with fewer blocks can be adopted only if its blocks are unchanged blocks of its base model"
        )
        got = f"a block {len(kept)} with other weights"
        raise BadInputError(message, path=str(pair.adopted), base=str(pair.base), got=got)
    return kept


def _require_equal_settings(
    pair: _Pair, kept: Sequence[int], wider: WiderFiles | None, tokens: KeptTokens | None
) -> None:
    """Compare the configs; lists with a value per block are compared for the blocks that remain.

    Args:
        wider: the checkpoint, if it has all blocks; numbers of experts, heads and neurons may then differ.
    Raises:
        BadInputError: a setting that changes shapes or results differs.
    """
    from mlprune.models.fewer_blocks import settings_of_blocks  # noqa: PLC0415 - imports transformers

    expected, got = (_settings(folder) for folder in (pair.base, pair.adopted))
    expected |= settings_of_blocks(expected, pair.n_blocks, kept)
    expected |= {key: value for key, value in (tokens.settings if tokens else {}).items() if key in expected}
    n_blocks_key = _config(pair.base).attribute_map.get("num_hidden_layers", "num_hidden_layers")
    keys = sorted({*expected, *got} - {n_blocks_key} if len(kept) < pair.n_blocks else {*expected, *got})
    different = [key for key in keys if expected.get(key) != got.get(key) and not (key in BIAS_KEYS and got.get(key))]
    if wider is not None and set().union(*wider.keys_of_kinds.values()).issuperset(different):
        narrow = wider.narrow_keys()
        different = [key for key in different if key not in narrow]
    if not different:
        return
    context: dict[str, object] = {"path": str(pair.adopted), "base": str(pair.base)}
    context |= {"expected": {key: expected.get(key) for key in different[:MAX_LISTED]}}
    context |= {"got": {key: got.get(key) for key in different[:MAX_LISTED]}}
    raise BadInputError("the shapes or settings of a checkpoint differ from those of its base model", context)


def _settings(folder: Path) -> dict[str, Any]:
    values = _config(folder).to_dict()
    return {
        key: value
        for key, value in values.items()
        if not key.startswith("_") and key not in _IGNORED_SETTINGS and not key.endswith("_token_id")
    }


def _config(folder: Path) -> Any:
    from transformers import AutoConfig  # noqa: PLC0415 - takes a second

    return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def _require_equal_others(pair: _Pair, kept: Sequence[int], tokens: KeptTokens | None) -> None:
    """Compare all tensors but the weights and biases of prunable layers.

    Args:
        kept: the blocks that remain; of tensors with entries of every block, theirs are compared.
        tokens: the tokens that remain, if they are fewer; of tensors with a row per token, theirs are compared.
    Raises:
        BadInputError: some differ, or the checkpoint lacks one.
    """
    from mlprune.models.fewer_blocks import without_blocks  # noqa: PLC0415 - imports transformers

    architecture = pair.files.architecture
    of_tokens = tokens.tensors if tokens else ()
    entries: dict[str, dict[int, Sequence[int]]] = {name: {0: tokens.ids} for name in of_tokens} if tokens else {}
    if len(kept) < architecture.n_blocks:
        names = [name for name in pair.names if not architecture.is_in_blocks(name)]
        removed = [block for block in range(architecture.n_blocks) if block not in kept]
        for name, (dimension, indices) in without_blocks(_config(pair.base), architecture, removed).kept.items():
            entries.setdefault(name, {})[dimension] = indices
    else:
        prunable = _prunable(architecture)
        names = [name for name in pair.names if name not in prunable]
    different = [
        name for name in names if not pair.is_equal(name, name, entries.get(name), may_be_padded=name in of_tokens)
    ]
    if different:
        listed = different[:MAX_LISTED]
        rounded = [pair.dtypes_if_rounded(name) for name in listed]
        context = {"path": str(pair.adopted), "base": str(pair.base), "n_tensors": len(different)}
        if rounded[0] is not None and None not in rounded:
            expected, got = rounded[0]
            message = "a checkpoint has more than the prunable layers rounded to another dtype than its base model"
            step = f"store all tensors but those of prunable layers in {expected}"
            raise BadInputError(message, context, tensors=listed, expected=expected, got=got, next=step)
        message = "a checkpoint differs from its base model in more than the prunable layers"
        step = "name the revision of the base model that it was made from"
        raise BadInputError(message, context, got=listed, next=step)


def _require_equal_tokenizers(base: Path, adopted: Path) -> None:
    """Compare the tokenizers: their files or, if these differ, their vocabularies and rules.

    A checkpoint without a tokenizer is used with that of its base model.

    Raises:
        BadInputError: they differ.
    """
    if has_tokenizer_files_of(base, adopted):
        return
    check_tokenizer(adopted)
    expected, got = (tokenizer_rules(load_tokenizer(folder)) for folder in (base, adopted))
    different = sorted(key for key in {*expected, *got} if expected.get(key) != got.get(key))
    if different:
        context: dict[str, object] = {"path": str(adopted), "base": str(base), "got": different}
        if unknown_tokens := sorted(got["vocabulary"].keys() - expected["vocabulary"].keys()):
            context["tokens"] = unknown_tokens[:MAX_LISTED]
        raise BadInputError("the tokenizer of a checkpoint differs from that of its base model", context)


def _are_equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors have equal values; those of another dtype are compared as float32."""
    if first.shape != second.shape:
        return False
    return torch.equal(first, second) if first.dtype == second.dtype else torch.equal(first.float(), second.float())
