"""What goes into blocks and layers: how the model's own code calls its blocks, and the inputs that layers read.

Masks, positions, alibi and whatever else a block is called with are prepared by the model's own forward, run once with
stubs in the blocks' place. The recorded calls are then replayed, on any shard, and are never rebuilt by hand.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.families import Family
from mlprune.numeric.statistics import demonstration_sums


@dataclass(frozen=True)
class CacheSlot:
    """Stands in a recorded call where the model passed its key-value cache; a shard puts in its own."""


@dataclass(frozen=True)
class BlockCall:
    """Everything but the hidden states that the model's code calls a block with. Picklable: a cache is a slot."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def with_cache(self, cache: Cache | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments with the slots filled."""
        filled = _replaced((self.args, dict(self.kwargs)), CacheSlot, lambda _: cache)
        return filled[0], filled[1]


@dataclass(frozen=True)
class Capture:
    """What the model's code gave its blocks."""

    hidden: Tensor
    """[b, s, d]: the embedding output, input of block 0."""
    calls: tuple[BlockCall, ...]
    """One a block, in order."""


class _Stub(nn.Module):
    """Takes a block's place, records its call and hands the hidden states on."""

    def __init__(self, captured: list[tuple[Tensor, BlockCall]], *, returns_tuple: bool) -> None:
        super().__init__()
        self._captured = captured
        self._returns_tuple = returns_tuple

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, None]:
        """Record and pass on, in the form in which the model's code takes a block's result."""
        args, kwargs = _replaced((args, kwargs), Cache, lambda _: CacheSlot())
        self._captured.append((hidden_states, BlockCall(args, kwargs)))
        return (hidden_states, None) if self._returns_tuple else hidden_states


@contextmanager
def capture_calls(model: nn.Module, family: Family) -> Iterator[list[tuple[Tensor, BlockCall]]]:
    """Put stubs in the place of the blocks, and nothing in that of the final norm, while the context lasts.

    Yields: a list that the model's forward fills with (hidden states, call), one a block.
    """
    captured: list[tuple[Tensor, BlockCall]] = []
    n_blocks = len(list(model.get_submodule(family.blocks).children()))
    stubs = nn.ModuleList(_Stub(captured, returns_tuple=family.block_returns_tuple) for _ in range(n_blocks))
    with ExitStack() as stack:
        stack.enter_context(_swapped(model, family.blocks, stubs))
        stack.enter_context(_swapped(model, family.final_norm, nn.Identity()))
        yield captured


def prepare(model: nn.Module, family: Family, **inputs: Any) -> Capture:
    """Run the model's forward up to its blocks.

    Args:
        model: causal language model whose embeddings are loaded; its blocks need not be.
        family: of the model.
        inputs: keyword arguments of the base model's forward.
    """
    with capture_calls(model, family) as captured:
        model.get_submodule(family.base)(**inputs)
    return Capture(hidden=captured[0][0], calls=tuple(call for _, call in captured))


def calls_on(calls: Mapping[int, BlockCall], device: torch.device) -> dict[int, BlockCall]:
    """The same calls with their tensors on a device; a tensor that calls share is moved once and stays shared."""
    moved: dict[int, Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor.to(device)
        return moved[id(tensor)]

    return {block: BlockCall(*_replaced((call.args, dict(call.kwargs)), Tensor, move)) for block, call in calls.items()}


def hidden_of(output: Any, family: Family) -> Tensor:
    """The hidden states in what a block returned.

    Raises:
        ModelError: a block of this family is recorded to return something else.
    """
    hidden = output[0] if family.block_returns_tuple and isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor) or family.block_returns_tuple != isinstance(output, tuple):
        expected = "a tuple" if family.block_returns_tuple else "a tensor"
        raise ModelError(
            "a block returns what its record in mlprune/models/families.py does not say",
            family=family.name,
            expected=expected,
            got=type(output).__name__,
        )
    return hidden


@contextmanager
def input_observer(block_module: nn.Module, family: Family, token_mask: Tensor) -> Iterator[dict[str, Tensor]]:
    """Sum the squares of what the layers of a block read, while the context lasts and the block is run once.

    Layers that read one input are observed once, at the first of them.

    Args:
        block_module: the block.
        family: of the model.
        token_mask: bool [b, s], True where a token counts.
    Yields: input -> [b, in] float32, filled while the block runs.
    Raises:
        StatisticsError: a counted activation is not finite.
    """
    sums: dict[str, Tensor] = {}

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            inputs = args[0].reshape(*token_mask.shape, -1)
            try:
                sums[name] = demonstration_sums(inputs, token_mask)
            except StatisticsError as err:
                raise StatisticsError(err.message, err.context, input=name) from err

        return hook

    handles = [
        block_module.get_submodule(name).register_forward_pre_hook(hook_for(name)) for name in family.input_names
    ]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _swapped(model: nn.Module, path: str, module: nn.Module) -> Iterator[None]:
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    original = owner.get_submodule(name)
    setattr(owner, name, module)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _replaced(value: Any, kind: type, replace: Callable[[Any], Any]) -> Any:
    """A nest of tuples, lists and dicts with every instance of a type replaced."""
    if isinstance(value, kind):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(_replaced(item, kind, replace) for item in value)
    if isinstance(value, dict):
        return {key: _replaced(item, kind, replace) for key, item in value.items()}
    return value
