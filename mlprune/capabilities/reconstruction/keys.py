"""The section `reconstruct` of a variant; docs/methods.md says what is fitted."""

from typing import Annotated, Protocol

from pydantic import Field, model_validator

from mlprune.capabilities.reconstruction.fit_settings import Reconstruction
from mlprune.recipe.base import Seed
from mlprune.recipe.names import NamesOf
from mlprune.recipe.schedule_and_scope import ScheduleConfig
from mlprune.strict_model import Model
from mlprune.vocabulary import PropagationName, TokenScope


class FittedEntry(Protocol):
    """A variant whose kept weights are fitted."""

    @property
    def demonstrations(self) -> str | None:
        """Name of the sets that it reads."""

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the sets that it reads together."""

    @property
    def schedule(self) -> ScheduleConfig:
        """Distribution of its sparsity."""


class ReconstructConfig(Model):
    """Fits the kept weights of each block to the output of the dense block. `reconstruct: block` has all defaults."""

    demonstrations: Annotated[str | None, NamesOf("sets")] = None
    """Name of the sets that are read, one variant per set; of several seeds, the sets of the entry's seed (the sets of
    the entry)."""
    over: Annotated[tuple[str, ...], NamesOf("sets")] = ()
    """Instead of `demonstrations`: names of two or more sets that are read together."""
    shares: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Weights of the sets that are read together, in any unit and in their order (equal)."""
    steps: Annotated[int, Field(ge=1)] = Reconstruction.steps
    """Steps of the optimiser per block."""
    learning_rate: Annotated[float, Field(gt=0)] = Reconstruction.learning_rate
    """Highest learning rate, relative to the step that lowers the loss of the block most; it is measured first."""
    batch: Annotated[int, Field(ge=1)] = Reconstruction.batch
    """Demonstrations of a step."""
    seed: Seed = Reconstruction.seed
    """Determines which demonstrations each step reads."""
    propagation: PropagationName = Reconstruction.propagation
    """Blocks before a block: reconstructed ones (`sequential`) or those of the dense model (`dense`)."""
    biases: bool = Reconstruction.biases
    """Whether the biases of the layers that can be pruned are fitted, too; a layer without a bias gets none."""

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: object) -> object:
        if isinstance(value, str) and value != "block":
            raise ValueError(f"reconstruct is block, or a mapping of keys, got {value!r}")
        return {} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sets_fit(self) -> "ReconstructConfig":
        if self.demonstrations and self.over:
            raise ValueError("reconstruct needs demonstrations, or over with several sets, and not both")
        if self.shares and not self.over:
            raise ValueError("shares of reconstruct are weights of the sets of its over")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sets that it reads; empty for those of the entry."""
        return (self.demonstrations,) if self.demonstrations else self.over

    @property
    def tokens(self) -> TokenScope:
        """All tokens count."""
        return "all"

    @property
    def samples(self) -> int | None:
        """All demonstrations of a set are read."""
        return None

    def check_entry(self, entry: FittedEntry) -> None:
        """Check that the entry names demonstrations, and its sparsities are known.

        Raises:
            ValueError: it does not, or they are not.
        """
        if entry.schedule.kind == "search":
            raise ValueError("reconstruct needs a schedule that is known before the run, got search")
        if not (self.names or entry.demonstrations or entry.over):
            raise ValueError("reconstruct reads demonstrations: name them in the entry, or in reconstruct")
