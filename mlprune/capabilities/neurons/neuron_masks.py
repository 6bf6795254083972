"""Variants without feed-forward neurons: plan them, choose the neurons, and write their masks."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mlprune.capabilities.capability import Planned, Variants
from mlprune.capabilities.neurons.language_neurons import language_neurons, random_neurons
from mlprune.capabilities.neurons.neuron_activity import activity_jobs
from mlprune.capabilities.neurons.selection import NeuronSelection
from mlprune.capabilities.neurons.variant import NeuronVariant, neuron_variant
from mlprune.json_values import Row, as_int
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.pruning.scoring import BlockLevels, described_levels
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, ModelRef, RecordKey, SetSizes, make_identity
from mlprune.steps.prune.structure_variants import StructureVariants
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.variant_rows import write_variants
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


def neuron_levels(variant: NeuronVariant, removed: Sequence[Tensor], block: int) -> BlockLevels:
    """Return layer -> keep mask of a block, as levels 0 (removed) and 1 (kept).

    The last feed-forward layer loses the columns of the removed neurons; nothing else of a neuron has an effect then.

    Args:
        removed: of each block, bool [neurons].
    """
    model, architecture = variant.model, architecture_at(variant.model.path)
    part = architecture.block(block).feed_forward
    levels = {}
    for layer, shape in WeightFiles(Path(model.path), architecture).layer_shapes(block).items():
        keep = torch.ones(shape, dtype=torch.uint8)
        if part is not None and layer == part.after:
            keep[:, removed[block]] = 0
        levels[layer] = described_levels(keep, (variant.sparsity,))
    return levels


def _language(store: Store, activity: Record) -> str:
    """Return the language of a counted set; sets without one are their kind, such as `code`."""
    row = store.require("demonstration_sets", activity.parent("demonstration_set")).rows["demonstration_sets"][0]
    return str(row["source_language"] or row["kind"])


@dataclass(frozen=True)
class NeuronMasksJob(MasksJob):
    """Choose the neurons of a variant and write its masks."""

    variant: NeuronVariant

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The counts of all sets."""
        return tuple(("neuron_activity", activity_id) for activity_id in self.variant.activity_ids)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return JobCost.per_block(self.step, sizes, 3, writes_masks=True)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks of all blocks, then the records.

        Raises:
            StatisticsError: a language has no counted tokens, or a block too few neurons for a random control.
        """
        removed = removed_neurons(store, self.variant)
        blocks = self.write_masks(store, partial(neuron_levels, self.variant, removed))
        rows = {"variant_neurons": [self._row(block, of_block) for block, of_block in enumerate(removed)]}
        write_variants(store, self.ordering, blocks, (self.variant,), rows=rows)

    def _row(self, block: int, removed: Tensor) -> Row:
        return {
            "variant_id": self.variant.id,
            "block": block,
            "n_neurons": len(removed),
            "n_removed": int(removed.sum()),
            "removed": torch.nonzero(removed).flatten().tolist(),
        }


def add_neuron_variants(planned: Planned, variants: Variants) -> Variants:
    """Return the planned variants and those without neurons."""
    together = dict(variants)
    for entry in planned.recipe.variants:
        if entry.neurons is not None:
            jobs = activity_jobs(planned, entry.neurons.sets)
            counts = {job.identity.id: job.demonstration_set_id for job in jobs}
            own = [_planned(planned.inputs, selection, counts) for selection in entry.neurons.points()]
            together = with_entry(together, entry, own)
    return together


def _planned(inputs: Inputs, selection: NeuronSelection, counts: Mapping[str, str]) -> PlannedVariant:
    parents = {"base_model": inputs.base.id, "neuron_activity": list(counts)}
    identity = make_identity("variants", {"neurons": selection.parameters}, parents=parents)
    return PlannedVariant(NeuronVariant(identity, inputs.model, selection, tuple(counts), tuple(counts.values())))


class NeuronVariants(StructureVariants[NeuronVariant]):
    """Variants without feed-forward neurons, which the section `neurons` of an entry plans."""

    def jobs(self, recipe: Recipe, inputs: Inputs, *, planned: PlannedVariant, variant: NeuronVariant) -> Iterator[Job]:
        """Yield the job that makes the variant; the counts are among what is observed."""
        yield NeuronMasksJob(make_identity("masks", {"neurons": True}, parents={"variant": variant.id}), variant)

    def rebuilder(
        self, store: Store, identity: Identity, model: ModelRef, *, ordering: Record
    ) -> Callable[[int], BlockLevels]:
        """Return a function that makes the levels of a block again, from the stored counts."""
        variant = neuron_variant(identity, model)
        return partial(neuron_levels, variant, removed_neurons(store, variant))
