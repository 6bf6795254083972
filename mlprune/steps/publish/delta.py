"""The tensors that a variant changes, as files: one bit per weight for what is kept, and new values of kept weights.

`masks.safetensors` has the packed keep mask of each changed tensor, under its name in the base model's files: uint8,
row-major over the stored shape, eight weights per byte, the first in the lowest bit. `changed.safetensors` has, for
each tensor with new values, those of the kept weights in row-major order, in the stored dtype.
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.checkpoint.tensor_hashes import TensorHash, sha256_of_tensor
from mlprune.numeric.masks.packing import pack_flags
from mlprune.steps.export.verification import checked_changes
from mlprune.steps.publish.growing_file import GrowingFile
from mlprune.store.records import Record
from mlprune.store.store import Store

FORMAT = "mlprune-published/1"
MASKS, CHANGED = "masks.safetensors", "changed.safetensors"


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
