"""Attributes of the methods of each registry, and the statistics that they read."""

from dataclasses import dataclass
from typing import Literal

from mlprune.methods.parameters import Parameters

StatisticsName = Literal["squares", "sums", "products", "gradients"]
"""Statistics of the inputs of layers over counted tokens.

`squares`: sums of squares of every feature. `sums`: sums of every feature. `products`: Gram matrices, sums of x x^T.
`gradients`: mean squares over demonstrations of the gradient of the norm of a block's output by every weight.
"""

StatisticName = Literal["mean", "median"]
"""Statistic of many numbers."""


@dataclass(frozen=True)
class Method:
    """Attributes that all methods have."""

    summary: str
    citation: str | None = None
    parameters: type[Parameters] = Parameters


@dataclass(frozen=True)
class Structure(Method):
    """Comparison group: the weights of which a share is removed."""

    masks_nest: bool = True
    """Whether the mask of a sparsity contains that of every lower one exactly."""
    of_model: bool = False
    """Whether weights of all blocks are compared with each other, so that no block can be pruned alone."""


@dataclass(frozen=True)
class Score(Method):
    """Rule by which weights are ordered."""

    formula: str = ""
    needs: tuple[StatisticsName, ...] = ()
    """Statistics of demonstrations that it reads."""
    has_contrast: bool = False
    """Whether it compares two demonstration sets."""
    changes_weights: bool = False
    """Whether the remaining weights get new values."""
    bytes_per_weight: int = 0
    """Memory per weight of a layer while the score works on it, in addition to that of every score."""
    exact_products: bool = False
    """Whether a sweep adds all products of its Gram matrices in float64, which takes about twice the time."""
    structures: tuple[str, ...] = ("row", "matrix", "alpha", "N:M")
    """Structures it works with; the first is the default."""


@dataclass(frozen=True)
class Schedule(Method):
    """Distribution of the sparsity over blocks and layers."""

    needs: tuple[StatisticsName, ...] = ()
    """Statistics of demonstrations on the dense model that it reads."""
    is_in_recipe: bool = False
    """Whether the recipe alone determines the sparsity of every layer."""
    reads_losses: bool = False
    """Whether it reads the losses that a sensitivity analysis measures."""


@dataclass(frozen=True)
class Aggregation(Method):
    """Function that makes one factor per feature from the factors of several demonstration sets."""

    takes_shares: bool = False


@dataclass(frozen=True)
class Refiner(Method):
    """Rule that improves a mask, or recovers the kept weights, after a score has chosen the mask.

    The sparsity of every comparison group stays the same.
    """

    formula: str = ""
    needs: tuple[StatisticsName, ...] = ()
    """Statistics of demonstrations that it reads, in addition to those of the score."""
    changes_weights: bool = False
    """Whether the kept weights get new values."""
    structures: tuple[str, ...] = ("row", "N:M")
    """Structures of the masks that it takes."""
