"""Changes of a variant, tensor by tensor of its base model: computed, verified, and written as a delta.

An export writes them into copies of the weight files; a published variant contains them without the base model: one bit
per weight for what is kept, and new values of kept weights.

`masks.safetensors` has the packed keep mask of each changed tensor, under its name in the base model's files: uint8,
row-major over the stored shape, eight weights per byte, the first in the lowest bit. `changed.safetensors` has, for
each tensor with new values, those of the kept weights in row-major order, in the stored dtype.
"""

import heapq
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlprune.errors import PermanentError
from mlprune.json_values import JsonObject, JsonValue, as_int, as_str
from mlprune.models.architecture.architecture import oriented
from mlprune.models.checkpoint.safetensors_header import header_bytes
from mlprune.models.checkpoint.tensor_hashes import TensorHash, base_tensor_hashes, sha256_of_tensor, tensor_hashes
from mlprune.models.checkpoint.tensor_slices import rounded_as, stored_bytes
from mlprune.models.checkpoint.weight_files import (
    TensorPart,
    WeightFiles,
    architecture_at,
    bias_name,
    read_block,
    weight_name,
)
from mlprune.models.masks.block_changes import changed_weights
from mlprune.models.removed_experts import removed_experts
from mlprune.numeric.masks.packing import pack_flags
from mlprune.pruning.mask_files import read_block_weights, read_keep_masks, read_packed_masks
from mlprune.steps.variants.variant import quantisation_in
from mlprune.steps.variants.variant_rows import StoredMasks, stored_changes, stored_masks
from mlprune.store.records import Artefact, Record
from mlprune.store.store import Store

LayerKey = tuple[int, str]
"""(block, layer)."""
ADDED_FILE = "added-biases.safetensors"
"""File of an export with the biases that the base model's files lack."""
_Entry = tuple[int, str, str, Tensor]
"""Block, layer, what it is (removed, weight or bias), and the tensor."""
FORMAT = "mlprune-published/1"
MASKS, CHANGED = "masks.safetensors", "changed.safetensors"


@dataclass(frozen=True)
class TensorChange:
    """How a variant changes one tensor."""

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


@dataclass(frozen=True)
class _Rows:
    """How a variant changes the rows of a layer that are in one tensor of a file, in the form of the layer."""

    key: LayerKey
    part: TensorPart
    removed: Tensor | None
    values: Tensor | None

    def rounded(self, base: Tensor) -> Tensor:
        """Return the new values in the dtype of the rows of the base model, removed ones +0.

        Raises:
            ModelError: a value is too large for the dtype.
            PermanentError: a new weight is not 0 although the mask removes it.
        """
        assert self.values is not None, "the rows have new values"
        values = rounded_as(self.values, base, self.part.name)
        if self.removed is None:
            return values
        if bool((values[self.removed] != 0).any()):
            message = "a new weight is not 0 where the mask removes it: the files differ from the variant's record"
            raise PermanentError(message, block=self.key[0], layer=self.key[1])
        return torch.where(self.removed, torch.zeros((), dtype=values.dtype), values)


def checked_changes(store: Store, variant: Record, model_path: Path) -> Iterator[TensorChange]:
    """Yield the changes of a variant, block by block, after they were compared with the variant's record.

    A few blocks are in memory at a time. The layers of all experts of a block that are in one stack are one change.

    Raises:
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: the base model lacks a tensor, or a changed weight is too large for its dtype.
        PermanentError: a new weight is not 0 although the mask removes it, or the masks or new weights differ from the
            record; after the last change also if some are missing.
    """
    architecture = architecture_at(model_path)
    files = WeightFiles(model_path, architecture)
    stored = stored_masks(store, variant)
    changed = (
        _of_files(store, stored.weights if stored else (), "weight")
        if quantisation_in(variant) is None
        else _quantised(store, variant, model_path)
    )
    streams = (_removed(store, stored), changed, _of_files(store, stored.biases if stored else (), "bias"))
    check = _RecordCheck(variant, frozenset(map(block_of, stored.weights if stored else ())))
    for block, entries in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
        by_layer: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for _, layer, what, tensor in entries:
            by_layer[layer][what] = tensor
        for layer, found in by_layer.items():
            check.note((block, layer), removed=found.get("removed"), weight=found.get("weight"))
        yield from _block_changes(files, block, by_layer)
    check.finish()
    if stored is not None and stored.embeddings is not None:
        for name, values in read_block_weights(store, stored.embeddings).items():
            part = files.parts(name)[0]
            base = files.read(name, files.dtype(name))
            yield TensorChange(part.file, part.name, base, values=rounded_as(values, base, name))


def _block_changes(
    files: WeightFiles, block: int, by_layer: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[TensorChange]:
    """Yield the changes of the tensors of a block."""
    architecture = files.architecture
    by_tensor: dict[str, list[_Rows]] = defaultdict(list)
    for layer, found in by_layer.items():
        key, kind = (block, layer), architecture.block(block)
        removed, weight = (oriented(found[what], kind) if what in found else None for what in ("removed", "weight"))
        if removed is not None or weight is not None:
            _collect(by_tensor, files, key, weight_name(architecture, *key), removed=removed, values=weight)
        if "bias" in found:
            name = bias_name(architecture, *key)
            if files.has(name):
                _collect(by_tensor, files, key, name, values=found["bias"])
            else:
                yield _addition(files, key, found["bias"])
    for rows in by_tensor.values():
        yield _change(files, rows)


def _collect(
    by_tensor: dict[str, list[_Rows]],
    files: WeightFiles,
    key: LayerKey,
    name: str,
    *,
    removed: Tensor | None = None,
    values: Tensor | None = None,
) -> None:
    """Split the change of a parameter into those of the tensors that contain its rows."""
    start = 0
    for part in files.parts(name):
        end = start + part.shape_of(files.shape(part.name))[0]
        own = (None if one is None else one[start:end] for one in (removed, values))
        by_tensor[part.name].append(_Rows(key, part, *own))
        start = end


def _change(files: WeightFiles, rows: Sequence[_Rows]) -> TensorChange:
    """Make the change of a tensor from those of the layers in it."""
    part = rows[0].part
    base = files.read(part.name, files.dtype(part.name))
    if part.is_whole:
        (own,) = rows
        return TensorChange(part.file, part.name, base, own.removed, None if own.values is None else own.rounded(base))
    removed, values = torch.zeros_like(base, dtype=torch.bool), base.clone()
    for own in rows:
        if own.removed is not None:
            own.part.view_of(removed).copy_(own.removed)
        if own.values is not None:
            own.part.view_of(values).copy_(own.rounded(own.part.view_of(base)))
    has_masks = any(own.removed is not None for own in rows)
    has_values = any(own.values is not None for own in rows)
    return TensorChange(
        part.file,
        part.name,
        base,
        removed if has_masks else None,
        values.masked_fill_(removed, 0) if has_values else None,
    )


def removed_weights(store: Store, variant: Record) -> Iterator[tuple[LayerKey, Tensor]]:
    """Yield the removed weights of all pruned layers: bool [out, in], True where a weight becomes 0."""
    for block, layer, _, removed in _removed(store, stored_masks(store, variant)):
        yield (block, layer), removed


def removed_experts_of(store: Store, variant: Record, model_path: Path) -> dict[int, tuple[int, ...]]:
    """Return block -> its experts of which the masks of a variant keep no weight, ascending; only blocks with some.

    Raises:
        DamagedArtefactError: a file of masks is missing or damaged.
    """
    architecture, stored = architecture_at(model_path), stored_masks(store, variant)
    found = {}
    for artefact, levels in stored.files if stored else ():
        experts = architecture.block(block_of(artefact)).experts
        removed = removed_experts(experts, read_packed_masks(store.uri, artefact, levels)) if experts else ()
        if removed:
            found[block_of(artefact)] = removed
    return found


def _removed(store: Store, stored: StoredMasks | None) -> Iterator[_Entry]:
    for artefact, levels in stored.files if stored else ():
        for layer, kept in read_keep_masks(store.uri, artefact, levels).items():
            yield block_of(artefact), layer, "removed", ~kept


def _quantised(store: Store, variant: Record, model_path: Path) -> Iterator[_Entry]:
    """Yield the dequantised weights, [out, in] float32, of all layers that can be pruned.

    They are computed from the weights as they are stored. A run whose dtype is narrower rounds them to it first.
    """
    changes = stored_changes(store, variant.id)
    assert changes is not None, "the variant is quantised"
    for block in range(architecture_at(model_path).n_blocks):
        for layer, weight in changed_weights(read_block(model_path, block), changes(block)).items():
            yield block, layer, "weight", weight


def _of_files(store: Store, artefacts: Sequence[Artefact], what: Literal["weight", "bias"]) -> Iterator[_Entry]:
    """Yield the new weights [out, in] or biases [out] of the layers that have some."""
    for artefact in artefacts:
        for layer, tensor in read_block_weights(store, artefact).items():
            yield block_of(artefact), layer, what, tensor


def added_name(files: WeightFiles, key: LayerKey) -> str:
    """Return the name of the bias of a layer that has none, next to that of its weight."""
    _, stored = files.locate(weight_name(files.architecture, *key))
    return f"{stored.removesuffix('weight')}bias"


def _addition(files: WeightFiles, key: LayerKey, values: Tensor) -> TensorChange:
    """Make the change of a layer without a bias: one in the dtype of its weight, zero before."""
    name = added_name(files, key)
    base = torch.zeros(values.shape, dtype=files.dtype(weight_name(files.architecture, *key)))
    return TensorChange(ADDED_FILE, name, base, values=rounded_as(values, base, name))


def block_of(artefact: Artefact) -> int:
    """The block of a file of masks, weights or biases, from its name."""
    match = re.search(r"/block-(\d+)\.", artefact.path)
    assert match is not None, "steps name their files by block"
    return int(match[1])


class _RecordCheck:
    """Compare the changes of layers with the variant's record while they are used. Call `finish` after the last one.

    If weights have changed, every block has a file of new weights, which contains all pruned layers of the block; or
    none of them, if the first weights of a reconstructed block were the best.

    Args:
        blocks: those with a file of new weights.
    """

    def __init__(self, variant: Record, blocks: frozenset[int]) -> None:
        self._variant = variant
        self._blocks = blocks
        rows = variant.rows.get("variant_layers", [])
        self._left: dict[LayerKey, int] = {
            (as_int(row["block"]), as_str(row["layer"])): as_int(row["n_removed"]) for row in rows
        }
        self._pruned = {key for key, n_removed in self._left.items() if n_removed}
        self._rewritten: set[LayerKey] = set()

    def note(self, key: LayerKey, *, removed: Tensor | None, weight: Tensor | None) -> None:
        """Compare the change of one layer.

        Raises:
            PermanentError: it removes another number of weights than the record says.
        """
        if removed is not None:
            if weight is not None:
                self._rewritten.add(key)
            expected, got = self._left.pop(key, None), int(removed.sum())
            if got != expected:
                message = "the masks differ from the variant's record"
                block, layer = key
                raise PermanentError(message, block=block, layer=layer, expected=expected, got=got)

    def finish(self) -> None:
        """Check that nothing is missing.

        Raises:
            PermanentError: the masks lack layers of the record, a block lacks its file of new weights, or some pruned
                layers of a block lack new weights while others have some.
        """
        if self._left:
            raise PermanentError("the variant's masks lack layers that its record has", got=sorted(self._left))
        as_before = self._blocks - {block for block, _ in self._rewritten}
        missing = sorted(key for key in self._pruned - self._rewritten if key[0] not in as_before)
        if self._variant.rows["variants"][0]["weights_changed"] and missing:
            message = "weights have changed according to the record, but pruned layers have no new weights"
            raise PermanentError(message, variant_id=self._variant.id, got=missing[:3])


def require_hashes(folder: Path, model_path: Path, changed: Mapping[str, str]) -> dict[str, TensorHash]:
    """Read all tensors of an export and compare them with the base model's and with the changed ones.

    Args:
        changed: name of each changed or added tensor -> hash that it should have.
    Returns: name -> hash, of all tensors.
    Raises:
        PermanentError: a tensor has another hash.
    """
    base, written = base_tensor_hashes(model_path), tensor_hashes(folder)
    for name, one in written.items():
        expected = changed[name] if name in changed else base[name].sha256
        if one.sha256 != expected:
            whose = "the variant's new weights" if name in changed else "the base model's"
            message = f"the exported weights differ from {whose}"
            raise PermanentError(message, tensor=name, file=one.file, expected=expected, got=one.sha256)
    return written


class GrowingFile:
    """A file of tensors, of which one is in memory at a time. Call `finish` after the last one.

    The header lists the positions of all tensors, so the data is collected in temporary files next to the file, one for
    each size of a value. Wider dtypes come first, so that every tensor is aligned.

    Args:
        path: the file to make; without tensors there is none.
        metadata: text of the header.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._metadata = dict(metadata)
        self._entries: dict[int, list[tuple[str, torch.dtype, torch.Size]]] = defaultdict(list)
        """Size of a value -> name, dtype and shape of each tensor."""

    def add(self, name: str, tensor: Tensor) -> None:
        """Append a tensor of a float dtype or uint8."""
        self._entries[tensor.itemsize].append((name, tensor.dtype, tensor.shape))
        with self._part(tensor.itemsize).open("ab") as stream:
            stream.write(stored_bytes(tensor))

    def finish(self) -> None:
        """Write the file, if it has tensors, and remove the temporary ones."""
        sizes = sorted(self._entries, reverse=True)
        if not sizes:
            return
        with self._path.open("wb") as stream:
            entries = (entry for size in sizes for entry in self._entries[size])
            stream.write(header_bytes(entries, self._metadata))
            for size in sizes:
                with self._part(size).open("rb") as part:
                    shutil.copyfileobj(part, stream)
                self._part(size).unlink()

    def _part(self, itemsize: int) -> Path:
        return self._path.with_suffix(f".data-{itemsize}")


def write_delta(store: Store, variant: Record, model_path: Path, folder: Path) -> dict[str, str]:
    """Write the masks and new values of a variant.

    Returns: name of each changed tensor -> SHA-256 of the result.
    Raises: as `checked_changes`.
    """
    metadata = {"format": FORMAT, "variant_id": variant.id}
    masks, changed = GrowingFile(folder / MASKS, metadata), GrowingFile(folder / CHANGED, metadata)
    results = {}
    for change in checked_changes(store, variant, model_path):
        kept = torch.ones_like(change.base, dtype=torch.bool) if change.removed is None else ~change.removed
        if change.values is None and bool(kept.all()):
            continue
        masks.add(change.name, torch.from_numpy(pack_flags(kept)))
        if change.values is not None:
            changed.add(change.name, change.values[kept])
        results[change.name] = sha256_of_tensor(change.result)
    masks.finish()
    changed.finish()
    return results


def described_tensors(base: Mapping[str, TensorHash], results: Mapping[str, str]) -> JsonObject:
    """Return name -> dtype, shape and hash of every tensor of the base model, with the hash of the result if another.

    Args:
        base: the tensors of the base model.
        results: name of each changed tensor -> SHA-256 of the result.
    """
    described: dict[str, JsonValue] = {}
    for name, one in base.items():
        tensor: dict[str, JsonValue] = {"dtype": one.dtype, "shape": list(one.shape), "base_sha256": one.sha256}
        described[name] = {**tensor, "sha256": results[name]} if name in results else tensor
    return described
