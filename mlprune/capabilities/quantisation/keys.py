"""The keys `quantise`, `bits` and `quantisation_group` of a variant; docs/definitions.md has the formulas."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlprune.capabilities.quantisation.settings import BitsName, CodeSettings, GroupName, MethodName, OrderName
from mlprune.recipe.names import NamesOf, OfCapability, WithoutScore
from mlprune.strict_model import Model
from mlprune.vocabulary import PropagationName, TokenScope

_OF_GPTQ = ("order", "damping", "propagation", "demonstrations", "over", "shares", "tokens")
_MARKER = OfCapability("quantisation")
_WITH_ANY_KIND = WithoutScore()


class QuantiseConfig(Model):
    """Rounds weights to codes that are stored. `quantise: {}` has all defaults."""

    bits: BitsName = 4
    """Bits of a code."""
    method: MethodName = "gptq"
    """`gptq` reads demonstrations and lets later weights of a row compensate for rounded and removed ones; `nearest`
    reads nothing."""
    group: GroupName = 64
    """Consecutive inputs of a row that share a scale; `row` for all of them. The last group of a row may be shorter."""
    symmetric: bool = CodeSettings.symmetric
    """Whether levels are symmetric around 0; otherwise they span the weights of a group, and 0 is one of them."""
    order: OrderName = CodeSettings.order
    """gptq: columns as they are, or those of the most active features first; groups stay the same."""
    damping: Annotated[float, Field(gt=0)] = CodeSettings.damping
    """gptq: share of the mean diagonal of the Gram matrix that is added to its diagonal."""
    propagation: PropagationName = CodeSettings.propagation
    """gptq: blocks before a block whose inputs are read: rounded ones (`sequential`) or those of the dense model."""
    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    """gptq: name of the sets that are read, one variant per set; of several seeds, the sets of the entry's seed (the
    sets of the entry)."""
    over: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """gptq, instead of `demonstrations`: names of two or more sets that are read together."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """gptq: weights of the sets that are read together, in any unit and in their order (equal)."""
    tokens: TokenScope = CodeSettings.tokens
    """gptq: tokens that count in the Gram matrices."""

    @model_validator(mode="after")
    def _keys_fit(self) -> "QuantiseConfig":
        if self.method == "nearest" and (given := sorted(self.model_fields_set & set(_OF_GPTQ))):
            raise ValueError(f"quantise with method nearest reads nothing: leave {', '.join(given)} out")
        if self.demonstrations and self.over:
            raise ValueError("quantise needs demonstrations, or over with several sets, and not both")
        if self.shares and not self.over:
            raise ValueError("shares of quantise are weights of the sets of its over")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets that it reads; empty for those of the entry."""
        return (self.demonstrations,) if self.demonstrations else self.over

    @property
    def samples(self) -> int | None:
        """All demonstrations of a set are read."""
        return None


Quantise = Annotated[QuantiseConfig | None, _MARKER, _WITH_ANY_KIND]
"""How weights are rounded to codes after the masks; None if there are no codes."""
Bits = Annotated[Literal[8, 4] | None, _MARKER, _WITH_ANY_KIND]
"""Bits of a weight after the masks; None if weights are not rounded."""
QuantisationGroup = Annotated[int, Field(ge=1), _MARKER, _WITH_ANY_KIND]
"""Consecutive inputs of a row that share a scale."""
