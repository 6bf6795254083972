"""Settings of weights that are rounded and stored as codes."""

from dataclasses import dataclass
from typing import Literal

from mlprune.vocabulary import PropagationName, TokenScope

BitsName = Literal[4, 3, 8]
MethodName = Literal["gptq", "nearest"]
GroupName = Literal[64, 128, 32, "row"]
OrderName = Literal["as_is", "by_activation"]


@dataclass(frozen=True)
class CodeSettings:
    """How the weights of a variant are rounded to codes."""

    bits: BitsName
    method: MethodName
    group: GroupName
    """Consecutive inputs of a row that share a scale."""
    symmetric: bool = True
    order: OrderName = "as_is"
    """Order in which GPTQ rounds columns."""
    damping: float = 0.01
    """Share of the mean diagonal of the Gram matrix that GPTQ adds to the diagonal."""
    propagation: PropagationName = "sequential"
    """Blocks before a block whose inputs GPTQ reads: rounded ones, or those of the dense model."""
    tokens: TokenScope = "all"
    """Tokens that count in the Gram matrices."""
    shares: tuple[float, ...] = ()
    """Weight of each demonstration set; they sum to 1. Empty if all are equal."""

    @property
    def group_size(self) -> int | None:
        """The number of inputs of a group; None for a whole row."""
        return None if self.group == "row" else self.group
