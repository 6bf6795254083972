"""Layer errors (opt-in): how much a variant changes the output of every layer on the inputs of a demonstration set.

The inputs are those of the dense model, as Gram matrices, so the errors of variants are comparable however they were
pruned. The record contains one number per layer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.architecture.architecture import BlockArchitecture
from mlprune.models.checkpoint.weight_files import architecture_at, read_block
from mlprune.models.masks.block_changes import BlockChanges, changed_weights
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.numeric.weights.layer_inputs import layer_error
from mlprune.processes.parallel import parallel_map
from mlprune.recipe.models import Recipe
from mlprune.steps.declared_job import DeclaredJob, Parent, StoredWork
from mlprune.steps.inputs import Inputs
from mlprune.steps.job import SMALL_JOB_BYTES, ChainLoader, JobCost, ModelRef, SetSizes
from mlprune.steps.observe.block_files import read_block_products
from mlprune.steps.observe.passes import plan_observation
from mlprune.steps.sets import PlannedSet, PlannedSets, distinct_sets
from mlprune.steps.variants.planned_variant import PlannedVariant
from mlprune.steps.variants.variant_rows import stored_changes
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class LayerErrorsJob(DeclaredJob):
    """Compute the relative error of every layer of a variant on the inputs of a demonstration set."""

    kind: ClassVar[str] = "layer_errors"
    step: ClassVar[str] = "compare"
    model: ModelRef
    variant_id: Annotated[str, Parent("variant", "variants")]
    demonstration_set_id: Annotated[str, Parent("demonstration_set", kind="")]
    gram_matrices: Annotated[str, Parent("gram_matrices", "gram_matrices")]
    """Id of the set's Gram matrices in the dense model."""

    @classmethod
    def of_record(cls, record: Record, work: StoredWork) -> Self:
        """Return the job that wrote a record; the model is that of the Gram matrices."""
        matrices = work.store.require("gram_matrices", record.parent("gram_matrices"))
        return cls.with_stored(record, work, model=work.model_of(matrices))

    def cost(self, sizes: Footprint, sets: SetSizes) -> JobCost:
        """One block at a time: its weights, the changed ones, and the Gram matrices of its inputs."""
        n_weights = sum(sizes.prunable)
        memory = 3 * sizes.itemsize * n_weights + 12 * sizes.input_products
        return JobCost(
            self.step,
            flops=4.0 * len(sizes.blocks) * sizes.widest * n_weights,
            fixed_bytes=SMALL_JOB_BYTES + memory,
            thread_bytes=16 * max(sizes.prunable),
        )

    def run(self, store: Store, chain: ChainLoader) -> None:
        """Compare block by block and write the record."""
        changes = stored_changes(store, self.variant_id)
        gram_files = store.require("gram_matrices", self.gram_matrices).artefacts
        keys = {"variant_id": self.variant_id, "demonstration_set_id": self.demonstration_set_id}
        rows: list[dict[str, JsonValue]] = []
        architecture = architecture_at(self.model.path)
        for block in range(self.model.n_blocks):
            weights = read_block(Path(self.model.path), block, dtype=self.model.dtype)
            changed = changed_weights(weights, changes(block) if changes else BlockChanges({}))
            products = read_block_products(store, gram_files, block)
            errors = block_errors(weights, changed, products, architecture=architecture.block(block))
            rows += [
                {**keys, "block": block, "layer": layer, "n_weights": weights[layer].numel(), "error": error}
                for layer, error in errors.items()
            ]
        store.write_record(self.identity.record(rows={"layer_errors": rows}))


def block_errors(
    weights: Mapping[str, Tensor],
    changed: Mapping[str, Tensor],
    products: Mapping[str, Tensor],
    *,
    architecture: BlockArchitecture,
) -> dict[str, float]:
    """Return layer -> relative error of its output; see `layer_error`.

    Args:
        weights: layer -> [out, in] of the dense model.
        changed: layer -> [out, in] of a variant.
        products: input -> [in, in].
    """

    def error(layer: str) -> float:
        return layer_error(weights[layer], changed[layer], products[architecture.input_of(layer)])

    return dict(zip(weights, parallel_map(error, weights), strict=True))


def analysed_sets(recipe: Recipe, sets: PlannedSets) -> list[PlannedSet]:
    """Return the distinct sets whose Gram matrices `analyses.layer_errors` needs."""
    names = recipe.analyses.layer_errors.demonstrations if recipe.analyses.layer_errors else ()
    return distinct_sets(sets, names)


def layer_error_jobs(
    recipe: Recipe, inputs: Inputs, sets: PlannedSets, variants: Iterable[PlannedVariant]
) -> list[LayerErrorsJob]:
    """One job per set of `analyses.layer_errors` and changed variant of the entries that it names, or of all."""
    config = recipe.analyses.layer_errors
    if config is None:
        return []
    changed = [variant for variant in variants if not variant.is_dense and not variant.is_baseline]
    named = [
        variant
        for variant in changed
        if not config.variants or set(config.variants) & {entry.name for entry in variant.entries}
    ]
    matrices = {
        planned.id: plan_observation(recipe, inputs, planned).further["products"].id
        for planned in analysed_sets(recipe, sets)
    }
    return [
        LayerErrorsJob(inputs.model, variant.id, set_id, of_set)
        for set_id, of_set in matrices.items()
        for variant in named
    ]
