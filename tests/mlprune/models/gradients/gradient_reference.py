"""Gradients of a float64 model, text by text, and tiny shards to compare with it."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlprune.models.architecture.architecture import Architecture, BlockArchitecture
from mlprune.models.local_chain import load_shard
from mlprune.models.shard import Shard

N_BLOCKS = 2
Gradients = dict[tuple[int, str], Tensor]
"""(block, layer) -> [out, in]."""


def loaded(path: Path, blocks: range = range(N_BLOCKS), **options: Any) -> Shard:
    return load_shard(path, blocks, n_blocks=N_BLOCKS, dtype="float32", **options)


def _gradient(module: Any, kind: BlockArchitecture, layer: str) -> Tensor | None:
    """The gradient [out, in] of a layer, also of an expert, whose weights the library keeps in a stack."""
    if kind.experts is None or not kind.is_routed(layer):
        gradient: Tensor | None = module.get_submodule(layer).weight.grad
        return gradient.T if gradient is not None and kind.transposed else gradient
    stacks, (number, name) = module.get_submodule(kind.experts.path), layer.split(".")[-2:]
    gradient = getattr(stacks, name).grad
    return None if gradient is None else gradient[int(number)].T if stacks.is_transposed else gradient[int(number)]


def root_mean_squares(model: Any, architecture: Architecture, losses: Iterable[Tensor]) -> Gradients:
    """Root of the mean over texts of the squared gradients of every layer on which the losses depend.

    Args:
        losses: the loss of each text, computed when its turn comes.
    """
    dtype_before = torch.get_default_dtype()
    squares: dict[tuple[int, str], list[Tensor]] = defaultdict(list)
    torch.set_default_dtype(torch.float64)  # XGLM's code creates a constant in the default dtype
    try:
        for loss in losses:
            model.zero_grad()
            loss.backward()
            for block, part in enumerate(model.get_submodule(architecture.blocks).children()):
                for layer in architecture.block(block).layers:
                    gradient = _gradient(part, architecture.block(block), layer)
                    if gradient is not None:
                        squares[block, layer].append(gradient**2)
    finally:
        torch.set_default_dtype(dtype_before)
    return {key: torch.stack(of_texts).mean(dim=0).sqrt() for key, of_texts in squares.items()}
