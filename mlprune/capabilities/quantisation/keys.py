"""The types of the keys `bits` and `quantisation_group` of a variant; docs/definitions.md has the formula."""

from typing import Annotated, Literal

from pydantic import Field

from mlprune.recipe.names import OfCapability, WithoutScore

_MARKER = OfCapability("quantisation")
_WITH_ANY_KIND = WithoutScore()
Bits = Annotated[Literal[8, 4] | None, _MARKER, _WITH_ANY_KIND]
"""Bits of a weight after the masks; None if weights are not rounded."""
QuantisationGroup = Annotated[int, Field(ge=1), _MARKER, _WITH_ANY_KIND]
"""Consecutive inputs of a row that share a scale."""
