"""Costs of the jobs that make masks."""

from dataclasses import dataclass

from mlprune.methods import StatisticsName
from mlprune.models.placement.memory_estimate import STATE_BYTES, Footprint, pruning_bytes
from mlprune.pruning.spec import ScoreSpec
from mlprune.steps.job import SMALL_JOB_BYTES, JobCost, SetSize, batch_bytes, block_flops, n_block_weights
from mlprune.steps.observe.block_pass import GRADIENT_PASSES

SUMS_BYTES = 16
"""Bytes per feature and demonstration of the sums of features of a block: a sum and a deviation in float64."""
LEVEL_BYTES = 1
"""Bytes per weight of the levels of one block until they are written."""


@dataclass(frozen=True)
class MethodCost:
    """What the score and the refiner of a variant need besides the weights."""

    needs: tuple[StatisticsName, ...] = ()
    """Statistics that they read."""
    n_sets: int = 1
    changes_weights: bool = False
    bytes_per_weight: int = 0
    """Memory per weight of a layer while the score works on it."""
    n_demonstrations: int = 0
    """Of the largest set, at most; the sums of features of a set are in memory until its moments are known."""

    def fixed_bytes(self, sizes: Footprint) -> int:
        """Memory of the statistics of one block, of each set and combined, and of its new weights."""
        n_matrices = self.n_sets + (self.n_sets > 1) + 0.5
        products = int(8 * n_matrices * sizes.input_products) if "products" in self.needs else 0
        gradients = 4 * (self.n_sets + 1) * sum(sizes.prunable) if "gradients" in self.needs else 0
        sums = SUMS_BYTES * self.n_demonstrations * sizes.inputs if "sums" in self.needs else 0
        return products + gradients + sums + self.changed_bytes(sizes)

    def changed_bytes(self, sizes: Footprint) -> int:
        """Size of the new weights of one block, float32."""
        return 4 * sum(sizes.prunable) if self.changes_weights else 0


ONLY_SCORES = MethodCost()
"""Of a score that keeps the weights, and reads no more than sums of squares."""


def ordering_cost(
    step: str,
    sizes: Footprint,
    *,
    n_sparsities: int,
    permuted_group: int | None = None,
    method: MethodCost = ONLY_SCORES,
) -> JobCost:
    """Cost of ordering the weights of one block, and of refining its masks.

    Args:
        permuted_group: M if the inputs of a layer are permuted before N:M.
        method: of the variant.
    """
    block_bytes = pruning_bytes(sizes, n_threads=0)
    layer_bytes = pruning_bytes(sizes, n_threads=1) - block_bytes
    return JobCost(
        step,
        fixed_bytes=SMALL_JOB_BYTES + block_bytes + method.fixed_bytes(sizes),
        thread_bytes=layer_bytes
        + _permutation_bytes(sizes, permuted_group)
        + method.bytes_per_weight * max(sizes.prunable),
        disk_bytes=sum(sizes.prunable) * n_sparsities.bit_length() / 8 + method.changed_bytes(sizes),
    )


def _permutation_bytes(sizes: Footprint, group: int | None) -> int:
    """Memory to permute a layer: its scores in the found order and while they are sorted, and two gain matrices."""
    return 0 if group is None else 8 * sizes.prunable[0] + 16 * (sizes.widest // group) ** 2


def block_scores_cost(step: str, sizes: Footprint) -> JobCost:
    """Cost of scoring all blocks, one per thread."""
    return JobCost(step, thread_bytes=sum(sizes.prunable) * (sizes.itemsize + STATE_BYTES))


def spectra_cost(step: str, sizes: Footprint) -> JobCost:
    """Cost of the eigenvalues of every layer of one block, one layer per thread.

    A layer has the smaller side n at most as long as the hidden states. Its Gram matrix and the eigenvalues of this
    take as long as about 20 products of its weights with n columns in float32 (measured on 1024 x 1024 and 4096 x 1024:
    22 and 10).
    """
    return JobCost(
        step,
        flops=20.0 * sum(sizes.prunable) * sizes.hidden,
        fixed_bytes=SMALL_JOB_BYTES + sum(sizes.prunable) * sizes.itemsize,
        thread_bytes=8 * sizes.prunable[0] + 4 * 8 * sizes.hidden**2,
    )


def units_cost(step: str, sizes: Footprint, *, method: MethodCost) -> JobCost:
    """Cost of choosing heads and neurons of all blocks and writing their masks, block by block.

    Args:
        method: of the variant; every thread reads the statistics of its block.
    """
    thread_bytes = max(sizes.prunable) * (8 + LEVEL_BYTES) + sum(sizes.prunable) * 2 * LEVEL_BYTES
    thread_bytes += method.fixed_bytes(sizes)
    return JobCost(step, thread_bytes=thread_bytes, disk_bytes=n_block_weights(sizes) / 8)


def combination_cost(step: str, sizes: Footprint, *, n_parents: int) -> JobCost:
    """Cost of combining the masks of some variants, block by block."""
    return JobCost(step, thread_bytes=(n_parents + 2) * sum(sizes.prunable), disk_bytes=n_block_weights(sizes) / 8)


def sweep_cost(
    step: str,
    sizes: Footprint,
    size: SetSize,
    *,
    batch_tokens: int,
    score: ScoreSpec,
    changes_weights: bool,
    method: MethodCost = ONLY_SCORES,
) -> JobCost:
    """Cost of pruning block after block, with statistics of the pruned blocks before.

    Args:
        size: of all demonstration sets of the sweep together.
        score: of the sweep.
        changes_weights: whether new weights are computed from Gram matrices and stored.
        method: of the variant, if it reads more than sums of squares.
    """
    ordering = ordering_cost(step, sizes, n_sparsities=1, permuted_group=score.permuted_group)
    gram_bytes = 6 * 8 * sizes.widest**2 if changes_weights else 0
    weight_bytes = 4 * n_block_weights(sizes) if changes_weights else 0
    state_bytes = size.n_tokens * sizes.hidden * sizes.itemsize
    block_statistics_bytes = 4 * size.n_demonstrations * sizes.inputs
    gram_bytes = max(gram_bytes, method.fixed_bytes(sizes))
    fixed_bytes = ordering.fixed_bytes + state_bytes + gram_bytes + block_statistics_bytes
    layer_bytes = ordering.thread_bytes + score.method.bytes_per_weight * max(sizes.prunable)
    thread_bytes = max(layer_bytes, batch_bytes(sizes, batch_tokens))
    new_weight_bytes = sizes.itemsize if changes_weights else 0
    n_runs = 2 + (GRADIENT_PASSES if "gradients" in method.needs else 0)
    return JobCost(
        step,
        flops=n_runs * block_flops(sizes, size.n_tokens),
        n_passes=1,
        fixed_bytes=fixed_bytes,
        thread_bytes=thread_bytes,
        device_fixed_bytes=fixed_bytes - SMALL_JOB_BYTES,
        device_thread_bytes=thread_bytes,
        transfer_bytes=sum(sizes.prunable) * (LEVEL_BYTES + new_weight_bytes) + block_statistics_bytes,
        disk_bytes=n_block_weights(sizes) / 8 + float(block_statistics_bytes) * len(sizes.blocks) + weight_bytes,
        n_tokens=size.n_tokens,
        runs_model=True,
    )
