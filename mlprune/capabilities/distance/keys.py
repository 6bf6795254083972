"""The type of the key `distance` of an evaluation; docs/evaluation.md says what it measures."""

from typing import Annotated

from mlprune.recipe.names import MeasuredBy, OfCapability

Distance = Annotated[
    bool, OfCapability("distance"), MeasuredBy("mlprune.capabilities.distance.measurement:plan_distance")
]
"""Whether the distance of every variant from the dense model is measured."""
