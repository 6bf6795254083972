"""Experts that a variant removes: they never reach the choice of the router, whose own normalisation then runs.

An expert counts as removed if the masks of a block keep no weight of its layers. While the router runs, the logits of
removed experts are minus infinity, and so are their correction biases, which some routers add to the scores before the
choice (DeepSeek-V3). Groups of experts keep their shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mlprune.errors import ModelError
from mlprune.models.architecture.architecture import Experts
from mlprune.numeric.masks.packed_masks import PackedMask


def removed_experts(experts: Experts, masks: Mapping[str, PackedMask]) -> tuple[int, ...]:
    """Return the experts of whose layers the masks of a block keep no weight, ascending; none if that are all of them.

    If no expert keeps a weight, every choice of the router has the same outputs, and the sub-layer is removed.
    """
    empty = {layer for layer, mask in masks.items() if experts.has(layer) and mask.is_empty()}
    removed = tuple(expert for expert in range(experts.n_experts) if empty.issuperset(experts.layers(expert)))
    return removed if len(removed) < experts.n_experts else ()


def require_choice(experts: Experts, removed: tuple[int, ...], *, block: int) -> None:
    """Check that enough experts of a block remain for every choice of its router.

    Raises:
        ModelError: fewer than `top_k` remain, or fewer in the groups that a router may choose, or the block has no
            router that was found.
    """
    if not removed:
        return
    _choosing_path(experts)
    n_chosen, kept = experts.n_chosen_groups, [experts.group_size] * experts.n_groups
    for expert in removed:
        kept[expert // experts.group_size] -= 1
    smallest = sorted(n for n in kept if n >= experts.least_of_chosen_group)[:n_chosen]
    if len(smallest) < n_chosen or sum(smallest) < experts.top_k:
        where = {"expected_groups": n_chosen, "kept_by_group": kept} if experts.n_groups > 1 else {}
        message = "too few experts of a block remain for the choice of its router"
        raise ModelError(message, block=block, expected=experts.top_k, got=experts.n_experts - len(removed), **where)


def correction_biases(module: nn.Module, experts: Experts) -> tuple[str, ...]:
    """Return the biases that the router of a block adds to the scores of its experts before the choice.

    Args:
        module: the block.
    Returns: names relative to the block, of parameters and buffers with one entry per expert.
    """
    around = {path for path in (experts.path.rpartition(".")[0], experts.router) if path}
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return tuple(
        name
        for name, tensor in tensors
        if name.startswith(tuple(f"{path}." for path in around))
        and not name.startswith(f"{experts.path}.")
        and name.endswith("_bias")
        and tensor.numel() == experts.n_experts
    )


def remove_experts(module: nn.Module, experts: Experts, removed: tuple[int, ...]) -> None:
    """Let the router of a block choose among the experts that remain; none removed lets it choose among all again.

    Args:
        module: the block.
        removed: ascending.
    Raises:
        ModelError: the block has no router that was found.
    """
    stack = vars(module.get_submodule(experts.path))
    if stack["removed"]:
        vars(module.get_submodule(_choosing_path(experts))).pop("forward", None)
    stack["removed"] = frozenset(removed)
    if removed:
        choosing, names = module.get_submodule(_choosing_path(experts)), correction_biases(module, experts)
        router = module.get_submodule(str(experts.router))
        vars(choosing)["forward"] = _Choice(choosing.forward, module, router, names, removed)


def _choosing_path(experts: Experts) -> str:
    """Return the module of a block whose forward chooses, relative to the block.

    Raises:
        ModelError: no router was found.
    """
    if experts.choosing is None:
        raise ModelError("the router of a block was not found, so no expert can be removed", experts=experts.path)
    return experts.choosing


@dataclass(frozen=True)
class _Choice:
    """The forward of a router without some experts."""

    forward: Any
    """Of the module that chooses, with all experts."""
    module: nn.Module
    """The block."""
    router: Any
    biases: tuple[str, ...]
    removed: tuple[int, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        biases = tuple(_tensor(self.module, name) for name in self.biases)
        with _WithoutExperts(self.router.weight.shape, biases, self.removed):
            return self.forward(*args, **kwargs)


def _tensor(module: nn.Module, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(path), leaf)
    return tensor


class _WithoutExperts(TorchFunctionMode):
    """While it is active, logits and correction biases of removed experts are minus infinity.

    Args:
        shape: of the router's weight.
        biases: the correction biases.
        removed: ascending.
    """

    def __init__(self, shape: torch.Size, biases: tuple[Tensor, ...], removed: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = shape
        self._removed = list(removed)
        self._biases = {id(bias): self._without(bias.detach().reshape(-1)).view_as(bias) for bias in biases}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = tuple(self._biases.get(id(arg), arg) for arg in args)
        kwargs = {name: self._biases.get(id(value), value) for name, value in (kwargs or {}).items()}
        result = func(*args, **kwargs)
        if func is functional.linear and (args[1] if len(args) > 1 else kwargs["weight"]).shape == self._shape:
            result = self._without(result)
        return result

    def _without(self, values: Tensor) -> Tensor:
        """Return values [..., n_experts] with minus infinity for the removed experts."""
        removed = torch.tensor(self._removed, device=values.device)
        return values.index_fill(-1, removed, float("-inf"))
