"""What enters a chain of shards, what leaves it, and what one shard hands to the next.

All are frozen records of tensors and plain values, so they can be pickled: no cache, no module, no weight. Each shard
takes off the calls of the blocks it has run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.models.inference.block_calls import BlockCall

Calls = Mapping[int, BlockCall]
"""Block -> how it is called, for the blocks still to run."""


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

    def __post_init__(self) -> None:
        for name in ("attention_mask", "counted"):
            _check_shape(name, getattr(self, name), tuple(self.token_ids.shape))


@dataclass(frozen=True)
class Observation:
    """Statistics of a batch from all blocks, on the CPU."""

    sums: Mapping[tuple[int, str], Tensor]
    """(block, input) -> [b, in] float32, sums of squares over counted tokens."""
    magnitudes: Tensor
    """[n_blocks + 1, b, d] float32: of the embedding output, then of the hidden states after each block."""
    n_tokens: Tensor
    """[b] int64, counted tokens."""


@dataclass(frozen=True)
class Continuations:
    """What follows prefixes, in rows of about equal length.

    Raises:
        ShapeError: the parts do not fit together, or there is no token.
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
            raise ShapeError("a batch does not fit together", part="parent", expected=n_rows, got=len(self.parent))


@dataclass(frozen=True)
class ScoringBatch:
    """Texts to score, cut where they part.

    States are counted over the prefixes, row by row and padding included, then over each group likewise.

    Raises:
        ShapeError: the parts do not fit together, or there is no prefix token or no target.
    """

    prefix_ids: Tensor
    """[p, lp] int64, lp >= 1, padded on the left."""
    prefix_mask: Tensor
    """[p, lp] bool, True at tokens."""
    groups: tuple[Continuations, ...]
    states: Tensor
    """[k] int64: the state that each target is predicted from."""
    targets: Tensor
    """[k] int64, k >= 1: the tokens that are scored."""

    def __post_init__(self) -> None:
        _check_tokens("prefixes", self.prefix_ids, self.prefix_mask)
        if self.states.ndim != 1 or self.states.shape != self.targets.shape or not self.states.numel():
            expected, got = tuple(self.states.shape), tuple(self.targets.shape)
            raise ShapeError("there is no target, or a target has no state", expected=expected, got=got)

    @property
    def n_computed(self) -> int:
        """Tokens that are run, padding included."""
        return int(self.prefix_ids.numel() + sum(group.token_ids.numel() for group in self.groups))


@dataclass(frozen=True)
class DecodeStep:
    """The next tokens of a decoding session: first the prompts, padded on the left, then one token a row.

    Raises:
        ShapeError: the mask is shorter than the tokens, or has another number of rows.
    """

    key: str
    """Names the session; its caches stay in the shards until `decode_end`."""
    token_ids: Tensor
    """[b, s] int64: the tokens not yet seen."""
    attention_mask: Tensor
    """[b, t] bool, t >= s: over all tokens so far, these included."""

    def __post_init__(self) -> None:
        n_rows, n_new = self.token_ids.shape
        if self.attention_mask.shape[0] != n_rows or self.attention_mask.shape[1] < n_new:
            got = tuple(self.attention_mask.shape)
            raise ShapeError("the mask does not cover the tokens", expected=f"({n_rows}, >= {n_new})", got=got)


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states between two blocks, with the calls of the blocks to come."""

    hidden: Tensor
    """[b, s, d]."""
    calls: Calls


@dataclass(frozen=True)
class ObservationPart:
    """A batch that has been observed in the blocks so far."""

    states: HiddenStates
    counted: Tensor
    sums: Mapping[tuple[int, str], Tensor]
    magnitudes: tuple[Tensor, ...]
    """[b, d] each: of the embedding output and of the blocks so far."""


@dataclass(frozen=True)
class SweepPart:
    """Resident hidden states of a sequential sweep, handed over between shards."""

    states: HiddenStates
    counted: Tensor


@dataclass(frozen=True)
class CaptureBatch(TokenBatch):
    """Demonstrations whose activations are wanted, padded on the right."""

    wanted: Mapping[int, tuple[str, ...]]
    """Block -> inputs, by the first layer that reads them."""


@dataclass(frozen=True)
class Captured:
    """Activations of a batch, on the CPU, in the model's dtype."""

    inputs: Mapping[tuple[int, str], Sequence[Tensor]]
    """(block, input) -> [tokens, in] for every demonstration, its counted tokens in their order."""


@dataclass(frozen=True)
class CapturePart:
    """A batch whose activations were taken in the blocks so far."""

    states: HiddenStates
    counted: Tensor
    wanted: Mapping[int, tuple[str, ...]]
    inputs: Mapping[tuple[int, str], Sequence[Tensor]]


@dataclass(frozen=True)
class ActiveNeurons:
    """Counts of a batch from all blocks, on the CPU."""

    counts: Mapping[int, Tensor]
    """Block -> [neurons] int64, counted tokens at which a neuron fires."""
    n_tokens: int
    """Counted tokens."""


@dataclass(frozen=True)
class StateSums:
    """Hidden states of a batch added up, on the CPU."""

    sums: Tensor
    """[n_blocks, d] float64: of the states behind each block, before the final norm, over the counted tokens."""
    n_tokens: int
    """Counted tokens."""


@dataclass(frozen=True)
class SumPart:
    """A batch whose states were added up behind the blocks so far."""

    states: HiddenStates
    counted: Tensor
    sums: tuple[Tensor, ...]
    """[d] each."""


@dataclass(frozen=True)
class CountPart:
    """A batch whose neurons were counted in the blocks so far."""

    states: HiddenStates
    counted: Tensor
    counts: Mapping[int, Tensor]


@dataclass(frozen=True)
class ScoringPart:
    """A batch between two shards."""

    batch: ScoringBatch
    prefix: HiddenStates
    groups: tuple[HiddenStates, ...]


@dataclass(frozen=True)
class DecodePart:
    """A decoding step between two shards."""

    key: str
    states: HiddenStates


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ShapeError("a batch does not fit together", part=name, expected=expected, got=tuple(tensor.shape))


def _check_tokens(part: str, token_ids: Tensor, mask: Tensor) -> int:
    if token_ids.ndim != 2 or token_ids.numel() == 0:
        raise ShapeError("a scoring batch is empty", part=part, got=tuple(token_ids.shape))
    if mask.shape != token_ids.shape:
        raise ShapeError(
            "a batch does not fit together", part=part, expected=tuple(token_ids.shape), got=tuple(mask.shape)
        )
    return int(token_ids.shape[0])
