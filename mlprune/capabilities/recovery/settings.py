"""Settings of the recovery of a variant."""

from dataclasses import dataclass
from typing import Literal

from mlprune.vocabulary import TokenScope

DivergenceName = Literal["forward", "reverse"]


@dataclass(frozen=True)
class Recovery:
    """How the kept weights of a variant are optimised towards the distributions of the dense model."""

    steps: int = 128
    """Steps of the optimiser; 0 keeps the weights of the parent."""
    learning_rate: float = 0.001
    """Highest learning rate, relative to the root mean square of the kept weights of a layer."""
    batch: int = 4
    """Demonstrations of a step."""
    seed: int = 0
    """Determines which demonstrations are held out, which each step reads, and the first factors of a low rank."""
    every: int = 16
    """Steps after which the loss of held-out demonstrations is measured."""
    rank: int | None = None
    """Rank of the updates of the weights; None if all kept weights are optimised."""
    divergence: DivergenceName = "forward"
    """`forward` from the dense model to the variant, or `reverse`."""
    text_share: float = 0.0
    """Factor of the cross entropy of the texts' own tokens in the loss."""
    tokens: TokenScope = "all"
    """Tokens whose predictions count."""
    shares: tuple[float, ...] = ()
    """Weight of each demonstration set; they sum to 1. Empty if all are equal."""
