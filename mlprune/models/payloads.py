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
class ScoringBatch:
    """Texts to score, cut in two so that what several of them begin with is computed once.

    Raises:
        ShapeError: the parts do not fit together, or a prefix or the longest suffix is empty.
    """

    prefix_ids: Tensor
    """[p, lp] int64, lp >= 1, no padding."""
    suffix_ids: Tensor
    """[n, ls] int64, ls >= 1, padded on the right."""
    suffix_mask: Tensor
    """[n, ls] bool, True at tokens."""
    parent: Tensor
    """[n] int64: row of the prefix that a suffix continues."""

    def __post_init__(self) -> None:
        for name in ("prefix_ids", "suffix_ids"):
            tokens = getattr(self, name)
            if tokens.ndim != 2 or tokens.numel() == 0:
                raise ShapeError("a scoring batch is empty", part=name, got=tuple(tokens.shape))
        _check_shape("suffix_mask", self.suffix_mask, tuple(self.suffix_ids.shape))
        _check_shape("parent", self.parent, tuple(self.suffix_ids.shape[:1]))


@dataclass(frozen=True)
class Scores:
    """Scores of texts, on the CPU: every token but a text's first is scored."""

    log_likelihoods: Tensor
    """[n] float64, sums of log-probabilities."""
    n_tokens: Tensor
    """[n] int64, scored tokens."""
    prefix_log_probs: Tensor
    """[p, lp - 1] float64, of each prefix's tokens behind its first."""
    suffix_log_probs: Tensor
    """[n, ls] float64, of each suffix's tokens, 0 at padding."""


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
class ScoringPart:
    """A scoring batch between two shards."""

    batch: ScoringBatch
    prefix: Travelling
    suffix: Travelling


@dataclass(frozen=True)
class DecodePart:
    """A decoding step between two shards."""

    key: str
    states: Travelling


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise ShapeError("a batch does not fit together", part=name, expected=expected, got=tuple(tensor.shape))
