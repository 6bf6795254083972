"""What goes into blocks and layers: how the model's own code calls its blocks, what layers read and neurons do.

Masks, positions, alibi and whatever else a block is called with are prepared by the model's own forward, run once with
stubs in the blocks' place. The recorded calls are then replayed, on any shard, and are never rebuilt by hand.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from mlprune.errors import ModelError, StatisticsError
from mlprune.models.families.records import Family
from mlprune.models.inference.block_calls import BlockCall, CacheSlot, replaced
from mlprune.numeric.activations.statistics import demonstration_sums


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
        args, kwargs = replaced((args, kwargs), Cache, lambda _: CacheSlot())
        self._captured.append((hidden_states, BlockCall(args, kwargs)))
        return (hidden_states, None) if self._returns_tuple else hidden_states


@contextmanager
def capture_calls(model: nn.Module, family: Family) -> Iterator[list[tuple[Tensor, BlockCall]]]:
    """Put stubs in the place of the blocks, and nothing in that of the final norm, while the context lasts.

    The model is one for all threads: none may enter while another is in here, or look for a block or the norm in it.

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
    """Run the model's forward up to its blocks; one thread at a time, see `capture_calls`.

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

    return {block: BlockCall(*replaced((call.args, dict(call.kwargs)), Tensor, move)) for block, call in calls.items()}


def hidden_of(output: Any, family: Family) -> Tensor:
    """The hidden states in what a block returned.

    Raises:
        ModelError: a block of this family is recorded to return something else.
    """
    hidden = output[0] if family.block_returns_tuple and isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor) or family.block_returns_tuple != isinstance(output, tuple):
        expected = "a tuple" if family.block_returns_tuple else "a tensor"
        raise ModelError(
            "a block returns what its record in mlprune/models/families/records.py does not say",
            family=family.name,
            expected=expected,
            got=type(output).__name__,
        )
    return hidden


class Taps:
    """Shows what the layers of some blocks read, and their neurons, to whoever listens in the thread that runs them.

    Layers that read one input are watched at the first of them. The hooks stay and do nothing where nobody listens:
    threads may run the same block at once, some listening and some not.

    Args:
        blocks: their modules.
        family: of the model.
    """

    def __init__(self, blocks: Iterable[nn.Module], family: Family) -> None:
        self._here = threading.local()
        for module in blocks:
            for name in family.input_names:
                module.get_submodule(name).register_forward_pre_hook(partial(self._read, name))
            module.get_submodule(family.activation).register_forward_hook(self._fired)

    @contextmanager
    def listening(
        self, listener: Callable[[str, Tensor], None] | None = None, *, neurons: Callable[[Tensor], None] | None = None
    ) -> Iterator[None]:
        """While the context lasts, let functions hear what this thread runs into.

        A listener may raise `BlockStop`: the block is left there, and so is the context, without an error.

        Args:
            listener: called with (input, [..., in]) for every input.
            neurons: called with [..., neurons], the activations of a block's feed-forward neurons.
        """
        self._here.listener, self._here.neurons = listener, neurons
        try:
            yield
        except BlockStop:
            pass
        finally:
            self._here.listener = self._here.neurons = None

    def _read(self, name: str, _module: nn.Module, args: tuple[Any, ...]) -> None:
        listener = getattr(self._here, "listener", None)
        if listener is not None:
            listener(name, args[0])

    def _fired(self, _module: nn.Module, _args: tuple[Any, ...], activations: Tensor) -> None:
        neurons = getattr(self._here, "neurons", None)
        if neurons is not None:
            neurons(activations)


class BlockStop(BaseException):
    """Leaves a block before it is through: no error, and nothing that a model's code should catch."""


class InputSums:
    """Listener that sums the squares of what the layers of one block read, for one run of it.

    Args:
        family: of the model.
        counted: bool [b, s], True where a token counts.
        keeps_tokens: keep the counted tokens of every input as well.
        stops: leave the block as soon as all inputs are there, before the product of the last layers.
    """

    def __init__(self, family: Family, counted: Tensor, *, keeps_tokens: bool = False, stops: bool = False) -> None:
        self._family = family
        self._counted = counted
        self._keeps_tokens = keeps_tokens
        self._stops = stops
        self._sums: dict[str, Tensor] = {}
        self.tokens: dict[str, list[Tensor]] = {}
        """input -> [counted tokens, in] of each demonstration, in the dtype of the model; empty unless kept."""

    def __call__(self, name: str, inputs: Tensor) -> None:
        """Take one input.

        Raises:
            StatisticsError: a counted activation is not finite; the input is named.
            BlockStop: all inputs are there, and the rest of the block is not wanted.
        """
        inputs = inputs.reshape(*self._counted.shape, -1)
        try:
            self._sums[name] = demonstration_sums(inputs, self._counted)
        except StatisticsError as err:
            raise StatisticsError(err.message, err.context, input=name) from err
        if self._keeps_tokens:
            counted = self._counted.to(inputs.device)
            self.tokens[name] = [row[mask] for row, mask in zip(inputs, counted, strict=True)]
        if self._stops and len(self._sums) == len(self._family.input_names):
            raise BlockStop

    def sums(self) -> dict[str, Tensor]:
        """input -> [b, in] float32, in the family's order.

        Raises:
            ModelError: the block did not run a layer.
        """
        missing = [name for name in self._family.input_names if name not in self._sums]
        if missing:
            message = "a block did not run layers that its record in mlprune/models/families/records.py lists"
            raise ModelError(message, family=self._family.name, missing=missing)
        return {name: self._sums[name] for name in self._family.input_names}


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
