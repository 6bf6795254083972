"""The output head of a model, computed in pieces of its vocabulary."""

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

    def piece_starts(self, n_columns: int) -> range:
        """Return the first token of each piece."""
        return range(0, self.n_tokens, n_columns)

    def cap_in_place(self, logits: Tensor) -> Tensor:
        """Cap logits, which are overwritten."""
        return logits if self.softcap is None else logits.div_(self.softcap).tanh_().mul_(self.softcap)
