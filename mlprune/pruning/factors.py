"""From the statistics of demonstration sets to one factor for every feature a layer reads.

A score is a function of the weight and of these factors; docs/scores.md has the formulas.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.aggregation import aggregated
from mlprune.numeric.scores import contrast_norms
from mlprune.numeric.statistics import bootstrap_weights, feature_norms, mean_squares
from mlprune.pruning.choices import Reading

BlockStatistics = Mapping[str, Tensor]
"""Input name -> [n, in] float32, sums of squares of every demonstration of one set."""

Factors = Mapping[str, tuple[Tensor, int]]
"""Input name -> [in] float32 factors, and how many features fell back to the target set alone (contrast)."""


def feature_factors(
    sets: Sequence[BlockStatistics], *, reading: Reading, contrast: BlockStatistics | None = None
) -> Factors:
    """Factors of every input of a block.

    One set: the norms ||X_j||_2 (wanda, ria), or the contrast norms against `contrast`. Several: each set's factor is
    made from its mean over demonstrations, and they are aggregated; `pooled` instead averages the mean squares.

    Args:
        sets: statistics of the demonstration sets, in the order of the reading's shares.
        reading: which demonstrations count, and how sets become one.
        contrast: statistics of the contrast set.
    Raises:
        StatisticsError: a set has fewer demonstrations than `reading.first`, or its numbers are no sums of squares.
    """
    return {name: _factor([one[name] for one in sets], reading, (contrast or {}).get(name)) for name in sets[0]}


def demonstration_weights(n: int, reading: Reading) -> Tensor | None:
    """[n] float64: how often each demonstration of a set counts; None where each counts once.

    Raises:
        StatisticsError: the set has fewer demonstrations than asked for.
    """
    if reading.first is not None and reading.first > n:
        raise StatisticsError("a set has too few demonstrations", expected=f"samples at most {n}", got=reading.first)
    n_used = reading.first or n
    if n_used == n and reading.resample_seed is None:
        return None
    weights = torch.zeros(n, dtype=torch.float64)
    used = torch.ones(n_used, dtype=torch.float64)
    weights[:n_used] = used if reading.resample_seed is None else bootstrap_weights(n_used, reading.resample_seed)
    return weights


def _factor(sums: Sequence[Tensor], reading: Reading, contrast: Tensor | None) -> tuple[Tensor, int]:
    """[in] factors of one input, and the number of silent features."""
    weights = [demonstration_weights(one.shape[0], reading) for one in sums]
    if reading.aggregation is None and contrast is None:
        return feature_norms(sums[0], weights[0]), 0
    means = [mean_squares(one, weight) for one, weight in zip(sums, weights, strict=True)]
    against = None if contrast is None else mean_squares(contrast, demonstration_weights(contrast.shape[0], reading))
    shares = torch.tensor(reading.shares, dtype=torch.float64) if reading.shares else None
    if reading.aggregation == "pooled":
        means = [aggregated(torch.stack(means), "pooled", weights=shares).to(torch.float64).square()]
    factors = [
        (mean.sqrt().to(torch.float32), 0) if against is None else contrast_norms(mean, against) for mean in means
    ]
    if len(factors) == 1:
        return factors[0]
    options = {} if reading.variance_weight is None else {"variance_weight": reading.variance_weight}
    how = reading.aggregation
    assert how is not None, "planning gives several sets an aggregation"
    together = aggregated(torch.stack([one for one, _ in factors]), how, weights=shares, **options)
    return together, max(n_silent for _, n_silent in factors)
