"""From the statistics of demonstration sets to one factor for every feature a layer reads.

A score is a function of the weight and of these factors; docs/scores.md has the formulas.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.numeric.activations.aggregation import aggregated
from mlprune.numeric.activations.statistics import RunningTotal, bootstrap_weights
from mlprune.numeric.weights.scores import contrast_norms
from mlprune.pruning.spec import Reading

BlockStatistics = Mapping[str, Tensor]
"""Input name -> [n, in] float32, sums of squares of every demonstration of one set."""

BlockTotals = Mapping[str, RunningTotal]
"""Input name -> the sum over those demonstrations of one set that a reading counts."""

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
    totals = [block_totals(one, reading) for one in sets]
    return factors_of(totals, reading=reading, contrast=None if contrast is None else block_totals(contrast, reading))


def factors_of(sets: Sequence[BlockTotals], *, reading: Reading, contrast: BlockTotals | None = None) -> Factors:
    """The same of sums that were made before, as `block_totals` makes them."""
    return {name: _factor([one[name] for one in sets], reading, (contrast or {}).get(name)) for name in sets[0]}


def block_totals(statistics: BlockStatistics, reading: Reading) -> BlockTotals:
    """The sums of one set of which all demonstrations are in memory.

    Raises:
        StatisticsError: as for `feature_factors`.
    """
    totals = {}
    for name, rows in statistics.items():
        totals[name] = RunningTotal(rows.shape[0], demonstration_weights(rows.shape[0], reading))
        totals[name].add(rows)
    return totals


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


def _factor(sets: Sequence[RunningTotal], reading: Reading, contrast: RunningTotal | None) -> tuple[Tensor, int]:
    """[in] factors of one input, and the number of silent features."""
    if reading.aggregation is None and contrast is None:
        return sets[0].norms(), 0
    means = [one.mean_squares() for one in sets]
    against = None if contrast is None else contrast.mean_squares()
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
