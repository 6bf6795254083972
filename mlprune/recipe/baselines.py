"""What a recipe says of its baselines: what pruned variants are held against, beside the dense model.

docs/baselines.md shows every kind at work.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Model
from mlprune.terms import DtypeName


class BaselineConfig(Model):
    """One baseline."""

    name: str | None = None
    """Optional name of the entry, for `against` and an evaluation's `variants`."""
    kind: Literal["model"]
    """Another base model as it is, say a smaller one."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """A local Hugging Face folder, or a hub id."""
    revision: str = "main"
    """Branch, tag or commit of a hub id."""
    dtype: DtypeName | None = None
    """Type it computes in (that of the recipe's model)."""
    against: tuple[str, ...] = ()
    """Names of other entries to compare with, besides dense."""

    @model_validator(mode="after")
    def _keys_fit_kind(self) -> "BaselineConfig":
        if self.kind == "model" and self.path is None:
            raise ValueError("kind model needs a path")
        return self
