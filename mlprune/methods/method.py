"""Attributes and parameters of methods, the statistics that they read, and publications they cite."""

from dataclasses import dataclass, field
from typing import Literal, TypeVar, get_args

from mlprune.vocabulary import TokenScope

WANDA = (
    "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language Models*, "
    "arXiv:2306.11695"
)
LAPE = (
    "T. Tang et al., *Language-Specific Neurons: The Key to Multilingual Capabilities in Large Language Models*, "
    "arXiv:2402.16438"
)
PLUG_AND_PLAY = (
    "Y. Zhang et al., *Plug-and-Play: An Efficient Post-training Pruning Method for Large Language Models*, ICLR 2024"
)
Value = TypeVar("Value")
Chosen = TypeVar("Chosen", bound="Parameters")
StatisticsName = Literal["squares", "sums", "products", "gradients", "routes"]
"""Statistics of the inputs of layers over counted tokens, and of experts.

`squares`: sums of squares of every feature. `sums`: sums of every feature. `products`: Gram matrices, sums of x x^T.
`gradients`: mean squares over demonstrations of the gradient of the norm of a block's output by every weight.
`routes`: tokens of every expert, with their gate weights and the norms of its outputs.
"""
StatisticName = Literal["mean", "median"]
"""Statistic of many numbers."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of a method; this class itself is for methods without any.

    Every field of a subclass has a default, which is not part of an id, and is a key of the recipe. A field named
    `seed` is the seed of the variant.
    """


NO_PARAMETERS = Parameters()


def checked_parameters(parameters: Parameters, kind: type[Chosen]) -> Chosen:
    """Return the parameters of a method, which have to be of its class.

    Raises:
        TypeError: they are of another class.
    """
    if not isinstance(parameters, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(parameters).__name__}")
    return parameters


def parameter(
    default: Value,
    meaning: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    ignored_by_others: bool = False,
) -> Value:
    """Return the field of a parameter.

    Args:
        meaning: noun phrase for the recipe reference.
        above: exclusive lower bound.
        at_least: inclusive lower bound.
        below: exclusive upper bound.
        ignored_by_others: whether other methods of the registry accept the key and ignore it.
    """
    bounds = {"gt": above, "ge": at_least, "lt": below}
    metadata = {"meaning": meaning, "ignored_by_others": ignored_by_others, "bounds": bounds}
    made: Value = field(default=default, metadata=metadata)
    return made


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
    """Whether units of all blocks are chosen at once, so that no block can be pruned alone."""
    reads_features: bool = True
    """Whether its scores read statistics of the inputs of layers."""
    token_scopes: tuple[TokenScope, ...] = get_args(TokenScope)
    """Tokens that can count in the statistics that its scores read."""
    aggregation: str = ""
    """The aggregation that several sets need; empty if any will do."""
    counts: str = ""
    """What its sparsity counts; empty for weights."""
    keys: frozenset[str] = frozenset()
    """The only keys of an entry that removes whole blocks or sub-layers, and so names no layers; empty for others."""


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
    parameters_with: tuple[str, ...] = ()
    """Structures with which its parameters apply; empty for all."""
    short_for: tuple[str, Parameters] | None = None
    """Score and parameters of which it is another name: variants of both are the same."""
    reads_states: bool = False
    """Whether it reads the hidden states of a demonstration set, instead of statistics."""
    removes_scope: bool = False
    """Whether it removes the whole scope, so that it has no sparsity."""


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
