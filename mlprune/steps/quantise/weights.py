"""Quantised weights of a variant, computed from the files of the base model for an export."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.models.checkpoint.weight_files import read_block
from mlprune.models.loading import inspect_model
from mlprune.models.masks.changed_weights import changed_weights
from mlprune.steps.prune.stored_changes import stored_changes
from mlprune.store.records import Record
from mlprune.store.store import Store


def quantised_weights(store: Store, variant: Record, model_path: Path) -> Iterator[tuple[tuple[int, str], Tensor]]:
    """Yield (block, layer) and its dequantised weight, [out, in] float32, for all layers that can be pruned.

    They are computed from the weights as they are stored. A run whose dtype is narrower rounds them to it first.

    Raises:
        BadInputError: the variant is not quantised.
        DamagedArtefactError: a file of masks or of changed weights is missing or damaged.
        ModelError: the folder is not a model that can be read.
    """
    changes = stored_changes(store, variant.id)
    if changes is None or changes.quantisation is None:
        raise BadInputError("the variant is not quantised", variant_id=variant.id)
    for block in range(inspect_model(model_path).n_blocks):
        for layer, weight in changed_weights(read_block(model_path, block), changes(block)).items():
            yield (block, layer), weight
