"""The choice of the feed-forward neurons that a variant lacks."""

from dataclasses import dataclass, replace
from typing import Literal

from mlprune.hashing import with_defaults, without_defaults
from mlprune.json_values import JsonObject, JsonValue

NeuronActionName = Literal["remove", "only", "random"]
"""Which neurons a variant lacks: those of a language, those of all others, or as many random ones."""


@dataclass(frozen=True)
class NeuronSelection:
    """The neurons that a variant lacks; the default thresholds are published (Tang et al., arXiv:2402.16438)."""

    of: str
    """Language whose neurons are meant."""
    action: NeuronActionName
    share: float = 0.01
    """Of all neurons: the number of language-specific ones."""
    quantile: float = 0.95
    """Of all activation probabilities: the threshold above which a neuron belongs to a language."""
    seed: int = 0
    """Of a random control."""

    @property
    def of_language(self) -> "NeuronSelection":
        """The selection that removes the neurons of the language, which a random control counts."""
        return replace(self, action="remove", seed=0)

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Parameters of an id, without defaults."""
        return without_defaults(self)

    @classmethod
    def from_parameters(cls, parameters: JsonObject) -> "NeuronSelection":
        """Build the selection from the parameters of a record."""
        return with_defaults(cls, parameters)
