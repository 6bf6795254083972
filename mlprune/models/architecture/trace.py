"""Run a model once without weights, and record which modules run and where the tensors that they read come from.

Hooks record which modules run in which order and which tensor each reads. A dispatch mode records for every tensor the
linear layers that it comes from without another layer in between.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from mlprune.errors import ModelError, reason_of

N_TEXTS, N_TOKENS = 2, 9
"""Shape of the texts that the model runs."""
TRANSPOSED = "Conv1D"
"""Name of the class of GPT-2's linear layers."""

Layer = tuple[int, str]
"""(block, path of a linear layer relative to it)."""
HIDDEN = ""
"""Stands for the hidden states before a block, in place of a layer."""
ATTENTION: Layer = (-1, "attention")
"""Additional source of tensors that attention has computed."""
MIXING: Layer = (-1, "mixing")
"""Additional source of tensors that another operation over several tokens or features has computed."""
NORMED: Layer = (-1, "normed")
"""Additional source of tensors that a norm has computed from the outputs of attention."""
UNKNOWN: Layer = (-1, "unknown")
"""Stands for the source of something that no layer has computed."""
TOKENS: Layer = (-1, "tokens")
"""Additional source of tensors that another operation over several tokens has computed."""
OPERATIONS = frozenset({ATTENTION, MIXING, NORMED, TOKENS})
_ATTENTION_OPERATIONS = ("softmax", "scaled_dot_product", "flex_attention")
_NORM_OPERATIONS = (
    "mean", "sum", "var_mean", "native_layer_norm", "native_group_norm", "_fused_rms_norm", "linalg_vector_norm",
)  # fmt: skip
_TOKEN_OPERATIONS = ("bmm", "baddbmm", "convolution", "cumsum", "cumprod")
_MIXING_OPERATIONS = (*_NORM_OPERATIONS, *_TOKEN_OPERATIONS, "mm", "addmm", "index_add", "scatter_add", "select")
_VIEWS = (
    "view", "_unsafe_view", "slice", "select", "alias", "detach", "unsqueeze", "squeeze", "reshape", "expand",
    "_to_copy", "clone", "device",
)  # fmt: skip
"""Operations that do not change values."""
_NEEDS_VALUES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)


def is_transposed(module: nn.Module) -> bool:
    """Whether a module is a linear layer that stores its weight [in, out]."""
    return type(module).__name__ == TRANSPOSED


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer."""
    return isinstance(module, nn.Linear) or is_transposed(module)


@dataclass
class Call:
    """A module that ran."""

    path: str
    module: nn.Module
    read: Tensor | None
    """The first float tensor among its arguments."""
    sources: frozenset[Layer]
    """Where that tensor comes from."""
    depth: int
    """Number of modules that it runs in."""
    n_chosen: int = 0
    """Last dimension of the first tensor of integers among its arguments: of experts, those of a token."""
    n_attentions: int = 0
    """Number of attention operations in it."""
    result: object = None
    added: frozenset[Layer] | None = None
    """Of a block that returns the hidden states that it reads plus outputs of layers alone: these layers."""

    @property
    def hidden(self) -> object:
        """Its result, or the first of several."""
        return self.result[0] if isinstance(self.result, tuple | list) else self.result


@dataclass
class Trace:
    """What ran, in the order in which modules began."""

    calls: list[Call] = field(default_factory=list)

    def of(self, path: str) -> Call:
        """Return the first call of a module."""
        return next(call for call in self.calls if call.path == path)

    def inside(self, path: str) -> list[Call]:
        """Return the calls of all modules in a module."""
        return [call for call in self.calls if call.path.startswith(f"{path}.")]


class _Sources(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records for each storage the layers that its values come from, without another layer in between."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sources: dict[int, frozenset[Layer]] = {}
        self._kept: list[Tensor] = []
        self.is_watching = False
        """Whether operations that change values are recorded."""
        self.watched: list[str] = []
        self.n_attentions = 0
        """Number of attention operations so far."""
        self.block: int | None = None
        """The block that runs."""
        self.streams: dict[int, frozenset[Layer]] = {}
        """Storage of hidden states in the block that runs -> layers whose outputs were added to them."""
        self.leaks: list[int] = []
        """Blocks that read more of an earlier block than its hidden states."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sources = self.of([args, kwargs])
        name = func.__name__.partition(".")[0]
        if sources and any(part in name for part in _ATTENTION_OPERATIONS) and _is_over_tokens(name, result):
            sources |= {ATTENTION}
            self.n_attentions += 1
        elif sources and (name in _MIXING_OPERATIONS or "softmax" in name):
            sources |= {MIXING, NORMED} if ATTENTION in sources and name in _NORM_OPERATIONS else {MIXING}
            sources |= {TOKENS} if name in _TOKEN_OPERATIONS else frozenset()
        if name == "add":
            self._add_to_streams(result, args)
        if sources:
            self.add(result, sources)
            if self.block is not None and any(0 <= block != self.block for block, _ in sources):
                self.leaks.append(self.block)
            if self.is_watching and name not in _VIEWS:
                self.watched.append(name)
        return result

    def _add_to_streams(self, result: object, args: Sequence[object]) -> None:
        """Follow the hidden states through a sum of two tensors of equal shapes."""
        one, other = (*args, None)[:2]
        if not (isinstance(result, Tensor) and isinstance(one, Tensor) and isinstance(other, Tensor)):
            return
        for stream, more in ((one, other), (other, one)):
            layers = self.of(more) - OPERATIONS
            known = self.streams.get(storage_of(stream))
            if known is not None and stream.shape == more.shape and all(layer != HIDDEN for _, layer in layers):
                self.streams[storage_of(result)] = known | (layers or {UNKNOWN})

    def of(self, values: object) -> frozenset[Layer]:
        """Return the sources of all tensors in nested values."""
        found = (self._sources.get(storage_of(tensor)) for tensor in tensors_in(values))
        return frozenset[Layer]().union(*(sources for sources in found if sources))

    def add(self, values: object, sources: frozenset[Layer]) -> None:
        """Add sources to all tensors in nested values."""
        for tensor in tensors_in(values):
            key = storage_of(tensor)
            self._sources[key] = self._sources.get(key, frozenset()) | sources
            self._kept.append(tensor)

    def set(self, values: object, sources: frozenset[Layer]) -> None:
        """Let nested values come from these layers alone."""
        for tensor in tensors_in(values):
            self._sources[storage_of(tensor)] = sources
            self._kept.append(tensor)


def _is_over_tokens(name: str, result: object) -> bool:
    """Whether an operation of attention is one: a softmax may also be over experts, and attention may have a sink."""
    if "softmax" not in name or not isinstance(result, Tensor):
        return True
    return result.dim() > 2 and result.shape[-2] == N_TOKENS and result.shape[-1] in {N_TOKENS, N_TOKENS + 1}


def tensors_in(values: object) -> Iterator[Tensor]:
    """Yield all tensors in nested values; also in mappings that torch does not know."""
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor):
            yield leaf
        elif isinstance(leaf, Mapping):
            yield from tensors_in(list(leaf.values()))


def storage_of(tensor: Tensor) -> int:
    """Return a key that all views of a tensor share."""
    return int(tensor.untyped_storage()._cdata)


def run_once(model: PreTrainedModel, blocks: str, *, n_blocks: int) -> Trace:
    """Run the model once and record it.

    Raises:
        ModelError: the blocks are not a chain: they do not run once each in order, change hidden states in between, or
            hand more than hidden states to a later block; the model computes between its last block and its head; or
            its code depends on values of tensors.
    """
    name = str(model.config.model_type)
    block_of = {f"{blocks}.{block}": block for block in range(n_blocks)}
    trace, sources = Trace(), _Sources()
    hooks = _Hooks(model, trace, sources, block_of)
    try:
        with torch.no_grad(), sources:
            model(input_ids=torch.ones(N_TEXTS, N_TOKENS, dtype=torch.int64), use_cache=False)
    except _NEEDS_VALUES as err:
        message = "the model's code depends on values of tensors, so that it cannot be run without weights"
        raise ModelError(message, model_type=name, reason=reason_of(err)) from err
    finally:
        hooks.remove()
    _check_chain(trace, name, block_of, sources.leaks)
    if sources.watched:
        message = "the model computes between its last block and its head"
        got = list(dict.fromkeys(sources.watched))
        raise ModelError(message, model_type=name, expected="only norms and linear layers", got=got)
    return trace


class _Hooks:
    """Hooks on all modules of a model, which record each call."""

    def __init__(self, model: nn.Module, trace: Trace, sources: _Sources, block_of: Mapping[str, int]) -> None:
        self._trace, self._sources, self._block_of = trace, sources, block_of
        self._paths: dict[nn.Module, list[str]] = {}
        for path, module in model.named_modules(remove_duplicate=False):
            self._paths.setdefault(module, []).append(path)
        self._open: list[Call] = []
        self._depth: int | None = None
        self._handles = [module.register_forward_pre_hook(self._begin, with_kwargs=True) for module in self._paths]
        self._handles += [module.register_forward_hook(self._end, with_kwargs=True) for module in self._paths]

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        tensors = list(tensors_in([args, dict(kwargs)]))
        read = next((tensor for tensor in tensors if tensor.is_floating_point()), None)
        n_chosen = next((tensor.shape[-1] for tensor in tensors if tensor.dtype == torch.int64 and tensor.dim()), 0)
        call = Call(self._path(module), module, read, self._sources.of(read), len(self._open), n_chosen)
        call.n_attentions = -self._sources.n_attentions
        if call.path in self._block_of:
            self._sources.block = self._block_of[call.path]
            self._sources.set(read, frozenset({(self._sources.block, HIDDEN)}))
            self._sources.streams = {storage_of(tensor): frozenset() for tensor in tensors_in(read)}
        self._trace.calls.append(call)
        self._open.append(call)
        self._sources.is_watching = False

    def _path(self, module: nn.Module) -> str:
        """Return the path of a module; of a shared one, that in the innermost module that runs."""
        paths = self._paths[module]
        inside = (path for call in reversed(self._open) for path in paths if path.startswith(f"{call.path}."))
        return next(inside, paths[0]) if len(paths) > 1 else paths[0]

    def _end(self, module: nn.Module, args: object, kwargs: object, result: object) -> None:
        call = self._open.pop()
        call.result = result
        call.n_attentions += self._sources.n_attentions
        if call.path in self._block_of:
            self._sources.block = None
            hidden = call.hidden
            call.added = self._sources.streams.get(storage_of(hidden)) if isinstance(hidden, Tensor) else None
        if self._block_of.get(call.path) == len(self._block_of) - 1:
            self._depth = len(self._open)
        self._sources.is_watching = len(self._open) == self._depth
        block = next((open_call for open_call in self._open if open_call.path in self._block_of), None)
        if block is not None and is_linear(module):
            layer = call.path.removeprefix(f"{block.path}.")
            self._sources.set(result, frozenset({(self._block_of[block.path], layer)}))


def _check_chain(trace: Trace, name: str, block_of: Mapping[str, int], leaks: Sequence[int]) -> None:
    """Check that the blocks run once each, in order, and each reads the hidden states that the one before returns."""
    calls = [call for call in trace.calls if call.path in block_of]
    order = [block_of[call.path] for call in calls]
    if order != list(range(len(block_of))):
        message = "the model does not run its blocks once each, in order"
        raise ModelError(message, model_type=name, expected=f"0 to {len(block_of) - 1}", got=_shortened(order))
    if leaks:
        message = "blocks of the model read more of earlier blocks than their hidden states"
        raise ModelError(message, model_type=name, block=leaks[0])
    if isinstance(read := calls[0].read, Tensor) and read.dim() != 3:
        message = "the model passes several streams of hidden states from block to block"
        raise ModelError(message, model_type=name, expected="[texts, tokens, features]", got=tuple(read.shape))
    for earlier, call in pairwise(calls):
        if call.read is not earlier.hidden:
            message = "the model changes hidden states between its blocks"
            raise ModelError(message, model_type=name, block=block_of[call.path])


def _shortened(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")
