"""Calls of blocks as plain values, which can be pickled, moved between devices and replayed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class CacheSlot:
    """Placeholder in a captured call for the key-value cache; each shard fills in its own."""


@dataclass(frozen=True)
class BlockCall:
    """All arguments of a block except the hidden states. Picklable: a cache is replaced by a slot."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def with_all(self, kind: type[Kind], replace: Callable[[Kind], object]) -> "BlockCall":
        """The same call with every instance of a type replaced."""
        args = tuple(_replaced(value, kind, replace) for value in self.args)
        return BlockCall(args, {name: _replaced(value, kind, replace) for name, value in self.kwargs.items()})

    def with_cache(self, cache: object) -> "BlockCall":
        """The same call with the slots filled."""
        return self.with_all(CacheSlot, lambda _: cache)


def calls_on(calls: Mapping[int, BlockCall], device: torch.device) -> dict[int, BlockCall]:
    """The same calls with their tensors on a device; a tensor that calls share is moved once and stays shared."""
    moved: dict[int, Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor.to(device)
        return moved[id(tensor)]

    return {block: call.with_all(Tensor, move) for block, call in calls.items()}


def _replaced(value: object, kind: type[Kind], replace: Callable[[Kind], object]) -> object:
    """Nested tuples, lists and dicts with every instance of a type replaced."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(_replaced(item, kind, replace) for item in value)
    if isinstance(value, dict):
        return {key: _replaced(item, kind, replace) for key, item in value.items()}
    return value
