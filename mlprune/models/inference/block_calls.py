"""Calls of blocks as plain values, which can be pickled, moved between devices and replayed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class CacheSlot:
    """Placeholder for the key-value cache in a captured call; each shard replaces it by its own cache."""


@dataclass(frozen=True)
class BlockCall:
    """All arguments of a block except the hidden states. Picklable: a cache is replaced by a slot."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def replace_instances(self, kind: type[Kind], replace: Callable[[Kind], object]) -> "BlockCall":
        """Return the call with every instance of a type replaced."""
        args = tuple(_replaced(value, kind, replace) for value in self.args)
        return BlockCall(args, {name: _replaced(value, kind, replace) for name, value in self.kwargs.items()})

    def with_cache(self, cache: object) -> "BlockCall":
        """Return the call with a cache in place of the slots."""
        return self.replace_instances(CacheSlot, lambda _: cache)


def on_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. The host waits only for a copy to the CPU, whose values it could read too early."""
    return tensor.to(device, non_blocking=device.type != "cpu")


def calls_on(calls: Mapping[int, BlockCall], device: torch.device) -> dict[int, BlockCall]:
    """Move the tensors of calls to a device. A tensor that several calls share is moved once and stays shared."""
    moved: dict[int, Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            moved[id(tensor)] = on_device(tensor, device)
        return moved[id(tensor)]

    return {block: call.replace_instances(Tensor, move) for block, call in calls.items()}


def _replaced(value: object, kind: type[Kind], replace: Callable[[Kind], object]) -> object:
    """Replace every instance of a type in nested tuples, lists and dicts."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(_replaced(item, kind, replace) for item in value)
    if isinstance(value, dict):
        return {key: _replaced(item, kind, replace) for key, item in value.items()}
    return value
