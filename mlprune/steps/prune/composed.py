"""Variants composed from the levels of one stored ordering, without running the model.

Level library: one uniform ordering at several sparsities, from which other variants are composed.

A variant can be composed if each of its layers is not pruned, or pruned to a sparsity of the library, and if it agrees
with the library in everything but sparsity, schedule and scope. Its masks are then levels of the library.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

from mlprune.errors import RecipeError, StoreError
from mlprune.hashing import canonical_json
from mlprune.json_values import JsonObject
from mlprune.models.checkpoint.weight_files import architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.masks.packed_masks import keep_all
from mlprune.pruning.schedules import LayerPosition, layer_sparsities
from mlprune.pruning.scoring import mask_sha256
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.recipe.models import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import ChainLoader, Identity, Job, JobCost, RecordKey, SetSizes
from mlprune.steps.prune.mask_jobs import variant_jobs
from mlprune.steps.prune.ordering import CollectVariantsJob
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.scored_variant import ScoredVariant
from mlprune.steps.variants.variant import VariantSpec
from mlprune.steps.variants.variant_rows import DESCRIPTION, composition_identity, mask_artefacts, masked_variant_rows
from mlprune.store.records import Artefact
from mlprune.store.store import Store

OF_LIBRARY = ("sparsity", "schedule", "scope")
"""Parameters in which a variant may differ from the library that it is composed from."""
BlockLevels = tuple[Mapping[str, int], ...]
"""Per block: layer -> index of its sparsity; layers that are not pruned have none."""
Description = Mapping[str, list[Any]]
"""Columns `DESCRIPTION` of a mask file."""
_CACHED_FILES = 4096
"""Mask files whose descriptions stay in memory, with a few kB each."""


@dataclass(frozen=True)
class Library:
    """An ordering of all blocks and layers at several sparsities, which is planned or stored."""

    ordering: Identity
    sparsities: tuple[float, ...]
    """Ascending; a level is an index into them."""
    variants: Mapping[str, PlannedVariant]
    """Id -> uniform variant, one per sparsity, ascending."""
    jobs: tuple[Job, ...]
    """The jobs that make the ordering and its uniform variants."""
    base: str
    """What the variants that it composes have in common; see `base_key`."""

    def can_compose(self, spec: VariantSpec) -> bool:
        """Whether a variant can be composed; its own uniform variants need no composition."""
        if not isinstance(spec, ScoredVariant) or not is_composable(spec) or spec.id in self.variants:
            return False
        return base_key(spec) == self.base and composed_levels(spec, self.sparsities) is not None


def library_of(recipe: Recipe, inputs: Inputs, base: PlannedVariant, levels: Iterable[float]) -> Library:
    """Plan the library of a variant.

    Args:
        base: a variant of the library's score, structure and demonstrations; its sparsity, schedule and scope are
            ignored.
        levels: sparsities in any order; 0 needs no level. Structure N:M has only the level N / M.
    Raises:
        RecipeError: the masks of `base` cannot be composed, no sparsity is above 0, or there are too many.
    """
    if not isinstance(base.spec, ScoredVariant) or not is_composable(base.spec):
        expected = "a structure whose masks nest, dense propagation, a score that changes no weights, and no refiner"
        raise RecipeError("the masks of a variant cannot be composed", variant=base.label, expected=expected)
    is_fixed = ":" in base.spec.structure
    sparsities = (base.spec.sparsity,) if is_fixed else tuple(sorted({level for level in levels if level > 0}))
    if not sparsities:
        raise RecipeError("a library needs a sparsity above 0", variant=base.label)
    uniform = [replace(base, spec=_uniform(base.spec, sparsity), entries=()) for sparsity in sparsities]
    variants = {variant.id: variant for variant in uniform}
    jobs = variant_jobs(recipe, inputs, variants)
    (collect,) = (job for job in jobs if isinstance(job, CollectVariantsJob))
    return Library(collect.ordering, sparsities, variants, tuple(jobs), base_key(base.spec))


def is_composable(spec: ScoredVariant) -> bool:
    """Whether the masks of a variant could be levels of a library that has all of its sparsities."""
    return spec.propagation in (None, "dense") and not spec.is_alone


def base_key(spec: ScoredVariant) -> str:
    """Return a text that is equal for variants that differ in nothing but sparsity, schedule and scope."""
    parameters = {name: value for name, value in spec.identity.parameters.items() if name not in OF_LIBRARY}
    return canonical_json([parameters, dict(spec.identity.parents)])


def composed_levels(spec: ScoredVariant, sparsities: Sequence[float]) -> BlockLevels | None:
    """Return the levels of a variant; None if a layer has a sparsity that is neither 0 nor one of the library."""
    if not spec.schedule.is_in_recipe:
        return None
    indices = {sparsity: level for level, sparsity in enumerate(sparsities)}
    blocks = [_layer_sparsities(spec, block) for block in range(spec.model.n_blocks)]
    if any(sparsity and sparsity not in indices for block in blocks for sparsity in block.values()):
        return None
    return tuple({layer: indices[sparsity] for layer, sparsity in block.items() if sparsity} for block in blocks)


def _layer_sparsities(spec: ScoredVariant, block: int) -> dict[str, float]:
    """Return layer -> the sparsity that the recipe gives it in one block."""
    return {
        layer: layer_sparsities(
            (spec.sparsity,), position=LayerPosition(block, layer), schedule=spec.schedule, scope=spec.scope
        )[0]
        for layer in architecture_at(spec.model.path).block(block).layers
    }


def _uniform(spec: ScoredVariant, sparsity: float) -> ScoredVariant:
    """Return the variant that prunes every layer to one sparsity and agrees in everything else."""
    shared = {name: value for name, value in spec.identity.parameters.items() if name not in OF_LIBRARY}
    identity = replace(spec.identity, parameters={**shared, "sparsity": sparsity})
    return replace(spec, identity=identity, sparsity=sparsity, schedule=ScheduleSpec(), scope=Scope())


@dataclass(frozen=True)
class ComposeVariantJob(Job):
    """Choose a level of a library for every layer of a variant.

    The record of the variant is the one that an ordering of its own would give, byte by byte.
    """

    step: ClassVar[str] = "prune"
    composition: Identity
    variant: ScoredVariant
    ordering_id: str
    """The library."""
    sparsities: tuple[float, ...]
    """Of the library, ascending."""

    @property
    def makes(self) -> tuple[RecordKey, ...]:
        """The composition and the variant."""
        return (self.composition.key, self.variant.identity.key)

    @property
    def needs(self) -> tuple[RecordKey, ...]:
        """The library."""
        return (("masks", self.ordering_id),)

    @property
    def also_made_elsewhere(self) -> tuple[RecordKey, ...]:
        """The variant: an ordering of its own, or another library, makes the same record."""
        return (self.variant.identity.key,)

    @property
    def artefact_record(self) -> RecordKey | None:
        """The library, which has the masks."""
        return ("masks", self.ordering_id)

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """That of a small job."""
        return JobCost.small(self.step)

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Write the record of the composition, then that of the variant.

        Raises:
            StoreError: the library lacks a sparsity of the variant.
            DamagedArtefactError: a mask file of the library is missing or damaged.
        """
        levels = composed_levels(self.variant, self.sparsities)
        if levels is None:
            expected, got = "sparsities of the library", list(self.sparsities)
            raise StoreError("a variant cannot be composed", variant_id=self.variant.id, expected=expected, got=got)
        artefacts = mask_artefacts(store.require("masks", self.ordering_id))
        files = zip(artefacts, levels, strict=True)
        tables = [_chosen(_described(store.uri, artefact), of_block) for artefact, of_block in files]
        store.write_record(self.composition.record(rows=self._rows(levels)))
        store.write_record(self.variant.identity.record(rows=masked_variant_rows(self.variant, tables, level=0)))

    def _rows(self, levels: BlockLevels) -> dict[str, list[JsonObject]]:
        """Return table -> rows of the composition."""
        own: JsonObject = {"composition_id": self.composition.id}
        row: JsonObject = {**own, "variant_id": self.variant.id, "ordering_id": self.ordering_id}
        layers: list[JsonObject] = [
            {**own, "block": block, "layer": layer, "level": level}
            for block, of_block in enumerate(levels)
            for layer, level in of_block.items()
        ]
        return {"compositions": [row]} | ({"composed_layers": layers} if layers else {})


def _chosen(table: Description, levels: Mapping[str, int]) -> Description:
    """Return the description of a mask file with one level per layer, as the variant's own file would have it."""
    chosen: dict[str, list[Any]] = {**table, "n_removed": [], "keep_sha256": [], "n_silent_features": []}
    for index, (layer, shape) in enumerate(zip(table["layer"], table["shape"], strict=True)):
        level = levels.get(layer)
        is_pruned = level is not None
        chosen["n_removed"].append([table["n_removed"][index][level] if is_pruned else 0])
        kept = table["keep_sha256"][index][level] if is_pruned else _sha256_of_all(int(shape[0]), int(shape[1]))
        chosen["keep_sha256"].append([kept])
        chosen["n_silent_features"].append(table["n_silent_features"][index] if is_pruned else 0)
    return chosen


@lru_cache
def _sha256_of_all(n_rows: int, d: int) -> str:
    """Return the hash of the mask that keeps every weight of a layer."""
    return mask_sha256(keep_all((n_rows, d)))


@lru_cache(_CACHED_FILES)
def _described(store_uri: str, artefact: Artefact) -> Description:
    """Return the description of a mask file, which is read once per process."""
    return Store(store_uri).read_table(artefact, columns=DESCRIPTION)


def trial_jobs(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant], *, levels: Iterable[float]
) -> list[Job]:
    """Return the jobs that make the variants of trials, each once, in the order in which they can run.

    Variants that differ in nothing but sparsity, schedule and scope share one library.

    Args:
        variants: of any kind; the dense one among them gets its job, too.
        levels: all sparsities above 0 that a layer of any trial can have, whatever the variants are. They determine
            the libraries, so they must not depend on the batch of trials.
    Raises:
        RecipeError: there are too many levels.
    """
    sparsities = tuple(levels)
    by_base: dict[str, dict[str, PlannedVariant]] = defaultdict(dict)
    for variant in variants.values():
        by_base[_base_of(variant.spec)][variant.id] = variant
    others = by_base.pop("", {})
    jobs: list[Job] = []
    for group in by_base.values():
        library = library_of(recipe, inputs, next(iter(group.values())), sparsities)
        jobs += composed_jobs(recipe, inputs, group, library)
    return distinct_jobs([*jobs, *variant_jobs(recipe, inputs, others)])


def composed_jobs(
    recipe: Recipe, inputs: Inputs, variants: Mapping[str, PlannedVariant], library: Library
) -> list[Job]:
    """Return the jobs that make variants: those of the library if one needs it, compositions, and other orderings."""
    composed = {key: one for key, one in variants.items() if library.can_compose(one.spec)}
    others = {key: one for key, one in variants.items() if key not in {*composed, *library.variants}}
    needs_library = len(others) < len(variants)
    compositions = [_composition(one.spec, library) for one in composed.values() if isinstance(one.spec, ScoredVariant)]
    return [*(library.jobs if needs_library else ()), *compositions, *variant_jobs(recipe, inputs, others)]


def distinct_jobs(jobs: Iterable[Job]) -> list[Job]:
    """Return each job once: jobs that make the same records are one job."""
    return list({job.makes: job for job in jobs}.values())


def _composition(spec: ScoredVariant, library: Library) -> ComposeVariantJob:
    ordering_id = library.ordering.id
    return ComposeVariantJob(composition_identity(spec.id, ordering_id), spec, ordering_id, library.sparsities)


def _base_of(spec: VariantSpec) -> str:
    """Return what the variants of one library have in common; an empty text for variants that need no library."""
    return base_key(spec) if isinstance(spec, ScoredVariant) and is_composable(spec) else ""
