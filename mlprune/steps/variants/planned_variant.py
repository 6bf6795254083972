"""A planned variant: the sets it reads, the entries that ask for it, and its parents."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import ClassVar, TypeGuard, TypeVar

from mlprune.recipe.base import NamedEntry
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.job import Job
from mlprune.steps.sets import PlannedSet
from mlprune.steps.tasks.evaluation import Intervention, NoIntervention
from mlprune.steps.tasks.task_spec import TaskSpec
from mlprune.steps.variants.base_variant import SeedSource
from mlprune.steps.variants.variant import DerivedVariant, VariantSpec, variant_row
from mlprune.steps.variants.variant_text import variant_label
from mlprune.vocabulary import AspectName

Value = TypeVar("Value", str | None, int | None)


@dataclass(frozen=True)
class PlannedVariant:
    """One variant and the recipe entries that ask for it. A subclass plans a baseline."""

    spec: VariantSpec
    sets: tuple[PlannedSet, ...] = ()
    contrast: PlannedSet | None = None
    entries: tuple[NamedEntry, ...] = ()
    parents: tuple["PlannedVariant", ...] = ()
    is_baseline: ClassVar[bool] = False
    """Whether it is something else than the recipe's model with all its tokens, dense or with masks."""

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.spec.identity.id

    @property
    def is_dense(self) -> bool:
        """Whether it is the unpruned model of the recipe. The specification of another model is dense, too."""
        return self.spec.is_dense and not self.is_baseline

    def intervention(self, task: TaskSpec) -> Intervention | None:
        """What it does at run time when it is evaluated on a task; None if it is not evaluated on it."""
        return NoIntervention()

    def jobs(self, tasks: Sequence[TaskSpec]) -> list[Job]:
        """Return the jobs that a baseline and its evaluations on some tasks need."""
        return []

    @property
    def language(self) -> str | None:
        """Source language of its single set, or the one that its parents share; None if there is no such language."""
        if self.parents:
            return _common([parent.language for parent in self.parents])
        return self.sets[0].spec.source if len(self.sets) == 1 else None

    @property
    def seed(self) -> int | None:
        """The seed that its parents share, or that of its own sets; None if there is no such seed."""
        shared = _common([parent.seed for parent in self.parents])
        return self.sets[0].spec.seed if shared is None and self.sets else shared

    def own_seed(self, source: SeedSource) -> int | None:
        """Return the seed of a source; None if the variant has none, or parents with different ones."""
        if self.parents:
            seeds = {parent.own_seed(source) for parent in self.parents} - {None}
            if seeds or source != "demonstrations":
                return next(iter(seeds)) if len(seeds) == 1 else None
        if source == "demonstrations" and self.sets:
            return self.seed
        return self.spec.own_seed(source)

    @property
    def lineage(self) -> tuple["PlannedVariant", ...]:
        """The variant, the variant from which it is derived, and so on."""
        return (self, *self.parents[0].lineage) if isinstance(self.spec, DerivedVariant) else (self,)

    def is_comparable_with(self, other: "PlannedVariant", *, ignore: Collection[AspectName] = ()) -> bool:
        """Whether two variants agree in every aspect of `differing_aspects` that is not ignored."""
        return self.id != other.id and not self.differing_aspects(other) - set(ignore)

    def differing_aspects(self, other: "PlannedVariant") -> Set[AspectName]:
        """Return the aspects in which two variants have to agree for a comparison of one cause, and do not.

        They have to agree in sparsity and structure and, if both read demonstration sets, in propagation, source
        language and seed of the sets. A combination has the values that its parents share, and agrees with everything
        in which they differ. A structure can be unknown. Baselines are comparable with every other variant. A variant
        with fewer tokens is as comparable as its parent, and also with it; the dense model with fewer tokens is a
        baseline. Quantised variants also have to agree in their quantisation, unless they have the same masks; and the
        quantised dense model is comparable with every variant of its quantisation. Then only the seeds have to agree,
        if both read sets.
        """
        first, second = (one if one.spec.has_all_tokens else one.parents[0] for one in (self, other))
        if first is not self or second is not other:
            is_free = first.id == second.id or first.is_dense or second.is_dense
            return frozenset() if is_free else first.differing_aspects(second)
        a, b = self.spec, other.spec
        has_same_masks = a.unquantised.id == b.unquantised.id
        is_quantised_dense = (
            a.rounding and a.rounding == b.rounding and (a.unquantised.is_dense or b.unquantised.is_dense)
        )
        if self.is_baseline or other.is_baseline:
            return frozenset()
        if has_same_masks or is_quantised_dense:
            draws = {self.seed, other.seed} - {None}
            return {"seed"} if self.sets and other.sets and len(draws) > 1 else frozenset()
        pairs: dict[AspectName, tuple[object, object]] = {
            "quantisation": (a.rounding, b.rounding),
            "sparsity": (a.sparsity, b.sparsity),
            "structure": (a.structure, b.structure),
        }
        if not (a.has_known_structure and b.has_known_structure):
            del pairs["structure"]
        if self._reads_sets and other._reads_sets:
            origins: dict[AspectName, tuple[object, object]] = {
                "propagation": (a.propagation, b.propagation),
                "language": (self.language, other.language),
                "seed": (self.seed, other.seed),
            }
            masked = [one.parents[0] if a.rounding and one.spec.rounding else one for one in (self, other)]
            is_combination = any(one.parents for one in masked)
            pairs |= {name: pair for name, pair in origins.items() if not (is_combination and None in pair)}
        return {name for name, (first, second) in pairs.items() if first != second}

    @property
    def _reads_sets(self) -> bool:
        return bool(self.sets) or any(parent._reads_sets for parent in self.parents)

    @property
    def label(self) -> str:
        """A short description of the variant."""
        label = self.spec.own_label([parent.label for parent in self.parents])
        if label is not None:
            return label
        contrast = self.contrast.label if self.contrast else None
        row = variant_row(self.spec, achieved=0.0)
        return variant_label(row, sets=[planned.label for planned in self.sets], contrast=contrast)


def with_entry(
    planned: Mapping[str, PlannedVariant], entry: NamedEntry, variants: Iterable[PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Return the planned variants together with those of another entry; a variant of both gets the entry."""
    together = dict(planned)
    for variant in variants:
        key = variant.id
        known = together.get(key, variant)
        together[key] = replace(known, entries=(*known.entries, entry))
    return together


def with_derived(
    planned: Mapping[str, PlannedVariant],
    applies: Callable[[VariantConfig, PlannedVariant], bool],
    derive: Callable[[VariantConfig, PlannedVariant], Iterable[PlannedVariant]],
) -> dict[str, PlannedVariant]:
    """Return the planned variants and those that entries derive from them.

    An entry that derives names only the derived variants. Their parents stay in the plan, because masks are read and
    results are compared with them.

    Args:
        applies: whether an entry derives from a variant.
        derive: returns the variants that an entry derives from a parent.
    """

    def derives(entry: NamedEntry, variant: PlannedVariant) -> TypeGuard[VariantConfig]:
        return isinstance(entry, VariantConfig) and applies(entry, variant)

    together = {
        key: replace(variant, entries=tuple(entry for entry in variant.entries if not derives(entry, variant)))
        for key, variant in planned.items()
    }
    for variant in planned.values():
        for entry in variant.entries:
            if derives(entry, variant):
                together = with_entry(together, entry, derive(entry, together[variant.id]))
    return together


def _common(values: list[Value]) -> Value | None:
    """Return the value that all share; None if they differ."""
    return values[0] if len(set(values)) == 1 else None
