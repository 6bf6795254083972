"""Combinations of variants: what is combined, and keep masks joined by set operations."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mlprune.errors import RecipeError
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.keep_masks import combined_masks
from mlprune.pruning.mask_files import read_keep_masks
from mlprune.pruning.scoring import LayerLevels, described_levels
from mlprune.recipe.models import Recipe
from mlprune.recipe.variants import VariantConfig
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, JobCost, RecordKey, SetSizes, make_identity
from mlprune.steps.variants.masks_job import MasksJob
from mlprune.steps.variants.planned_variant import PlannedVariant, with_entry
from mlprune.steps.variants.variant import CombinedVariant, agreeing_columns, variant_row
from mlprune.steps.variants.variant_rows import StoredMasks, require_masks, write_variants
from mlprune.store.store import Store

SHARED_COLUMNS = (
    "score",
    "score_parameters",
    "structure",
    "propagation",
    "profile",
    "removes",
    "schedule",
    "schedule_parameters",
    "scope",
    "token_scope",
)
"""Columns of a combination that have the value of its parents, or NULL if they differ."""
REFINER_COLUMNS = ("refiner", "refiner_parameters")
"""The same, for parents that were refined."""


@dataclass(frozen=True)
class CombineJob(MasksJob):
    """Combine the keep masks of several variants, block by block."""

    variant: CombinedVariant

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The variants that are combined."""
        return tuple(("variants", parent) for parent in self.variant.parent_ids)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """All blocks, one per thread."""
        return JobCost.per_block(self.step, sizes, len(self.variant.parent_ids) + 2, writes_masks=True)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the masks of all blocks, then the records."""
        parents = [require_masks(store, parent) for parent in self.variant.parent_ids]
        blocks = self.write_masks(store, partial(combined_block, store, parents, variant=self.variant))
        write_variants(store, self.ordering, blocks, (self.variant,))


def combined_block(
    store: Store, parents: list[StoredMasks], block: int, *, variant: CombinedVariant
) -> dict[str, LayerLevels]:
    """Return layer -> the combined mask of one block, as levels 0 (removed) and 1 (kept)."""
    masks = [read_keep_masks(store.uri, *parent.files[block]) for parent in parents]
    combined = {layer: combined_masks([mask[layer] for mask in masks], variant.combination) for layer in masks[0]}
    return {layer: described_levels(mask.byte(), (variant.sparsity,)) for layer, mask in combined.items()}


def add_combinations(
    recipe: Recipe, inputs: Inputs, planned: Mapping[str, PlannedVariant]
) -> dict[str, PlannedVariant]:
    """Return the planned variants and their combinations. A combination may contain other combinations.

    Raises:
        RecipeError: fewer than two variants match, their weights changed, or combinations refer to each other in a
            cycle.
    """
    together = dict(planned)
    waiting = [entry for entry in recipe.variants if entry.combine is not None]
    while waiting:
        unplanned = {entry.name for entry in waiting if entry.name}
        ready = [entry for entry in waiting if not unplanned & set(entry.of)]
        if not ready:
            raise RecipeError("combinations refer to each other in a cycle", names=sorted(unplanned))
        for entry in ready:
            together = with_entry(together, entry, _combinations_of(inputs, entry, together))
        waiting = [entry for entry in waiting if entry not in ready]
    return together


def _combinations_of(
    inputs: Inputs, entry: VariantConfig, planned: Mapping[str, PlannedVariant]
) -> Iterator[PlannedVariant]:
    """Yield one combination per group of variants that are combined.

    With several names, a group has one variant per name: a variant of the first name and the variants of the others
    that are comparable with it. With one name, a group has all its variants that agree in sparsity, structure,
    propagation and seed of their sets.
    """
    named = [_variants_named(name, planned.values()) for name in entry.of]
    groups = _of_one_name(named[0]) if len(named) == 1 else _of_several_names(entry, named)
    if not groups:
        expected = "two or more variants that agree in sparsity, structure, propagation and seed"
        got = [variant.label for members in named for variant in members][:6]
        raise RecipeError("no variants to combine", of=entry.of, expected=expected, got=got)
    yield from (_combined(inputs, entry, members) for members in groups)


def _refiner_columns(rows: Sequence[Mapping[str, JsonValue]]) -> tuple[str, ...]:
    """Return the columns of the refiner if all parents have one."""
    return REFINER_COLUMNS if all("refiner" in row for row in rows) else ()


def _variants_named(name: str, variants: Iterable[PlannedVariant]) -> list[PlannedVariant]:
    named = [(variant, entry) for variant in variants for entry in variant.entries if entry.name == name]
    for key in ("bits", "keep"):
        if any(isinstance(entry, VariantConfig) and getattr(entry, key) for _, entry in named):
            message = "masks of variants with rounded weights or fewer tokens cannot be combined"
            raise RecipeError(message, of=name, expected=f"{key} in the combination instead of {name!r}", got=key)
    return list({variant.id: variant for variant, _ in named}.values())


def _of_one_name(members: list[PlannedVariant]) -> list[list[PlannedVariant]]:
    groups: dict[tuple[object, ...], list[PlannedVariant]] = defaultdict(list)
    for variant in members:
        spec = variant.spec
        groups[spec.sparsity, spec.structure, spec.propagation, variant.seed].append(variant)
    return [group for group in groups.values() if len(group) > 1]


def _of_several_names(entry: VariantConfig, named: list[list[PlannedVariant]]) -> list[list[PlannedVariant]]:
    groups = []
    for first in named[0]:
        comparable = [[variant for variant in members if first.is_comparable_with(variant)] for members in named[1:]]
        for name, candidates in zip(entry.of[1:], comparable, strict=True):
            if len(candidates) > 1:
                got = [variant.label for variant in candidates]
                message = "several variants of one name could be combined"
                raise RecipeError(message, of=entry.of, expected=f"one {name}", got=got)
        if all(comparable):
            groups.append([first, *(candidates[0] for candidates in comparable)])
    return groups


def _combined(inputs: Inputs, entry: VariantConfig, members: list[PlannedVariant]) -> PlannedVariant:
    """Return the combination of several variants, in the order of their names."""
    if len({variant.id for variant in members}) < len(members):
        got = [variant.label for variant in members]
        raise RecipeError("a combination contains one variant twice", of=entry.of, got=got)
    changed = [variant.label for variant in members if variant.spec.has_new_values]
    if changed:
        message = "masks of variants with changed weights or biases cannot be combined"
        raise RecipeError(message, of=entry.of, got=changed)
    if entry.combine == "symmetric_difference" and len(members) != 2:
        got = [variant.label for variant in members]
        raise RecipeError("a symmetric difference takes two variants", of=entry.of, expected=2, got=got)
    if entry.combine is None:
        raise RecipeError("a combination needs combine", of=entry.of)
    ids = tuple(variant.id for variant in members)
    rows = [variant_row(variant.spec, achieved=0.0) for variant in members]
    parents: JsonObject = {"base_model": inputs.base.id, "variants": list(ids)}
    spec = CombinedVariant(
        make_identity("variants", {"combination": entry.combine}, parents=parents),
        inputs.model,
        sparsity=members[0].spec.sparsity,
        combination=entry.combine,
        parent_ids=ids,
        shared=tuple(agreeing_columns(rows, (*SHARED_COLUMNS, *_refiner_columns(rows))).items()),
    )
    return PlannedVariant(spec, parents=tuple(members))
