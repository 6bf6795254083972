"""Capture how the model's own code calls its blocks.

The model's forward prepares masks, positions, alibi and all other arguments of a block. It runs once with stubs in
place of the blocks; any shard then replays the captured calls, and no argument is rebuilt by hand.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import Cache

from mlprune.errors import ModelError
from mlprune.models.families.records import Family
from mlprune.models.inference.block_calls import BlockCall, CacheSlot


@dataclass(frozen=True)
class Capture:
    """Arguments that the model's code passes to its blocks."""

    hidden: Tensor
    """[b, s, d]: the embedding output, input of block 0."""
    calls: tuple[BlockCall, ...]
    """One per block, in order."""


class _Stub(nn.Module):
    """Replaces a block: records its call and returns the hidden states unchanged."""

    def __init__(self, captured: list[tuple[Tensor, BlockCall]], *, returns_tuple: bool) -> None:
        super().__init__()
        self._captured = captured
        self._returns_tuple = returns_tuple

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor | tuple[Tensor, None]:
        """Record the call; return the states in the form that the model's code expects of a block."""
        call = BlockCall(args, kwargs).replace_instances(Cache, lambda _: CacheSlot())
        self._captured.append((hidden_states, call))
        return (hidden_states, None) if self._returns_tuple else hidden_states


@contextmanager
def capture_calls(model: nn.Module, family: Family) -> Iterator[list[tuple[Tensor, BlockCall]]]:
    """Replace the blocks by stubs and the final norm by the identity while the context lasts.

    All threads share the model: while one thread is in the context, no other may enter it or look up a block or the
    norm in the model.

    Yields: a list that the model's forward fills with (hidden states, call), one entry per block.
    """
    captured: list[tuple[Tensor, BlockCall]] = []
    n_blocks = len(list(model.get_submodule(family.blocks).children()))
    stubs = nn.ModuleList(_Stub(captured, returns_tuple=family.block_returns_tuple) for _ in range(n_blocks))
    with ExitStack() as stack:
        stack.enter_context(_swapped(model, family.blocks, stubs))
        stack.enter_context(_swapped(model, family.final_norm, nn.Identity()))
        yield captured


def prepare(model: nn.Module, family: Family, **inputs: object) -> Capture:
    """Run the model's forward up to its blocks; one thread at a time, see `capture_calls`.

    Args:
        model: causal language model; only its embeddings have to be loaded.
        family: family of the model.
        inputs: keyword arguments of the base model's forward.
    """
    with capture_calls(model, family) as captured:
        model.get_submodule(family.base)(**inputs)
    return Capture(hidden=captured[0][0], calls=tuple(call for _, call in captured))


def hidden_of(output: object, family: Family) -> Tensor:
    """Return the hidden states from the output of a block.

    Raises:
        ModelError: the output does not have the type that the family's record declares.
    """
    hidden = output[0] if family.block_returns_tuple and isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor) or family.block_returns_tuple != isinstance(output, tuple):
        expected = "a tuple" if family.block_returns_tuple else "a tensor"
        raise ModelError(
            "a block does not return the type that its record in mlprune/models/families/records.py declares",
            family=family.name,
            expected=expected,
            got=type(output).__name__,
        )
    return hidden


@contextmanager
def _swapped(model: nn.Module, path: str, module: nn.Module) -> Iterator[None]:
    """Replace a submodule while the context lasts."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    original = owner.get_submodule(name)
    setattr(owner, name, module)
    try:
        yield
    finally:
        setattr(owner, name, original)
