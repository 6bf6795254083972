"""Settings of the reconstruction of blocks after pruning."""

from dataclasses import dataclass

from mlprune.vocabulary import PropagationName


@dataclass(frozen=True)
class Reconstruction:
    """How the kept weights of a block are fitted so that its output stays close to that of the dense block.

    "A free lunch in LLM compression" (arXiv:2510.14444) reports that the choice of the score matters little after it.
    """

    steps: int = 100
    """Steps of the optimiser per block."""
    learning_rate: float = 1.0
    """Highest learning rate, relative to the step length that is measured on each block."""
    batch: int = 4
    """Demonstrations of a step."""
    seed: int = 0
    """Determines which demonstrations each step reads."""
    propagation: PropagationName = "sequential"
    """Blocks before a block: reconstructed ones, or those of the dense model."""
    biases: bool = False
    """Whether the biases of the layers are fitted, too."""
    shares: tuple[float, ...] = ()
    """Weight of each demonstration set; they sum to 1. Empty if all are equal."""
