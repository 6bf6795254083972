"""Batches, hidden states and results that pass between shards, and calls of blocks as plain values.

Batches that enter a chain of shards, the hidden states that one shard passes to the next, and what a sweep observes.

All are frozen records of tensors and plain values, so they can be pickled. They contain no cache, module or weight.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TypeVar

import torch
from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.methods import StatisticsName
from mlprune.numeric.activations.feature_sums import FeatureSums
from mlprune.numeric.activations.statistics import TokenGroups

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

    def tensors(self) -> list[Tensor]:
        """Return all tensors among the arguments."""
        tensors: list[Tensor] = []
        self.replace_instances(Tensor, tensors.append)
        return tensors

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


@dataclass(frozen=True)
class TokenBatch:
    """Demonstrations to observe, padded on the right.

    Raises:
        ShapeError: the three differ in shape.
    """

    token_ids: Tensor
    """[b, s] int64."""
    attention_mask: Tensor
    """[b, s] bool, True at tokens, False at padding."""
    counted: Tensor
    """[b, s] bool, True at the tokens that count in statistics."""
    groups: TokenGroups | None = field(default=None, kw_only=True)
    """By which the tokens that reach each expert are counted; None: they are not counted."""

    def __post_init__(self) -> None:
        for name in ("attention_mask", "counted"):
            _check_shape(name, getattr(self, name), tuple(self.token_ids.shape))
        if self.groups is not None:
            _check_shape("groups", self.groups.of_tokens, tuple(self.token_ids.shape))

    @property
    def n_computed(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.token_ids.numel()


@dataclass(frozen=True)
class Continuations:
    """Continuations of prefixes, in rows of similar length.

    Raises:
        ShapeError: the fields do not fit together, or are empty.
    """

    token_ids: Tensor
    """[n, l] int64, l >= 1, padded on the right."""
    mask: Tensor
    """[n, l] bool, True at tokens."""
    parent: Tensor
    """[n] int64: row of the prefix that is continued."""

    def __post_init__(self) -> None:
        n_rows = _check_tokens("continuations", self.token_ids, self.mask)
        if tuple(self.parent.shape) != (n_rows,):
            raise ShapeError("the parts of a batch do not match", part="parent", expected=n_rows, got=len(self.parent))


@dataclass(frozen=True)
class ScoringBatch:
    """Texts to score, each split into a shared prefix and its continuation.

    Hidden states are numbered row by row, padding included: first those of the prefixes, then those of each group.

    Raises:
        ShapeError: the fields do not fit together, or have no prefix token or target.
    """

    prefix_ids: Tensor
    """[p, lp] int64, lp >= 1, padded on the left; on the right if no prefix has a continuation."""
    prefix_mask: Tensor
    """[p, lp] bool, True at tokens."""
    groups: tuple[Continuations, ...]
    states: Tensor
    """[k] int64: number of the hidden state that predicts each target."""
    targets: Tensor
    """[k] int64, k >= 1: the tokens to score."""

    def __post_init__(self) -> None:
        _check_tokens("prefixes", self.prefix_ids, self.prefix_mask)
        if self.states.ndim != 1 or self.states.shape != self.targets.shape or not self.states.numel():
            expected, got = tuple(self.states.shape), tuple(self.targets.shape)
            raise ShapeError("targets are missing, or do not match their states", expected=expected, got=got)

    @property
    def n_computed(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.prefix_ids.numel() + sum(group.token_ids.numel() for group in self.groups)

    @cached_property
    def key(self) -> str:
        """Digest of everything that determines the hidden states."""
        content = sha256()
        groups = [part for group in self.groups for part in (group.token_ids, group.mask, group.parent)]
        for tensor in (self.prefix_ids, self.prefix_mask, *groups):
            content.update(f"{tuple(tensor.shape)}".encode())
            content.update(tensor.contiguous().numpy().tobytes())
        return content.hexdigest()

    @cached_property
    def predicting(self) -> tuple[Tensor, Tensor]:
        """Distinct states that predict a target, ascending, and the place of each target's state among them."""
        distinct, places = torch.unique(self.states, return_inverse=True)
        return distinct, places


@dataclass(frozen=True)
class TokenDraw:
    """How the next token of each row is drawn; see `draw_tokens`."""

    uniforms: tuple[float, ...]
    temperature: float
    banned: tuple[int, ...] = ()


@dataclass(frozen=True)
class DecodeStep:
    """The next tokens of a decoding session: first the prompts, padded on the left, then one token per row.

    Raises:
        ShapeError: the mask is shorter than the tokens, or has another number of rows.
    """

    key: str
    """Key of the session, whose caches stay in the shards until the session ends."""
    token_ids: Tensor
    """[b, s] int64: the tokens that the model has not seen yet."""
    attention_mask: Tensor
    """[b, t] bool, t >= s: mask over all tokens so far, including these."""
    draw: TokenDraw | None = None
    """None: the likeliest token of each row."""

    def __post_init__(self) -> None:
        n_rows, n_new = self.token_ids.shape
        if self.attention_mask.shape[0] != n_rows or self.attention_mask.shape[1] < n_new:
            got = tuple(self.attention_mask.shape)
            raise ShapeError("the mask does not cover the tokens", expected=f"({n_rows}, >= {n_new})", got=got)

    @property
    def n_computed(self) -> int:
        """Tokens that the model computes, padding included."""
        return self.token_ids.numel()


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states between two blocks, with the calls of the remaining blocks."""

    hidden: Tensor
    """[b, s, d]."""
    calls: Mapping[int, BlockCall]
    """Block -> its call."""

    @property
    def n_bytes(self) -> int:
        """Memory of the states and of the arguments of the first remaining block, which other blocks share."""
        first = [call.tensors() for _, call in sorted(self.calls.items())[:1]]
        tensors = {id(tensor): tensor for tensor in (self.hidden, *(one for call in first for one in call))}
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())

    def without(self, block: int) -> "HiddenStates":
        """Return the states after a block that is skipped: they are the same, and its call is dropped."""
        return HiddenStates(self.hidden, {later: call for later, call in self.calls.items() if later != block})

    def to(self, device: torch.device) -> "HiddenStates":
        """Move states and calls to a device."""
        return HiddenStates(on_device(self.hidden, device), calls_on(self.calls, device))


States = tuple[HiddenStates, ...]
"""Hidden states of a visitor between two blocks: one entry per group of rows that runs as one batch."""


@dataclass(frozen=True)
class SweepStates:
    """Hidden states of one batch of a sequential sweep."""

    states: HiddenStates
    counted: Tensor
    """[b, s] bool, True at the tokens that count in statistics."""
    groups: TokenGroups | None = None
    """Of the tokens; see `TokenBatch`."""


@dataclass(frozen=True)
class FittedOutput:
    """One batch to which a block is fitted: what the block reads, and what it should return."""

    states: HiddenStates
    """Before the block, [b, s, d], with the call of the block."""
    target: Tensor
    """[b, s, d], the hidden states after the dense block."""


@dataclass(frozen=True)
class WantedStatistics:
    """What is observed of a block in addition to the sums of squares."""

    sums: bool = False
    """Sums and squared deviations of the features of each demonstration."""
    products: bool = False
    """Gram matrices of each set, from float32 products within a demonstration."""
    products_of: tuple[str, ...] | None = None
    """Inputs whose Gram matrices are collected; None: all."""
    gradients: bool = False
    """Regional gradients of each set."""
    magnitudes: bool = False
    """Magnitudes of the hidden states after the block, and before the first one."""
    advances: bool = False
    """Also run the block to its end and keep the states after it, so that it runs once. Its weights do not change."""

    @classmethod
    def of(cls, needs: Collection[StatisticsName], *, exact_products: bool = False) -> "WantedStatistics":
        """Return what is observed for methods of a sweep.

        Args:
            needs: statistics that they read.
            exact_products: whether Gram matrices are summed in float64 instead, over all batches.
        """
        return cls(
            sums="sums" in needs,
            products="products" in needs and not exact_products,
            gradients="gradients" in needs,
        )

    @property
    def reads_tokens(self) -> bool:
        """Whether the counted tokens of the inputs are needed."""
        return self.sums or self.products


ONLY_SQUARES = WantedStatistics()


@dataclass(frozen=True)
class SweepObservation:
    """What was observed of one block. It does not leave the process of the shard.

    The set of a batch is the first part of its key if that is a tuple, otherwise None.
    """

    sums: Mapping[Hashable, Mapping[str, Tensor]]
    """Key of a batch -> input -> [b, in] float32, sums of squares over counted tokens."""
    products: Mapping[str, Tensor]
    """Input -> [in, in] float64, sum of x x^T over the counted tokens of all batches; empty if not asked for."""
    feature_sums: Mapping[Hashable, Mapping[str, FeatureSums]] = field(default_factory=dict)
    """Key of a batch -> input -> its sums, on the CPU; empty if not wanted."""
    products_of_sets: Mapping[Hashable, Mapping[str, Tensor]] = field(default_factory=dict)
    """Set -> input -> [in, in] float64, of which only the upper triangle has a meaning; empty if not wanted."""
    gradients: Mapping[Hashable, Mapping[str, Tensor]] = field(default_factory=dict)
    """Set -> layer -> [out, in] float32; empty if not wanted."""
    magnitudes: Mapping[tuple[int, Hashable], Tensor] = field(default_factory=dict)
    """(number of blocks that have run, key of a batch) -> [b, d] float32, on the CPU; empty if not wanted."""


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ShapeError("the parts of a batch do not match", part=name, expected=expected, got=tuple(tensor.shape))


def _check_tokens(part: str, token_ids: Tensor, mask: Tensor) -> int:
    if token_ids.ndim != 2 or token_ids.numel() == 0:
        raise ShapeError("a scoring batch is empty", part=part, got=tuple(token_ids.shape))
    if mask.shape != token_ids.shape:
        raise ShapeError(
            "the parts of a batch do not match", part=part, expected=tuple(token_ids.shape), got=tuple(mask.shape)
        )
    return int(token_ids.shape[0])
