"""Plan the variants of a recipe: their ids, the sets they read, and the entries that ask for them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from mlprune.json_values import JsonObject
from mlprune.recipe import BaselineConfig, Recipe, VariantConfig
from mlprune.steps.base_variant import SeedSource
from mlprune.steps.demonstrate.plan import PlannedSet
from mlprune.steps.evaluate.interventions import Intervention, NoIntervention
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Job, computed_parameters, make_identity
from mlprune.steps.prune.from_recipe import (
    check_structure,
    contrast_sets,
    lacks_biases,
    refinement_spec,
    schedule_spec,
    scope,
    score_spec,
    set_groups,
    statistics_selection,
)
from mlprune.steps.prune.variant import (
    Calibration,
    ScoredVariant,
    VariantSpec,
    dense_variant,
    scored_parameters,
    variant_row,
)
from mlprune.steps.prune.variant_text import variant_label
from mlprune.vocabulary import ProfileName


class Baseline(Protocol):
    """A variant that is not a mask on the recipe's model."""

    @property
    def label(self) -> str:
        """A short description."""

    def intervention(self, variant: VariantSpec, task: TaskSpec) -> Intervention | None:
        """What the variant does at run time when it is evaluated on a task; None if it cannot be evaluated on it."""

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The jobs that the variant and its evaluations need."""


Value = TypeVar("Value", str | None, int | None)

Sets = Mapping[ProfileName, Mapping[str, tuple[PlannedSet, ...]]]
"""Profile -> name -> the sets of that name."""


@dataclass(frozen=True)
class PlannedVariant:
    """One variant and the recipe entries that ask for it."""

    spec: VariantSpec
    sets: tuple[PlannedSet, ...] = ()
    contrast: PlannedSet | None = None
    entries: tuple[VariantConfig | BaselineConfig, ...] = ()
    parents: tuple["PlannedVariant", ...] = ()
    baseline: Baseline | None = None

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.spec.id

    @property
    def is_dense(self) -> bool:
        """Whether it is the unpruned model of the recipe."""
        return self.spec.removes_nothing and self.spec.rounding is None and self.baseline is None

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """What it does at run time when it is evaluated on a task; None if it is not evaluated on it."""
        return self.baseline.intervention(self.spec, task) if self.baseline else NoIntervention()

    @property
    def language(self) -> str | None:
        """Source language of its single set, or the one that its parents share; None if there is no such language."""
        if self.parents:
            return _common([parent.language for parent in self.parents])
        return self.sets[0].spec.source if len(self.sets) == 1 else None

    @property
    def seed(self) -> int | None:
        """Seed of its sets, or the one that its parents share; None if there is no such seed."""
        if self.parents:
            return _common([parent.seed for parent in self.parents])
        return self.sets[0].spec.seed if self.sets else None

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of a source; None if the variant has none, or parents with different ones."""
        if self.baseline is not None:
            return None
        if self.parents:
            seeds = {parent.own_seed(source) for parent in self.parents} - {None}
            return next(iter(seeds)) if len(seeds) == 1 else None
        if source == "demonstrations" and self.sets:
            return self.seed
        return self.spec.own_seed(source)

    @property
    def unquantised(self) -> "PlannedVariant":
        """The parent of a quantised variant; any other variant itself."""
        return self.parents[0] if self.spec.rounding else self

    def is_comparable_with(self, other: "PlannedVariant") -> bool:
        """Whether a comparison of two variants is meaningful.

        They have to agree in sparsity and structure and, if both read demonstration sets, in propagation, source
        language and seed of the sets. A combination has the values that its parents share, and agrees with everything
        in which they differ. Baselines are comparable with every other variant. Quantised variants also have to agree
        in their quantisation, unless they have the same masks; and the quantised dense model is comparable with every
        variant of its quantisation.
        """
        a, b = self.spec, other.spec
        has_same_masks = a.unquantised.id == b.unquantised.id
        is_quantised_dense = (
            a.rounding and a.rounding == b.rounding and any(spec.unquantised.removes_nothing for spec in (a, b))
        )
        if self.baseline or other.baseline or has_same_masks or is_quantised_dense:
            return self.id != other.id
        if a.rounding != b.rounding or (a.sparsity, a.structure) != (b.sparsity, b.structure):
            return False
        if self.unquantised is not self:
            return self.unquantised.is_comparable_with(other.unquantised)
        if not self._reads_sets or not other._reads_sets:
            return True
        origins = ((a.propagation, b.propagation), (self.language, other.language), (self.seed, other.seed))
        is_combination = bool(self.parents or other.parents)
        return all(first == second or (is_combination and None in (first, second)) for first, second in origins)

    @property
    def _reads_sets(self) -> bool:
        return bool(self.sets) or any(parent._reads_sets for parent in self.parents)

    @property
    def label(self) -> str:
        """A short description of the variant."""
        if self.baseline is not None:
            return self.baseline.label
        label = self.spec.own_label([parent.label for parent in self.parents])
        if label is not None:
            return label
        contrast = self.contrast.label if self.contrast else None
        row = variant_row(self.spec, achieved=0.0)
        return variant_label(row, sets=[planned.label for planned in self.sets], contrast=contrast)


def _common(values: list[Value]) -> Value | None:
    """Return the value that all share; None if they differ."""
    return values[0] if len(set(values)) == 1 else None


def plan_variants(recipe: Recipe, inputs: Inputs, sets: Sets) -> dict[str, PlannedVariant]:
    """Return variant id -> variant, the dense one first. Equal variants of several entries are one variant.

    Raises:
        RecipeError: sets of a seed are missing, a block, layer or token scope does not exist, or M does not divide the
            number of inputs of a layer.
    """
    dense = dense_variant(inputs.base, inputs.model)
    planned = {dense.id: PlannedVariant(dense)}
    for entry in recipe.variants:
        if entry.combine is None and entry.neurons is None:
            planned = with_entry(planned, entry, _variants_of(recipe, inputs, entry, sets))
    return planned


def with_entry(
    planned: Mapping[str, PlannedVariant], entry: VariantConfig | BaselineConfig, variants: Iterable[PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Return the planned variants together with those of another entry; a variant of both gets the entry."""
    together = dict(planned)
    for variant in variants:
        known = together.get(variant.id, variant)
        together[variant.id] = replace(known, entries=(*known.entries, entry))
    return together


def _variants_of(recipe: Recipe, inputs: Inputs, entry: VariantConfig, sets: Sets) -> Iterator[PlannedVariant]:
    """Yield the variants of one entry: one per set, or group of sets, that its names refer to."""
    if entry.sparsity == 0:
        yield PlannedVariant(dense_variant(inputs.base, inputs.model))
    elif not entry.reads_statistics:
        yield PlannedVariant(_spec(recipe, inputs, entry, (), None))
    else:
        of_profile = sets[entry.profile]
        for group in set_groups(entry, of_profile):
            for contrast in contrast_sets(entry, group[0], of_profile):
                yield PlannedVariant(_spec(recipe, inputs, entry, group, contrast), group, contrast)


def _spec(
    recipe: Recipe, inputs: Inputs, entry: VariantConfig, group: tuple[PlannedSet, ...], contrast: PlannedSet | None
) -> ScoredVariant:
    """Return the variant itself; settings that its score does not read are not part of it."""
    score, schedule, planned_scope = score_spec(entry), schedule_spec(entry, inputs), scope(entry, inputs)
    check_structure(entry, planned_scope, inputs)
    set_ids = tuple(planned.id for planned in group)
    contrast_id = contrast.id if contrast else None
    calibration = Calibration(entry.propagation, statistics_selection(entry), set_ids, contrast_id) if group else None
    sparsity, refinement = entry.sparsity or 0.0, refinement_spec(entry)
    parameters = scored_parameters(
        score, calibration, sparsity=sparsity, schedule=schedule, scope=planned_scope, refinement=refinement
    )
    if entry.profile != "corrected":
        parameters["profile"] = entry.profile
    if score.compensates and lacks_biases(inputs):
        parameters["adds_biases"] = True  # earlier versions left the compensation out
    batch_tokens = recipe.compute.planned_batch_tokens(inputs.model.device) if group else None
    parameters |= computed_parameters(inputs.model, batch_tokens=batch_tokens)
    parents: JsonObject = {
        "base_model": inputs.base.id,
        "demonstration_sets": list(set_ids) or None,
        "contrast_set": contrast_id,
    }
    return ScoredVariant(
        make_identity("variants", parameters, parents=parents),
        inputs.model,
        sparsity=sparsity,
        score=score,
        calibration=calibration,
        schedule=schedule,
        scope=planned_scope,
        profile=entry.profile,
        refinement=refinement,
    )
