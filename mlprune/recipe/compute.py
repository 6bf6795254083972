"""The section `compute` of a recipe: how many actors there are, and what each may hold.

How `auto` becomes a number is decided in `mlprune.plan.pool`, from the model's size and what the machines have.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlprune.recipe.base import Model

Auto = Literal["auto"]
AUTO_BATCH_TOKENS = 512


class ComputeConfig(Model):
    """Where and in what portions the work is done; only batch_tokens may change a result, in its last bits."""

    replicas: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Copies of the model that work side by side."""
    shards: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Actors a replica is cut into."""
    memory_gib_per_actor: Annotated[float, Field(gt=0)] | Auto = "auto"
    """Resident memory one actor may use, all of its process counted."""
    gpus_per_actor: Annotated[float, Field(ge=0)] | Auto = "auto"
    """Accelerators of one actor; a part of one where actors share it."""
    batch_tokens: Annotated[int, Field(ge=16)] | Auto = "auto"
    """Tokens in one batch, padding included."""

    @model_validator(mode="after")
    def _gpus_are_whole_or_a_part(self) -> "ComputeConfig":
        gpus = self.gpus_per_actor
        if gpus != "auto" and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_actor above 1 is a whole number, got {gpus}")
        return self

    @property
    def planned_batch_tokens(self) -> int:
        """The batch size in force."""
        return AUTO_BATCH_TOKENS if self.batch_tokens == "auto" else self.batch_tokens
