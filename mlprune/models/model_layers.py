"""Weights of a model by part: the matrices of its blocks, pruned or not, and the number of weights in each group."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple, get_args

from torch import nn

from mlprune.models.architecture.architecture import Architecture, oriented
from mlprune.models.architecture.units import Shapes

WeightGroup = Literal["prunable", "dense", "vectors", "embeddings", "tail", "head"]
"""`prunable`: layers that are pruned. `dense`: other parameters of two or more dimensions in blocks. `vectors`: biases
and norms in blocks. `tail`: modules between the last block and the head, such as the last norm."""


class ModelLayer(NamedTuple):
    """A parameter of two or more dimensions in a block, with the columns of the catalog's table `model_layers`."""

    block: int
    layer: str
    """Path in the block: of the layer if it is pruned, of the parameter otherwise."""
    input: str | None
    """The input that a pruned layer reads: the first layer that reads it."""
    n_out: int | None
    """Output features of a pruned layer; None for other parameters."""
    n_in: int | None
    """Input features of a pruned layer; None for other parameters."""
    n_weights: int
    is_pruned: bool
    reason: str | None
    """Why it is not pruned."""


@dataclass(frozen=True)
class DenseGroup:
    """A parameter of two or more dimensions that stays dense in some blocks."""

    name: str
    blocks: tuple[int, ...]
    n_weights: int
    """In all these blocks."""
    reason: str


def layer_shapes(model: nn.Module, architecture: Architecture, block: int) -> Shapes:
    """Return the shapes of the pruned layers of a block of a model, which may have no weights."""
    kind, module = architecture.block(block), model.get_submodule(f"{architecture.blocks}.{block}")
    views = {layer: oriented(module.get_submodule(layer).get_parameter("weight"), kind) for layer in kind.layers}
    return {layer: (view.shape[0], view.shape[1]) for layer, view in views.items()}


def model_layers(model: nn.Module, architecture: Architecture) -> tuple[ModelLayer, ...]:
    """List the parameters of two or more dimensions of all blocks, pruned ones first, block by block."""
    return tuple(layer for block in range(architecture.n_blocks) for layer in _of_block(model, architecture, block))


def _of_block(model: nn.Module, architecture: Architecture, block: int) -> Iterator[ModelLayer]:
    kind = architecture.block(block)
    for layer, (n_out, n_in) in layer_shapes(model, architecture, block).items():
        yield ModelLayer(
            block, layer, kind.input_of(layer), n_out, n_in, n_weights=n_out * n_in, is_pruned=True, reason=None
        )
    for parameter in kind.dense:
        size = prod(parameter.shape)
        yield ModelLayer(
            block, parameter.name, None, None, None, n_weights=size, is_pruned=False, reason=parameter.reason
        )


def dense_groups(layers: Iterable[ModelLayer]) -> tuple[DenseGroup, ...]:
    """Group the parameters that stay dense by name and reason, in order."""
    groups: dict[tuple[str, str], list[ModelLayer]] = {}
    for layer in layers:
        if layer.reason is not None:
            groups.setdefault((layer.layer, layer.reason), []).append(layer)
    return tuple(
        DenseGroup(name, tuple(one.block for one in members), sum(one.n_weights for one in members), reason)
        for (name, reason), members in groups.items()
    )


def weights_by_group(
    model: nn.Module, architecture: Architecture, stored_names: Mapping[str, str]
) -> dict[WeightGroup, int]:
    """Count the weights of a model; a tied parameter is counted where it occurs first.

    Args:
        stored_names: parameter -> name under which it is stored, the same for tied ones.
    """
    counts: dict[WeightGroup, int] = dict.fromkeys(get_args(WeightGroup), 0)
    pruned = {
        f"{architecture.blocks}.{block}.{layer}.weight"
        for block in range(architecture.n_blocks)
        for layer in architecture.block(block).layers
    }
    counted: set[str] = set()
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if stored_names[name] not in counted:
            counted.add(stored_names[name])
            counts[_group(name, parameter, architecture, is_pruned=name in pruned)] += parameter.numel()
    return counts


def _group(name: str, parameter: nn.Parameter, architecture: Architecture, *, is_pruned: bool) -> WeightGroup:
    if architecture.is_in_blocks(name):
        return "prunable" if is_pruned else "dense" if parameter.dim() > 1 else "vectors"
    if name.startswith(f"{architecture.head}."):
        return "head"
    return "tail" if architecture.is_after_blocks(name) else "embeddings"
