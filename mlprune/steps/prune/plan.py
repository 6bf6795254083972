"""Plan the variants: who they are and what they are called. How they are made is in `making.py`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from mlprune.errors import RecipeError
from mlprune.pruning.spec import Scope, settings
from mlprune.recipe import BaselineConfig, Recipe, VariantConfig
from mlprune.steps.demonstrate.plan import PlannedSet, check_token_scope
from mlprune.steps.evaluate.task_spec import TaskSpec
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job, ModelRef, make_identity
from mlprune.steps.prune.from_recipe import check_structure, reading, schedule, scope, score_choice
from mlprune.steps.prune.variant import VariantSpec
from mlprune.vocabulary import ProfileName


class Baseline(Protocol):
    """What makes a variant a baseline: something else than masks on the recipe's model."""

    @property
    def label(self) -> str:
        """What it is, in few words."""

    def reads(self, variant: VariantSpec, task: TaskSpec) -> Mapping[str, Any] | None:
        """What an evaluation reads besides the variant, role -> ids; None where it means nothing for the task."""

    def jobs(self, variant: VariantSpec, tasks: Sequence[TaskSpec]) -> list[Job]:
        """The jobs behind the variant and its evaluations."""


Value = TypeVar("Value", str | None, int | None)

Sets = Mapping[ProfileName, Mapping[str, tuple[PlannedSet, ...]]]
"""Profile -> name -> the sets of that name."""


@dataclass(frozen=True)
class PlannedVariant:
    """One variant and the entries of the recipe that ask for it."""

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
        """Whether it is the recipe's model as it is."""
        return self.spec.is_dense and self.baseline is None

    def reads(self, task: TaskSpec) -> Mapping[str, Any] | None:
        """What its evaluation on a task reads besides the variant; None where it is not evaluated on it."""
        return self.baseline.reads(self.spec, task) if self.baseline else {}

    @property
    def language(self) -> str | None:
        """Source language of its one set; of a combination that of its parents, where they agree."""
        if self.parents:
            return _common([one.language for one in self.parents])
        return self.sets[0].spec.source if len(self.sets) == 1 else None

    @property
    def seed(self) -> int | None:
        """Seed of its sets, or of its parents, where they agree; None where it has none."""
        if self.parents:
            return _common([one.seed for one in self.parents])
        return self.sets[0].spec.seed if self.sets else None

    def is_comparable_with(self, other: "PlannedVariant") -> bool:
        """Whether two variants are of one kind: they agree in sparsity and structure, and in propagation, source
        language and seed of their sets where both read any. Of a combination counts what its parents agree in.
        Baselines go with everything."""
        a, b = self.spec, other.spec
        if self.baseline or other.baseline:
            return self.id != other.id
        if self.id == other.id or (a.sparsity, a.structure) != (b.sparsity, b.structure):
            return False
        if not self._reads_sets or not other._reads_sets:
            return True
        origins = ((a.propagation, b.propagation), (self.language, other.language), (self.seed, other.seed))
        is_open = bool(self.parents or other.parents)
        return all(own == theirs or (is_open and None in (own, theirs)) for own, theirs in origins)

    @property
    def _reads_sets(self) -> bool:
        return bool(self.sets) or any(parent._reads_sets for parent in self.parents)

    @property
    def label(self) -> str:
        """What the variant is, in few words."""
        spec = self.spec
        if self.baseline is not None:
            return self.baseline.label
        if spec.combination:
            names = [parent.label for parent in self.parents]
            return f"{spec.combination.replace('_', ' ')} of {'; '.join(names)}"
        choice = spec.choice
        if choice is None:
            return "dense"
        words = (
            choice.score,
            spec.reading.aggregation if spec.reading else None,
            *(one.label for one in self.sets),
            f"against {self.contrast.label}" if self.contrast else None,
            str(spec.sparsity),
            choice.structure,
            spec.propagation,
            f"seed {choice.seed}" if choice.seed else None,
            *_unusual(spec),
        )
        return " ".join(word for word in words if word)


def _common(values: list[Value]) -> Value | None:
    """The one value there is; None where they differ."""
    return values[0] if len(set(values)) == 1 else None


def _unusual(spec: VariantSpec) -> Iterator[str]:
    """Words for everything that is not as usual."""
    assert spec.choice is not None, "a scored variant"
    if spec.choice.removes != "lowest":
        yield f"removing the {spec.choice.removes}"
    if spec.schedule.kind != "uniform":
        yield f"schedule {spec.schedule.kind}"
    yield from settings(spec.choice, spec.schedule, spec.reading)
    if spec.scope != Scope():
        yield spec.scope.words
    if spec.profile != "corrected":
        yield f"profile {spec.profile}"
    if spec.reading is not None:
        if spec.reading.token_scope != "all":
            yield f"{spec.reading.token_scope} tokens"
        if spec.reading.first is not None:
            yield f"{spec.reading.first} samples"
        if spec.reading.resample_seed is not None:
            yield f"resample {spec.reading.resample_seed}"


def plan_variants(recipe: Recipe, inputs: Inputs, sets: Sets) -> dict[str, PlannedVariant]:
    """Variant id -> variant, the dense one first; equal variants of several entries are one.

    Raises:
        RecipeError: sets of one seed are missing, a block, layer or token scope does not exist, or M does not divide
            the inputs of a layer.
    """
    dense = dense_spec(inputs.base, inputs.model)
    planned = {dense.id: PlannedVariant(dense)}
    for entry in recipe.variants:
        if entry.combine is None:
            planned = added(planned, entry, _variants_of(recipe, inputs, entry, sets))
    return planned


def added(
    planned: Mapping[str, PlannedVariant], entry: VariantConfig | BaselineConfig, found: Iterable[PlannedVariant]
) -> dict[str, PlannedVariant]:
    """The planned variants with those of one more entry; one that is known already gets the entry."""
    together = dict(planned)
    for one in found:
        known = together.get(one.id, one)
        together[one.id] = replace(known, entries=(*known.entries, entry))
    return together


def dense_spec(base: Identity, model: ModelRef) -> VariantSpec:
    """The dense variant of a base model."""
    identity = make_identity("variants", {"sparsity": 0}, parents={"base_model": base.id})
    return VariantSpec(identity, model, sparsity=0.0)


def _variants_of(recipe: Recipe, inputs: Inputs, entry: VariantConfig, sets: Sets) -> Iterator[PlannedVariant]:
    """The variants of one entry: one for each set, or group of sets, that its names refer to."""
    if entry.sparsity == 0:
        yield PlannedVariant(dense_spec(inputs.base, inputs.model))
    elif not entry.reads_statistics:
        yield PlannedVariant(_spec(recipe, inputs, entry, (), None))
    else:
        own = sets[entry.profile]
        for group in _groups(entry, own):
            _check_readable(entry, group)
            for contrast in _contrast_sets(entry, group[0], own):
                yield PlannedVariant(_spec(recipe, inputs, entry, group, contrast), group, contrast)


def _groups(entry: VariantConfig, sets: Mapping[str, tuple[PlannedSet, ...]]) -> Iterator[tuple[PlannedSet, ...]]:
    """What a score reads together: each set alone, or for `over` the sets of equal seed."""
    if not entry.over:
        yield from ((one,) for one in sets[entry.demonstrations or ""])
        return
    everything = [one for name in dict.fromkeys(entry.over) for one in sets[name]]
    for seed in dict.fromkeys(one.spec.seed for one in everything):
        group = tuple(one for one in everything if one.spec.seed == seed)
        if len(group) < 2 or len({one.name for one in group}) < len(set(entry.over)):
            got = [one.label for one in group]
            raise RecipeError(
                "over needs two sets or more of one seed, of every name", over=entry.over, seed=seed, got=got
            )
        if len({one.id for one in group}) < len(group):
            raise RecipeError("over has one set twice", over=entry.over, seed=seed, got=[one.label for one in group])
        if entry.shares and len(entry.shares) != len(group):
            expected = f"{len(group)} shares, one for each set: {[one.label for one in group]}"
            raise RecipeError("shares do not fit the sets", over=entry.over, expected=expected, got=entry.shares)
        yield group


def _check_readable(entry: VariantConfig, group: tuple[PlannedSet, ...]) -> None:
    """The sets have the tokens and the demonstrations that the entry asks for."""
    for one in group:
        check_token_scope(one, entry.tokens)
        n = one.spec.samples
        if entry.samples is not None and n is not None and entry.samples > n:
            expected = f"samples at most {n}"
            raise RecipeError("a set is smaller", demonstrations=one.name, expected=expected, got=entry.samples)


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
    _check_readable(entry, found)
    return found


def _spec(
    recipe: Recipe, inputs: Inputs, entry: VariantConfig, group: tuple[PlannedSet, ...], contrast: PlannedSet | None
) -> VariantSpec:
    """The variant itself; what its score does not read is not part of it."""
    choice, read = score_choice(entry), reading(entry) if group else None
    planned_schedule, planned_scope = schedule(entry, inputs), scope(entry, inputs)
    check_structure(entry, planned_scope, inputs)
    parameters: dict[str, Any] = {
        **choice.parameters,
        "sparsity": entry.sparsity,
        "schedule": planned_schedule.parameters,
        "scope": planned_scope.parameters,
        "profile": entry.profile,
        "dtype": inputs.model.dtype,
    }
    if read is not None:
        batch_tokens = recipe.compute.planned_batch_tokens
        parameters |= {**read.parameters, "propagation": entry.propagation, "batch_tokens": batch_tokens}
    parents = {
        "base_model": inputs.base.id,
        "demonstration_sets": [one.id for one in group] or None,
        "contrast_set": contrast.id if contrast else None,
    }
    return VariantSpec(
        make_identity("variants", parameters, parents=parents),
        inputs.model,
        sparsity=entry.sparsity or 0.0,
        choice=choice,
        propagation=entry.propagation if group else None,
        reading=read,
        set_ids=tuple(one.id for one in group),
        contrast_set_id=contrast.id if contrast else None,
        schedule=planned_schedule,
        scope=planned_scope,
        profile=entry.profile,
    )
