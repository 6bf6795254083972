"""Plan the variants: who they are, which ordering or sweep makes them, and what they are called."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from mlprune.errors import RecipeError
from mlprune.models.checkpoint import WeightFiles, weight_name
from mlprune.models.families import FAMILIES
from mlprune.plan.sets import PlannedSet
from mlprune.pruning.scoring import ScoreChoice
from mlprune.recipe import Recipe, VariantConfig
from mlprune.steps.inputs import Inputs
from mlprune.steps.jobs import Identity, Job, identified
from mlprune.steps.prune import CollectVariantsJob, DenseVariantJob, OrderBlockJob, VariantSpec, block_identity
from mlprune.steps.sweep import SweepJob
from mlprune.terms import SCORES_THAT_READ_STATISTICS


@dataclass(frozen=True)
class PlannedVariant:
    """One variant and the entries of the recipe that ask for it."""

    spec: VariantSpec
    demonstrations: PlannedSet | None = None
    contrast: PlannedSet | None = None
    entries: tuple[VariantConfig, ...] = ()

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.spec.id

    @property
    def label(self) -> str:
        """What the variant is, in few words."""
        choice = self.spec.choice
        if choice is None:
            return "dense"
        sets = self.demonstrations.label if self.demonstrations else None
        against = f"against {self.contrast.label}" if self.contrast else None
        seed = f"seed {choice.seed}" if choice.seed else None
        words = (choice.score, sets, against, str(self.spec.sparsity), choice.structure, self.spec.propagation, seed)
        return " ".join(word for word in words if word)


def plan_variants(
    recipe: Recipe, inputs: Inputs, sets: Mapping[str, tuple[PlannedSet, ...]]
) -> dict[str, PlannedVariant]:
    """Variant id -> variant, the dense one first; equal variants of several entries are one.

    Raises:
        RecipeError: a contrast set of a seed is missing, or M does not divide the inputs of a layer.
    """
    dense = _dense(inputs)
    planned = {dense.id: PlannedVariant(dense)}
    for entry in recipe.variants:
        _check_structure(entry, inputs)
        for one in _variants_of(recipe, inputs, entry, sets):
            known = planned.get(one.id, one)
            entries = (*known.entries, entry) if one.id in planned else (entry,)
            planned[one.id] = PlannedVariant(known.spec, known.demonstrations, known.contrast, entries)
    return planned


def _dense(inputs: Inputs) -> VariantSpec:
    identity = identified("variants", {"sparsity": 0}, parents={"base_model": inputs.base.id})
    return VariantSpec(identity, inputs.model, sparsity=0.0)


def _variants_of(
    recipe: Recipe, inputs: Inputs, entry: VariantConfig, sets: Mapping[str, tuple[PlannedSet, ...]]
) -> Iterator[PlannedVariant]:
    """The variants of one entry: one for each set its name refers to."""
    if entry.sparsity == 0:
        yield PlannedVariant(_dense(inputs))
    elif entry.score not in SCORES_THAT_READ_STATISTICS:
        yield PlannedVariant(_spec(recipe, inputs, entry, None, None))
    else:
        for target in sets[entry.demonstrations or ""]:
            for contrast in _contrast_sets(entry, target, sets):
                yield PlannedVariant(_spec(recipe, inputs, entry, target, contrast), target, contrast)


def _contrast_sets(
    entry: VariantConfig, target: PlannedSet, sets: Mapping[str, tuple[PlannedSet, ...]]
) -> tuple[PlannedSet | None, ...]:
    """The contrast sets of the target's seed."""
    if entry.contrast is None:
        return (None,)
    found = tuple(one for one in sets[entry.contrast] if one.spec.seed == target.spec.seed)
    if not found:
        raise RecipeError(
            "sets of equal seed pair up with contrast, and there is none",
            contrast=entry.contrast,
            expected=f"a set of seed {target.spec.seed}",
            got=[one.spec.seed for one in sets[entry.contrast]],
        )
    return found


def _spec(
    recipe: Recipe, inputs: Inputs, entry: VariantConfig, target: PlannedSet | None, contrast: PlannedSet | None
) -> VariantSpec:
    """The variant itself; what its score does not read is not part of it."""
    choice = ScoreChoice(entry.score, entry.structure, (entry.seed or 0) if entry.score == "random" else None)
    parameters: dict[str, Any] = {
        "score": choice.score,
        "seed": choice.seed,
        "structure": choice.structure,
        "sparsity": entry.sparsity,
        "schedule": "uniform",
        "scope": "all",
        "profile": "corrected",
        "dtype": inputs.model.dtype,
    }
    if target is not None:
        batch_tokens = recipe.compute.planned_batch_tokens
        parameters |= {"propagation": entry.propagation, "token_scope": "all", "batch_tokens": batch_tokens}
    parents = {
        "base_model": inputs.base.id,
        "demonstration_set": target.id if target else None,
        "contrast_set": contrast.id if contrast else None,
    }
    return VariantSpec(
        identified("variants", parameters, parents=parents),
        inputs.model,
        sparsity=entry.sparsity,
        choice=choice,
        propagation=entry.propagation if target else None,
        demonstration_set_id=target.id if target else None,
        contrast_set_id=contrast.id if contrast else None,
    )


def _check_structure(entry: VariantConfig, inputs: Inputs) -> None:
    """M has to divide the inputs of every layer."""
    if entry.structure == "row":
        return
    group = int(entry.structure.partition(":")[2])
    for layer, d_in in _input_sizes(inputs).items():
        if d_in % group:
            raise RecipeError(
                "M of a structure N:M does not divide the inputs of a layer",
                structure=entry.structure,
                layer=layer,
                expected=f"a divisor of {d_in}",
                got=group,
            )


def _input_sizes(inputs: Inputs) -> dict[str, int]:
    """Layer -> d_in, from the headers of the weight files."""
    family = FAMILIES[inputs.model.family]
    files = WeightFiles(Path(inputs.model.path), family)
    axis = 0 if family.transposed else 1
    return {layer: files.shape(weight_name(family, 0, layer))[axis] for layer in family.layers}


def variant_jobs(recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant]) -> list[Job]:
    """All jobs that make variants: the dense one, orderings block by block, and sweeps."""
    dense, *others = variants.values()
    jobs: list[Job] = [DenseVariantJob(inputs.base, tuple(inputs.base_row.items()), dense.spec)]
    sweeps = [one for one in others if one.spec.propagation == "sequential"]
    jobs += [_sweep(recipe, one.spec) for one in sweeps]
    ordered = sorted((one for one in others if one not in sweeps), key=_ordering_key)
    for _, group in groupby(ordered, key=_ordering_key):
        jobs += _ordering_jobs(inputs, sorted(group, key=lambda one: one.spec.sparsity))
    return jobs


def _ordering_key(variant: PlannedVariant) -> tuple[str, ...]:
    """What variants of one ordering have in common: all but the sparsity."""
    spec = variant.spec
    assert spec.choice is not None, "the dense variant has no ordering"
    parts = (spec.choice.score, spec.choice.structure, spec.choice.seed, spec.demonstration_set_id)
    return tuple(str(part) for part in (*parts, spec.contrast_set_id))


def _sweep(recipe: Recipe, spec: VariantSpec) -> SweepJob:
    ordering = identified("masks", {"sparsities": [spec.sparsity]}, parents={"variant": spec.id})
    return SweepJob(ordering, spec, recipe.compute.planned_batch_tokens)


def _ordering_jobs(inputs: Inputs, variants: list[PlannedVariant]) -> list[Job]:
    """Jobs of one ordering: a block each, then the variants of its sparsities."""
    first = variants[0]
    assert first.spec.choice is not None, "an ordering has a score"
    statistics = first.demonstrations.observe.identity.id if first.demonstrations else None
    contrast = first.contrast.observe.identity.id if first.contrast else None
    sparsities = tuple(one.spec.sparsity for one in variants)
    shared = {key: value for key, value in first.spec.identity.parameters.items() if key != "sparsity"}
    parents = {"base_model": inputs.base.id, "statistics": statistics, "contrast_statistics": contrast}
    ordering = identified("masks", {**shared, "sparsities": list(sparsities)}, parents=parents)
    identities = [_block(ordering, block) for block in range(inputs.model.n_blocks)]
    blocks: list[Job] = [
        OrderBlockJob(identity, inputs.model, ordering.id, block, first.spec.choice, sparsities, statistics, contrast)
        for block, identity in enumerate(identities)
    ]
    specs = tuple(one.spec for one in variants)
    return [*blocks, CollectVariantsJob(ordering, tuple(identity.id for identity in identities), specs)]


def _block(ordering: Identity, block: int) -> Identity:
    return block_identity(ordering.id, block, parents=dict(ordering.parents))
