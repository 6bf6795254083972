"""Gram matrices of the experts of a block: files of a few experts each, collected in passes that fit in memory.

The files depend on shapes only, and the passes on memory: a pass collects whole files, so bytes do not depend on it.
"""

from collections.abc import Sequence
from pathlib import Path

from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.models.placement.memory_estimate import Footprint
from mlprune.recipe.models import ComputeConfig

FILE_BYTES = 2**28
"""Most bytes of the matrices of experts in a file, unless one expert has more. Fewer are in the file of the block."""
PASS_BYTES = 2**31
"""Most bytes of the matrices of experts in memory at a time, if the recipe does not limit the memory of an actor."""
SHARE = 0.25
"""Share of the memory of an actor for them, if the recipe limits it."""

Files = tuple[range, ...]
"""The experts of each file."""


def pass_bytes(compute: ComputeConfig) -> int:
    """Return the most bytes of the Gram matrices of experts that are in memory at a time."""
    limit = compute.memory_gib_per_actor
    return PASS_BYTES if limit == "auto" else int(SHARE * limit * 2**30)


def expert_files(n_experts: int, n_products: int) -> Files:
    """Split the experts of a block into files; none if their matrices are small enough for the file of the block.

    Args:
        n_products: elements of the Gram matrices of one expert.
    """
    file_bytes = 4 * n_products  # upper triangles
    if n_experts * file_bytes <= FILE_BYTES:
        return ()
    size = max(1, FILE_BYTES // file_bytes)
    return tuple(range(first, min(first + size, n_experts)) for first in range(0, n_experts, size))


def passes_over(files: Files, n_products: int, *, n_bytes: int) -> tuple[Files, ...]:
    """Group files whose matrices are in memory together; one empty group without files.

    Args:
        n_products: elements of the Gram matrices of one expert.
        n_bytes: see `pass_bytes`; a file may have more.
    """
    if not files:
        return ((),)
    size = max(1, n_bytes // (8 * n_products * len(files[0])))
    return tuple(files[first : first + size] for first in range(0, len(files), size))


def planned_passes(sizes: Footprint, *, n_bytes: int) -> tuple[Files, ...]:
    """Return the passes over the block with the largest experts; see `passes_over`."""
    files = expert_files(sizes.n_experts, sizes.expert_products)
    return passes_over(files, sizes.expert_products, n_bytes=n_bytes)


def block_passes(model_path: Path, block: int, *, n_bytes: int) -> tuple[Files, ...]:
    """Return the passes over a block of a model; see `passes_over`."""
    architecture = architecture_at(model_path)
    experts = architecture.block(block).experts
    if experts is None:
        return ((),)
    shapes = WeightFiles(model_path, architecture).layer_shapes(block)
    n_products = sum(shapes[layer][1] ** 2 for layer in experts.layers(0))
    return passes_over(expert_files(experts.n_experts, n_products), n_products, n_bytes=n_bytes)


def inputs_of(model_path: Path, block: int, numbers: Sequence[int]) -> tuple[str, ...]:
    """Return the inputs of some experts of a block."""
    experts = architecture_at(model_path).block(block).experts
    return () if experts is None else tuple(layer for number in numbers for layer in experts.layers(number))
