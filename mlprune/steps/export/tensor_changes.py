"""Changes of a variant, tensor by tensor of its base model's checkpoint: removed weights and new values.

An export writes them into copies of the weight files; a published variant contains them without the base model.
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlprune.errors import PermanentError
from mlprune.models.checkpoint.edit import rounded_as
from mlprune.models.checkpoint.weight_files import WeightFiles, bias_name, family_at, weight_name
from mlprune.models.families.checks import oriented
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.pruning.weight_files import read_block_weights
from mlprune.steps.prune.stored_masks import StoredMasks, stored_masks
from mlprune.steps.quantise.rows import quantisation_in
from mlprune.steps.quantise.weights import quantised_weights
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

LayerKey = tuple[int, str]
"""(block, layer)."""
ADDED_FILE = "added-biases.safetensors"
"""File of an export with the biases that the base model's files lack."""
_Entry = tuple[int, str, str, Tensor]
"""Block, layer, what it is (removed, weight or bias), and the tensor."""


@dataclass(frozen=True)
class TensorChange:
    """How a variant changes one tensor."""

    key: LayerKey
    file: str
    """File of the base model that contains the tensor; `ADDED_FILE` for a bias that it lacks."""
    name: str
    """Name of the tensor in that file."""
    base: Tensor
    """The tensor of the base model; a view of the file."""
    removed: Tensor | None = None
    """bool, in the shape of the tensor, True for weights that become 0; None if the variant has no mask for it."""
    values: Tensor | None = None
    """New values, in shape and dtype of the tensor, removed ones +0; None if the kept weights stay as they are."""

    @property
    def result(self) -> Tensor:
        """The tensor of the variant."""
        if self.values is not None:
            return self.values
        assert self.removed is not None, "a change has a mask or new values"
        return self.base.masked_fill(self.removed, 0)


def tensor_changes(store: Store, variant: Record, model_path: Path) -> Iterator[TensorChange]:
    """Yield the changes of a variant, block by block. A few blocks are in memory at a time.

    Raises:
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: the base model lacks a tensor, or a changed weight is too large for its dtype.
        PermanentError: a new weight is not 0 although the mask removes it.
    """
    family = family_at(model_path)
    files = WeightFiles(model_path, family)
    stored = stored_masks(store, variant)
    changed = (
        _of_files(store, stored.weights if stored else (), "weight")
        if quantisation_in(variant) is None
        else _quantised(store, variant, model_path)
    )
    streams = (_removed(store, stored), changed, _of_files(store, stored.biases if stored else (), "bias"))
    for block, entries in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        by_layer: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for _, layer, what, tensor in entries:
            by_layer[layer][what] = tensor
        for layer, found in by_layer.items():
            removed, weight = found.get("removed"), found.get("weight")
            if removed is not None or weight is not None:
                removed, weight = (None if one is None else oriented(one, family) for one in (removed, weight))
                yield _change(files, (block, layer), weight_name(family, block, layer), removed=removed, values=weight)
            if "bias" in found:
                name = bias_name(family, block, layer)
                if files.has(name):
                    yield _change(files, (block, layer), name, values=found["bias"])
                else:
                    yield _addition(files, (block, layer), found["bias"])


def removed_weights(store: Store, variant: Record) -> Iterator[tuple[LayerKey, Tensor]]:
    """Yield the removed weights of all pruned layers: bool [out, in], True where a weight becomes 0."""
    for block, layer, _, removed in _removed(store, stored_masks(store, variant)):
        yield (block, layer), removed


def _removed(store: Store, stored: StoredMasks | None) -> Iterator[_Entry]:
    for artefact, levels in stored.files if stored else ():
        for layer, kept in read_keep_masks(store.uri, artefact, levels).items():
            yield block_of(artefact), layer, "removed", ~kept


def _quantised(store: Store, variant: Record, model_path: Path) -> Iterator[_Entry]:
    for (block, layer), weight in quantised_weights(store, variant, model_path):
        yield block, layer, "weight", weight


def _of_files(store: Store, artefacts: Sequence[Artefact], what: Literal["weight", "bias"]) -> Iterator[_Entry]:
    """Yield the new weights [out, in] or biases [out] of the layers that have some."""
    for artefact in artefacts:
        for layer, tensor in read_block_weights(store, artefact).items():
            yield block_of(artefact), layer, what, tensor


def added_name(files: WeightFiles, key: LayerKey) -> str:
    """Return the name of the bias of a layer that has none, next to that of its weight."""
    _, stored = files.locate(weight_name(files.family, *key))
    return f"{stored.removesuffix('weight')}bias"


def _addition(files: WeightFiles, key: LayerKey, values: Tensor) -> TensorChange:
    """Make the change of a layer without a bias: one in the dtype of its weight, zero before."""
    name = added_name(files, key)
    base = torch.zeros(values.shape, dtype=files.dtype(weight_name(files.family, *key)))
    return TensorChange(key, ADDED_FILE, name, base, values=rounded_as(values, base, name))


def block_of(artefact: Artefact) -> int:
    """The block of a file of masks, weights or biases, from its name."""
    match = re.search(r"/block-(\d+)\.", artefact.path)
    assert match is not None, "steps name their files by block"
    return int(match[1])


def _change(
    files: WeightFiles, key: LayerKey, name: str, *, removed: Tensor | None = None, values: Tensor | None = None
) -> TensorChange:
    """Make the change of a tensor; values are rounded to the dtype of the checkpoint."""
    file, stored_name = files.locate(name)
    base = files.read(stored_name, files.dtype(stored_name))
    if values is not None:
        values = rounded_as(values, base, stored_name)
        if removed is not None:
            if bool((values[removed] != 0).any()):
                message = "a new weight is not 0 where the mask removes it: the files differ from the variant's record"
                raise PermanentError(message, block=key[0], layer=key[1])
            values = torch.where(removed, torch.zeros((), dtype=values.dtype), values)
    return TensorChange(key, file, stored_name, base, removed, values)
