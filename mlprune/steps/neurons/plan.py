"""Plan variants without feed-forward neurons: one for each language, action, share and seed of an entry."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from mlprune.recipe import NeuronsConfig, Recipe
from mlprune.steps.demonstrate.plan import PlannedSets
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import make_identity
from mlprune.steps.neurons.jobs import NeuronMasksJob
from mlprune.steps.neurons.variant import NeuronSelection, NeuronVariant
from mlprune.steps.observe.dense_pass_plan import activity_jobs
from mlprune.steps.prune.plan import PlannedVariant, with_entry
from mlprune.steps.prune.variant import of_kind


def add_neuron_variants(
    recipe: Recipe, inputs: Inputs, sets: PlannedSets, planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Return the planned variants and those without neurons."""
    together = dict(planned)
    for entry in recipe.variants:
        if entry.neurons is not None:
            jobs = activity_jobs(recipe, inputs, sets, names=entry.neurons.sets)
            counts = {job.identity.id: job.demonstration_set_id for job in jobs}
            variants = [_planned(inputs, selection, counts) for selection in _selections(entry.neurons)]
            together = with_entry(together, entry, variants)
    return together


def neuron_mask_jobs(variants: Iterable[PlannedVariant]) -> Iterator[NeuronMasksJob]:
    """Yield the job of each variant without neurons."""
    for spec in of_kind(NeuronVariant, (variant.spec for variant in variants)):
        ordering = make_identity("masks", {"neurons": True}, parents={"variant": spec.id})
        yield NeuronMasksJob(ordering, spec)


def _selections(config: NeuronsConfig) -> Iterator[NeuronSelection]:
    """Yield the selections of an entry, each once; only random controls have seeds."""
    choices = product(config.of, config.action, config.share, config.seed)
    selections = (
        NeuronSelection(of, action, share, config.quantile, seed if action == "random" else 0)
        for of, action, share, seed in choices
    )
    yield from dict.fromkeys(selections)


def _planned(inputs: Inputs, selection: NeuronSelection, counts: Mapping[str, str]) -> PlannedVariant:
    parents = {"base_model": inputs.base.id, "neuron_activity": list(counts)}
    identity = make_identity("variants", {"neurons": selection.parameters}, parents=parents)
    return PlannedVariant(NeuronVariant(identity, inputs.model, selection, tuple(counts), tuple(counts.values())))
