"""Aggregations: functions that make one factor per feature from those of several demonstration sets."""

from collections.abc import Mapping
from dataclasses import dataclass

from mlprune.methods.method import Aggregation, Parameters, parameter


@dataclass(frozen=True)
class VarianceParameters(Parameters):
    """Parameters of aggregation variance."""

    variance_weight: float = parameter(1.0, "weight of the variance between the sets", at_least=0)


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
