"""Pruning methods: scores, structures, schedules and aggregations, with their parameters and what each needs.

Nothing here computes. An entry has everything that recipes, ids, plans and model cards need. The function of an entry
has the same name in the registry next to the functions: `SCORE_FUNCTIONS`, `LEVEL_FUNCTIONS`, `SCHEDULE_FUNCTIONS` and
`AGGREGATION_FUNCTIONS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

Value = TypeVar("Value")

StatisticsName = Literal["squares", "products"]
"""`squares`: sums of squares of every feature. `products`: sums of x x^T over tokens (sequential propagation only)."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of a method; this class itself is for methods without any.

    Every field of a subclass has a default, which is not part of an id, and is a key of the recipe. A field named
    `seed` is the seed of the variant.
    """


NO_PARAMETERS = Parameters()


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
class RandomParameters(Parameters):
    """Parameters of score random."""

    seed: int = parameter(0, "seed of the draw", ignored_by_others=True)


@dataclass(frozen=True)
class RiaParameters(Parameters):
    """Parameters of score ria."""

    power: float = parameter(0.5, "exponent of the feature norm", above=0)


@dataclass(frozen=True)
class SparseGptParameters(Parameters):
    """Parameters of score sparsegpt."""

    damping: float = parameter(0.01, "share of the mean diagonal that is added to the Hessian", above=0)


@dataclass(frozen=True)
class GivenParameters(Parameters):
    """Parameters of schedule given."""

    blocks: tuple[tuple[int, float], ...] = ()
    """(block, sparsity)."""
    layers: tuple[tuple[str, float], ...] = ()
    """(layer, sparsity), in blocks that `blocks` does not name."""
    block_layers: tuple[tuple[str, float], ...] = ()
    """(block and layer such as `3.fc1`, sparsity), in place of what `blocks` and `layers` say of this layer."""


@dataclass(frozen=True)
class OwlParameters(Parameters):
    """Parameters of schedule owl."""

    m: float = parameter(5.0, "an outlier is above m times the mean score of its block", above=1)
    spread: float = parameter(0.08, "half the distance between the sparsest and the densest block", above=0, below=0.5)


@dataclass(frozen=True)
class SensitivityParameters(Parameters):
    """Parameters of schedule sensitivity."""

    group: str = "outside_english"
    """Languages whose loss counts: `outside_english`, `all`, `worst`, a language, `script:Latn` or `class:2`."""
    spread: float = parameter(0.08, "half the distance between the sparsest and the densest unit", above=0, below=0.5)


@dataclass(frozen=True)
class VarianceParameters(Parameters):
    """Parameters of aggregation variance."""

    variance_weight: float = parameter(1.0, "weight of the variance between the sets", at_least=0)


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
    structures: tuple[str, ...] = ("row", "matrix", "alpha", "N:M")
    """Structures it works with; the first is the default."""


@dataclass(frozen=True)
class Schedule(Method):
    """Distribution of the sparsity over blocks and layers."""

    reads_outlier_ratios: bool = False
    """Whether it reads the share of outliers among the scores of each block, and so demonstrations."""
    is_in_recipe: bool = False
    """Whether the recipe alone determines the sparsity of every layer."""
    reads_losses: bool = False
    """Whether it reads the losses that a sensitivity analysis measures."""


@dataclass(frozen=True)
class Aggregation(Method):
    """Function that makes one factor per feature from the factors of several demonstration sets."""

    takes_shares: bool = False


_WANDA = (
    "M. Sun, Z. Liu, A. Bair, J. Z. Kolter, *A Simple and Effective Pruning Approach for Large Language Models*, "
    "arXiv:2306.11695"
)

SCORES: Mapping[str, Score] = {
    "wanda": Score(
        "magnitude times the norm of the feature that the weight reads",
        citation=_WANDA,
        formula="|W[i, j]| * ||X_j||_2",
        needs=("squares",),
    ),
    "contrast": Score(
        "wanda with norms that are large for one demonstration set and small for another",
        citation="H. Kim, J. Suzuki, T. Hirasawa, M. Komachi, *Pruning Multilingual Large Language Models for "
        "Multilingual Inference*, arXiv:2409.16911",
        formula="|W[i, j]| * ||X_j||_2 ** 2 / ||C_j||_2",
        needs=("squares",),
        has_contrast=True,
    ),
    "magnitude": Score("magnitude alone", formula="|W[i, j]|"),
    "random": Score("uniform random numbers", formula="U(0, 1)", parameters=RandomParameters),
    "ria": Score(
        "relative importance of the weight times a power of the feature norm",
        citation="Y. Zhang et al., *Plug-and-Play: An Efficient Post-training Pruning Method for Large Language "
        "Models*, ICLR 2024",
        formula="(|W[i, j]| / sum of column j + |W[i, j]| / sum of row i) * ||X_j||_2 ** power",
        needs=("squares",),
        parameters=RiaParameters,
    ),
    "sparsegpt": Score(
        "second-order reconstruction error, with an update of the remaining weights",
        citation="E. Frantar, D. Alistarh, *SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot*, "
        "arXiv:2301.00774",
        formula="W[i, j] ** 2 / [H ** -1]_jj ** 2",
        needs=("squares", "products"),
        changes_weights=True,
        structures=("matrix", "N:M"),
        parameters=SparseGptParameters,
    ),
}

STRUCTURES: Mapping[str, Structure] = {
    "row": Structure("an output row of the weight"),
    "matrix": Structure("the whole matrix"),
    "alpha": Structure("an output row, by a share of the sum of its scores", citation=_WANDA, masks_nest=False),
    "N:M": Structure("M consecutive inputs of a row, of which N are removed"),
}

SCHEDULES: Mapping[str, Schedule] = {
    "uniform": Schedule("the same share everywhere", is_in_recipe=True),
    "given": Schedule("other shares in named blocks and layers", parameters=GivenParameters, is_in_recipe=True),
    "owl": Schedule(
        "less in blocks whose scores have many outliers",
        citation="L. Yin et al., *Outlier Weighed Layerwise Sparsity (OWL)*, arXiv:2310.05175",
        parameters=OwlParameters,
        reads_outlier_ratios=True,
    ),
    "sensitivity": Schedule(
        "less in blocks or layers that cost more when only they are pruned",
        parameters=SensitivityParameters,
        reads_losses=True,
    ),
}

AGGREGATIONS: Mapping[str, Aggregation] = {
    "mean": Aggregation("mean of the factors", takes_shares=True),
    "max": Aggregation("largest factor"),
    "variance": Aggregation(
        "mean of the factors plus their variance between sets",
        citation="R. Choenni, I. Titov, *M-Wanda*, arXiv:2505.21171",
        parameters=VarianceParameters,
    ),
    "pooled": Aggregation("root of the mean of the mean squares", takes_shares=True),
}


def structure_of(name: str) -> Structure:
    """Return the structure of a name such as `row` or `2:4`."""
    return STRUCTURES["N:M" if ":" in name else name]
