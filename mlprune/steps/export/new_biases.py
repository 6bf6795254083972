"""Write the changed biases of a variant into the files of an export, and compare them."""

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from mlprune.errors import PermanentError
from mlprune.models.checkpoint.edit import has_values, overwrite_tensor
from mlprune.models.checkpoint.weight_files import WeightFiles, bias_name, family_at
from mlprune.pruning.weight_files import read_block_weights
from mlprune.steps.prune.stored_masks import StoredMasks
from mlprune.store.store import Store


def write_biases(store: Store, stored: StoredMasks | None, folder: Path) -> None:
    """Overwrite the biases that a variant changes.

    Raises:
        DamagedArtefactError: a file of changed biases is missing or damaged.
        PermanentError: the written biases differ from the stored ones.
    """
    if stored is None or not stored.biases:
        return
    family = family_at(folder)
    files = WeightFiles(folder, family)
    for block, layer, bias in _changed(store, stored):
        file, name = files.locate(bias_name(family, block, layer))
        overwrite_tensor(folder / file, name, bias)
        if not has_values(folder / file, name, bias):
            raise PermanentError("the exported biases differ from the variant's", block=block, layer=layer)


def _changed(store: Store, stored: StoredMasks) -> Iterator[tuple[int, str, Tensor]]:
    """Yield block, layer and new bias [out]."""
    for block, artefact in enumerate(stored.biases):
        for layer, bias in read_block_weights(store, artefact).items():
            yield block, layer, bias
