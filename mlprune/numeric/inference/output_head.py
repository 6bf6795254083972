"""The output head of a model, computed in pieces of its vocabulary."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class OutputHead:
    """The output head, and how many logits are computed at once.

    logits = hidden @ weight.T + bias; a capped model has softcap * tanh(logits / softcap).
    """

    weight: Tensor
    """[vocab, d]."""
    bias: Tensor | None
    """[vocab]."""
    softcap: float | None
    """> 0."""
    max_logits: int
    """Most logits in memory at once, >= 1."""

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return int(self.weight.shape[0])

    def n_columns(self, n_rows: int) -> int:
        """Return the tokens of a piece of the vocabulary for some rows of hidden states."""
        return max(1, self.max_logits // n_rows)

    def pieces(self, n_columns: int) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield the first token of each piece of the vocabulary, with the weight and the bias of its tokens."""
        for first in range(0, self.n_tokens, n_columns):
            piece = slice(first, first + n_columns)
            yield first, self.weight[piece], None if self.bias is None else self.bias[piece]

    def cap_in_place(self, logits: Tensor) -> Tensor:
        """Cap logits, which are overwritten."""
        return logits if self.softcap is None else logits.div_(self.softcap).tanh_().mul_(self.softcap)


def part_bounds(n_states: int, *, most: int) -> list[int]:
    """Return the bounds of the parts into which states are divided: as few as fit, of nearly equal size."""
    n_parts = max(1, -(-n_states // most))
    return [n_states * part // n_parts for part in range(n_parts + 1)]
