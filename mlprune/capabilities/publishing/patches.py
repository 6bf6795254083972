"""Sparse patches between two variants of a base model, for an inference engine that changes weights in place.

A patch has, for each tensor of the base model's files that differs, the flat indices of the values that differ and
their new values. Values are compared by their bytes, so that patches applied to an export give the other export.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from mlprune.atomic import remove_left_over, replacing
from mlprune.capabilities.publishing.export import require_exportable, require_free
from mlprune.capabilities.publishing.tensor_changes import ADDED_FILE, TensorChange, checked_changes, removed_experts_of
from mlprune.errors import BadInputError, StoreError
from mlprune.json_values import JsonObject, JsonValue, json_text
from mlprune.models.checkpoint.content_hashes import file_sha256
from mlprune.models.checkpoint.tensor_hashes import sha256_of_tensor
from mlprune.steps.inputs import require_base_model
from mlprune.steps.variants.variant_rows import removed_blocks, variant_record
from mlprune.store.records import Record
from mlprune.store.store import Store

FORMAT = "mlprune-patches/1"
INDEX = "patches.json"
CHUNK_BYTES = 2**28
"""Bytes of indices and values from which a file is complete."""
_AS_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class TensorPatch:
    """How the values of one tensor change."""

    name: str
    """In the base model's files."""
    before: Tensor
    after: Tensor
    indices: Tensor
    """Flat row-major indices, strictly increasing and contiguous: int32, or int64 for a tensor of 2**31 values."""

    @property
    def values(self) -> Tensor:
        """The new values at the indices, contiguous, in the dtype of the tensor."""
        return self.after.flatten()[self.indices.long()].contiguous()


def tensor_patches(store: Store, variants: Sequence[Record], model_path: Path) -> Iterator[TensorPatch]:
    """Yield the patches that turn the export of the first of two variants into that of the second one.

    Variants with masks have a change for each prunable layer, in one order: then, few tensors are in memory at a time.

    Raises:
        BadInputError: a variant adds biases.
        Exception: as `checked_changes`.
    """
    sides = [checked_changes(store, variant, model_path) for variant in variants]
    waiting: list[dict[str, TensorChange]] = [{}, {}]
    running = [True, True]
    while any(running):
        for side, changes in enumerate(sides):
            change = next(changes, None)
            running[side] = change is not None
            if change is not None:
                waiting[side][change.name] = _of_base(change, variants[side])
        for name in sorted({*waiting[0], *waiting[1]}):
            if all(name in waiting[side] or not running[side] for side in (0, 1)):
                yield from _patch(name, [of_side.pop(name, None) for of_side in waiting])


def _of_base(change: TensorChange, variant: Record) -> TensorChange:
    """Return a change of a tensor that the base model has."""
    if change.file == ADDED_FILE:
        message = "patches change tensors of the base model, and a variant adds biases"
        raise BadInputError(message, variant_id=variant.id, tensor=change.name)
    return change


def _patch(name: str, changes: Sequence[TensorChange | None]) -> Iterator[TensorPatch]:
    """Yield the patch of a tensor, if it differs; a variant without a change has the tensor of the base model."""
    base = next(change.base for change in changes if change is not None)
    before, after = (base if change is None else change.result for change in changes)
    integers = _AS_INTEGERS[base.itemsize]
    differs = before.contiguous().view(integers) != after.contiguous().view(integers)
    indices = torch.nonzero(differs.flatten()).flatten()
    if len(indices):
        yield TensorPatch(name, before, after, indices.to(torch.int32 if base.numel() < 2**31 else torch.int64))


def export_patches(
    store: Store, variant_ids: Sequence[str], model_path: Path, out: Path, *, chunk_bytes: int = CHUNK_BYTES
) -> int:
    """Write the patches between two variants of one base model; the folder appears completely or not at all.

    Args:
        variant_ids: the variant that is changed, and that which results; the dense one is allowed.
        model_path: folder of the base model.
        out: folder to make; it may exist if it is empty.
        chunk_bytes: size from which a file is complete; a tensor is never divided.
    Returns: the number of values that change.
    Raises:
        StoreError: the store has no such variant, or `out` is not empty or cannot be written.
        BadInputError: the variants have different base models, are equal, or one has an intervention, adds biases, or
            lacks whole blocks or experts.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
    """
    variants = [variant_record(store, variant_id) for variant_id in variant_ids]
    for variant in variants:
        require_exportable(variant)
        if removed_blocks(variant) or removed_experts_of(store, variant, model_path):
            message = "patches keep all shapes, and a variant lacks whole blocks or experts"
            raise BadInputError(message, variant_id=variant.id, next="export it as a folder")
    base_ids = [variant.parent("base_model") for variant in variants]
    if len(set(base_ids)) > 1:
        raise BadInputError("patches are between variants of one base model", got=base_ids)
    require_base_model(model_path, base_ids[0])
    target = out.expanduser().resolve()
    require_free(target)
    try:
        remove_left_over(target)
        with replacing(target) as temporary:
            temporary.mkdir()
            return _write(temporary, tensor_patches(store, variants, model_path), variants, chunk_bytes=chunk_bytes)
    except OSError as err:
        raise StoreError("the patches cannot be written", path=str(out), reason=err.strerror or str(err)) from err


def _write(folder: Path, patches: Iterator[TensorPatch], variants: Sequence[Record], *, chunk_bytes: int) -> int:
    """Write the files of a folder and its index; return the number of values."""
    described: dict[str, JsonValue] = {}
    files: dict[str, JsonValue] = {}
    waiting: dict[str, Tensor] = {}
    n_values = 0

    def flush() -> None:
        name = f"patches-{len(files) + 1:05d}.safetensors"
        (folder / name).write_bytes(save(waiting, metadata={"format": FORMAT}))
        files[name] = file_sha256(folder / name)
        waiting.clear()

    for patch in patches:
        described[patch.name] = {
            "file": f"patches-{len(files) + 1:05d}.safetensors",
            "dtype": str(patch.after.dtype).removeprefix("torch."),
            "shape": list(patch.after.shape),
            "n_values": len(patch.indices),
            "sha256_before": sha256_of_tensor(patch.before),
            "sha256_after": sha256_of_tensor(patch.after),
        }
        waiting |= {f"{patch.name}.indices": patch.indices, f"{patch.name}.values": patch.values}
        n_values += len(patch.indices)
        if sum(tensor.nbytes for tensor in waiting.values()) >= chunk_bytes:
            flush()
    if waiting:
        flush()
    if not described:
        raise BadInputError("the variants have the same weights: there is nothing to patch", got=variants[0].id)
    ends: JsonObject = {"from": variants[0].id, "to": variants[1].id, "base_model": variants[0].parent("base_model")}
    index: JsonObject = {"format": FORMAT, **ends, "files": files, "tensors": described}
    (folder / INDEX).write_text(json_text(index), encoding="utf-8")
    return n_values
