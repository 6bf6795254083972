"""The section `recover` of a variant; docs/methods.md says what is optimised."""

from typing import Annotated

from pydantic import Field, model_validator

from mlprune.capabilities.recovery.settings import DivergenceName, Recovery
from mlprune.recipe.base import Seed
from mlprune.recipe.names import NamesOf, OfCapability, WithoutScore
from mlprune.strict_model import Model
from mlprune.vocabulary import TokenScope


class RecoverConfig(Model):
    """Optimises all kept weights towards the distributions of the dense model. `recover: {}` has all defaults."""

    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    """Name of the sets that are read, one variant per set; of several seeds, the sets of the entry's seed (the sets of
    the entry)."""
    over: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """Instead of `demonstrations`: names of two or more sets that are read together."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Weights of the sets that are read together, in any unit and in their order (equal)."""
    tokens: TokenScope = Recovery.tokens
    """Tokens whose predictions count."""
    steps: Annotated[int, Field(ge=0)] = Recovery.steps
    """Steps of the optimiser; 0 keeps the weights of the parent."""
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Recovery.learning_rate
    """Highest learning rate, relative to the root mean square of the kept weights of a layer."""
    batch: Annotated[int, Field(ge=1)] = Recovery.batch
    """Demonstrations of a step."""
    seed: Seed = Recovery.seed
    """Determines which demonstrations are held out, which each step reads, and the first factors of a low rank."""
    every: Annotated[int, Field(ge=1)] = Recovery.every
    """Steps after which the loss of the held-out tenth of each set is measured; the best state is stored."""
    rank: Annotated[int, Field(ge=1)] | None = Recovery.rank
    """Rank of the updates of the weights, which are merged into the kept weights (all kept weights are optimised)."""
    divergence: DivergenceName = Recovery.divergence
    """`forward`: divergence from the dense model's distributions to the variant's; `reverse`: the other way."""
    text_share: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Recovery.text_share
    """Factor of the cross entropy of the texts' own tokens, which is added to the divergence."""
    checkpoint: Annotated[int, Field(ge=1)] = 64
    """Steps after which a checkpoint is written, from which a killed run resumes; the results do not depend on it."""

    @model_validator(mode="after")
    def _sets_fit(self) -> "RecoverConfig":
        if self.demonstrations and self.over:
            raise ValueError("recover needs demonstrations, or over with several sets, and not both")
        if self.shares and not self.over:
            raise ValueError("shares of recover are weights of the sets of its over")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets that it reads; empty for those of the entry."""
        return (self.demonstrations,) if self.demonstrations else self.over

    @property
    def samples(self) -> int | None:
        """All demonstrations of a set are read."""
        return None


Recover = Annotated[RecoverConfig | None, OfCapability("recovery"), WithoutScore(("combination", "adopted"))]
"""How kept weights are optimised after the masks; None if they are not."""
