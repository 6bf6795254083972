"""What enters a chain of shards, what leaves it, and what one shard hands to the next.

All are frozen records of tensors and plain values, so they can be pickled: no cache, no module, no weight. Each shard
takes off the calls of the blocks it has run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mlprune.errors import ShapeError
from mlprune.models.hooks import BlockCall

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
class Travelling:
    """Hidden states between two blocks, with the calls of the blocks to come."""

    hidden: Tensor
    """[b, s, d]."""
    calls: Calls


@dataclass(frozen=True)
class ObservationPart:
    """A batch that has been observed in the blocks so far."""

    states: Travelling
    counted: Tensor
    sums: Mapping[tuple[int, str], Tensor]
    magnitudes: tuple[Tensor, ...]
    """[b, d] each: of the embedding output and of the blocks so far."""


@dataclass(frozen=True)
class SweepPart:
    """Resident hidden states of a sequential sweep, handed over between shards."""

    states: Travelling
    counted: Tensor


@dataclass(frozen=True)
class DecodePart:
    """A decoding step between two shards."""

    key: str
    states: Travelling


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ShapeError("a batch does not fit together", part=name, expected=expected, got=tuple(tensor.shape))
