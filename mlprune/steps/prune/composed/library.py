"""Level library: one uniform ordering at several sparsities, from which other variants are composed.

A variant can be composed if each of its layers is not pruned, or pruned to a sparsity of the library, and if it agrees
with the library in everything but sparsity, schedule and scope. Its masks are then levels of the library.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlprune.errors import RecipeError
from mlprune.hashing import canonical_json
from mlprune.models.families.records import FAMILIES
from mlprune.pruning.schedules import LayerPosition, layer_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.recipe import Recipe
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import Identity, Job
from mlprune.steps.prune.ordering import CollectVariantsJob
from mlprune.steps.prune.plan import PlannedVariant
from mlprune.steps.prune.plan_jobs import variant_jobs
from mlprune.steps.prune.variant import ScoredVariant, VariantSpec

OF_LIBRARY = ("sparsity", "schedule", "scope")
"""Parameters in which a variant may differ from the library that it is composed from."""

BlockLevels = tuple[Mapping[str, int], ...]
"""Per block: layer -> index of its sparsity; layers that are not pruned have none."""


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
        RecipeError: the masks of `base` cannot be composed, there is no sparsity above 0, or there are too many.
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
    is_dense = spec.propagation in (None, "dense")
    return is_dense and not spec.is_alone


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
        for layer in FAMILIES[spec.model.family].layers
    }


def _uniform(spec: ScoredVariant, sparsity: float) -> ScoredVariant:
    """Return the variant that prunes every layer to one sparsity and agrees in everything else."""
    shared = {name: value for name, value in spec.identity.parameters.items() if name not in OF_LIBRARY}
    identity = replace(spec.identity, parameters={**shared, "sparsity": sparsity})
    return replace(spec, identity=identity, sparsity=sparsity, schedule=ScheduleSpec(), scope=Scope())
