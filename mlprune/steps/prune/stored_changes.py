"""Changes of a variant in the store, as shards and analyses apply them."""

from mlprune.pruning.weight_files import StoredChanges
from mlprune.steps.prune.stored_masks import stored_masks
from mlprune.steps.quantise.rows import quantisation_in
from mlprune.store.store import Store


def stored_changes(store: Store, variant_id: str) -> StoredChanges | None:
    """Return the masks, new weights, new biases and quantisation of a variant; None for the dense model.

    Raises:
        DamagedArtefactError: no ordering or composition in the store contains the variant.
    """
    variant = store.require("variants", variant_id)
    stored, quantisation = stored_masks(store, variant), quantisation_in(variant)
    if stored is None and quantisation is None:
        return None
    files = (stored.masks, stored.weights, stored.biases) if stored else ((), (), ())
    masks, weights, biases = (dict(enumerate(artefacts)) for artefacts in files)
    levels = dict(enumerate(stored.levels)) if stored else {}
    return StoredChanges(store.uri, masks, levels, weights, biases=biases, quantisation=quantisation)
