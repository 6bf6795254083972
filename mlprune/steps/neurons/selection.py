"""Choose the neurons of a variant from stored counts, and turn them into keep masks of the last feed-forward layer."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from mlprune.json_values import as_int
from mlprune.models.checkpoint.weight_files import WeightFiles
from mlprune.models.families.records import FAMILIES
from mlprune.numeric.activations.language_neurons import language_neurons, random_neurons
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.steps.job import ModelRef
from mlprune.steps.neurons.variant import NeuronSelection, NeuronVariant
from mlprune.store.records import Record
from mlprune.store.store import Store


def removed_neurons(store: Store, variant: NeuronVariant) -> list[Tensor]:
    """Return the removed neurons of each block, bool [neurons].

    Raises:
        StatisticsError: a language has no counted tokens, or a block too few neurons for a random control.
    """
    activities = [store.require("neuron_activity", activity_id) for activity_id in variant.activity_ids]
    languages = [_language(store, activity) for activity in activities]
    return chosen_neurons(zip(languages, activities, strict=True), variant.selection)


def chosen_neurons(activities: Iterable[tuple[str, Record]], selection: NeuronSelection) -> list[Tensor]:
    """Return the neurons of each block that a selection removes, bool [neurons].

    Args:
        activities: (language, record of its counts). All records of a language are added.
    """
    active: dict[str, Tensor] = {}
    n_tokens: dict[str, int] = defaultdict(int)
    sizes: list[int] = []
    for language, activity in activities:
        rows = sorted(activity.rows["neuron_activity"], key=lambda row: as_int(row["block"]))
        by_block = [torch.tensor(row["n_active"], dtype=torch.int64) for row in rows]
        sizes = [len(counts) for counts in by_block]
        active[language] = active.get(language, torch.tensor(0)) + torch.cat(by_block)
        n_tokens[language] += as_int(rows[0]["n_tokens"])
    specific = language_neurons(active, n_tokens, share=selection.share, quantile=selection.quantile)
    of_language = specific[selection.of]
    if selection.action == "only":
        return list(torch.split(torch.stack(list(specific.values())).any(dim=0) & ~of_language, sizes))
    removed = list(torch.split(of_language, sizes))
    return random_neurons(removed, seed=selection.seed) if selection.action == "random" else removed


def neuron_levels(model: ModelRef, block: int, removed: Tensor, *, sparsity: float) -> BlockLevels:
    """Return layer -> keep mask of a block, as levels 0 (removed) and 1 (kept).

    The last feed-forward layer loses the columns of the removed neurons; nothing else of a neuron has an effect then.
    """
    family = FAMILIES[model.family]
    after = family.feed_forward[1]
    levels = {}
    for layer, shape in WeightFiles(Path(model.path), family).layer_shapes(block).items():
        keep = torch.ones(shape, dtype=torch.uint8)
        if layer == after:
            keep[:, removed] = 0
        levels[layer] = described_levels(keep, (sparsity,))
    return levels


def neuron_rebuilder(store: Store, variant: NeuronVariant) -> Callable[[int], BlockLevels]:
    """Return a function that makes the levels of a block again, from the stored counts. Raises as `removed_neurons`."""
    removed = removed_neurons(store, variant)
    return lambda block: neuron_levels(variant.model, block, removed[block], sparsity=variant.sparsity)


def _language(store: Store, activity: Record) -> str:
    """Return the language of a counted set; sets without one are their kind, such as `code`."""
    row = store.require("demonstration_sets", activity.parent("demonstration_set")).rows["demonstration_sets"][0]
    return str(row["source_language"] or row["kind"])
