"""Base of all variants as plain values."""

from dataclasses import dataclass
from typing import ClassVar

from mlprune.json_values import JsonObject
from mlprune.steps.job import Identity, ModelRef


@dataclass(frozen=True)
class BaseVariant:
    """Fields of every variant, and what most variants have in common."""

    identity: Identity
    model: ModelRef
    is_candidate: ClassVar[bool] = True
    """Whether it can be chosen as the best pruned model on dev."""

    @property
    def id(self) -> str:
        """The variant's id."""
        return self.identity.id

    def own_columns(self, *, achieved: float) -> JsonObject:
        """Return the columns of the catalog that only this kind of variant has, or in which it differs.

        Args:
            achieved: share of the weights that is removed.
        """
        return {}
