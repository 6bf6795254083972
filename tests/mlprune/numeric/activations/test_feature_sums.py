"""Sums of features and moments, compared with plain float64 loops."""

import math

import pytest
import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations import feature_sums as gradient_squares
from mlprune.numeric.activations.feature_sums import (
    FeatureSums,
    Flow,
    GradientSquares,
    feature_moments,
    feature_sums,
    joined_moments,
)
from mlprune.processes.parallel import set_worker_threads
from tests.refusals import refused


def drawn_demonstrations() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 5, generator=generator) * 0.5 + 3 for n in (4, 1, 0, 6)]


def loops(demonstrations: list[torch.Tensor], weights: list[float]) -> dict[str, list[float]]:
    """The moments of every feature by plain loops."""
    found: dict[str, list[float]] = {"sums": [], "squares": [], "within_variances": []}
    for j in range(5):
        total = squares = variance = 0.0
        for rows, weight in zip(demonstrations, weights, strict=True):
            values = [float(row[j]) for row in rows.double()]
            mean = sum(values) / max(1, len(values))
            total += weight * sum(values)
            squares += weight * sum(value**2 for value in values)
            variance += weight * sum((value - mean) ** 2 for value in values) / max(1, len(values))
        for name, value in (("sums", total), ("squares", squares), ("within_variances", variance / sum(weights))):
            found[name].append(value)
    return found


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 1.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_moments_are_those_of_plain_loops(weights: list[float] | None, dtype: torch.dtype) -> None:
    demonstrations = [rows.to(dtype) for rows in drawn_demonstrations()]
    n_tokens = torch.tensor([len(rows) for rows in demonstrations])
    given = None if weights is None else torch.tensor(weights)
    moments = feature_moments(feature_sums(demonstrations), n_tokens, given)
    counts = weights or [1.0] * 4
    for name, values in loops(demonstrations, counts).items():
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(getattr(moments, name), expected, rtol=1e-12, atol=1e-12)
    assert moments.n_demonstrations == sum(counts)
    assert moments.n_tokens == sum(count * n for count, n in zip(counts, (4, 1, 0, 6), strict=True))


def test_a_large_mean_does_not_cancel_the_digits_of_a_small_variance() -> None:
    noise = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moments = feature_moments(feature_sums([noise + 1e7]), torch.tensor([50]))
    assert float(moments.within_variances) == pytest.approx(float(noise.var(correction=0)), rel=1e-6)


def test_joined_sets_count_by_their_shares() -> None:
    first, second = (feature_sums(drawn_demonstrations()[part]) for part in (slice(0, 2), slice(3, 4)))
    sets = [feature_moments(first, torch.tensor([4, 1])), feature_moments(second, torch.tensor([6]))]
    joined = joined_moments(sets, (0.25, 0.75))
    assert joined.n_demonstrations == 3
    expected = 3 * (0.25 * sets[0].sums / 2 + 0.75 * sets[1].sums)
    torch.testing.assert_close(joined.sums, expected)
    torch.testing.assert_close(
        joined.within_variances, 0.25 * sets[0].within_variances + 0.75 * sets[1].within_variances
    )
    assert joined_moments(sets[:1], (1.0,)) is sets[0]


def test_impossible_sums_are_errors() -> None:
    sums = feature_sums(drawn_demonstrations())
    lengths = torch.tensor([4, 1, 0, 6])
    with pytest.raises(ShapeError):
        feature_moments(sums, lengths[:3])
    with pytest.raises(StatisticsError):
        feature_moments(sums, lengths, torch.zeros(4))
    with pytest.raises(StatisticsError):
        feature_moments(FeatureSums(sums.sums * torch.inf, sums.deviations), lengths)


D_OUT, D_IN = 5, 3
CPU = torch.device("cpu")


def flows(*lengths: int, seed: int = 0) -> list[Flow]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(length, D_OUT, generator=generator), torch.randn(length, D_IN, generator=generator))
        for length in lengths
    ]


def by_loops(given: list[Flow], weights: list[float]) -> list[list[float]]:
    result = [[0.0] * D_IN for _ in range(D_OUT)]
    for (gradients, inputs), weight in zip(given, weights, strict=True):
        for i in range(D_OUT):
            for j in range(D_IN):
                total = sum(d[i] * x[j] for d, x in zip(gradients.tolist(), inputs.tolist(), strict=True))
                result[i][j] += weight * total**2 / sum(weights)
    return [[math.sqrt(value) for value in row] for row in result]


def summed(given: list[Flow], weights: list[float] | None = None) -> Tensor:
    sums = GradientSquares((D_OUT, D_IN), CPU)
    sums.add(given, weights=weights)
    return sums.root_means()


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 0.0]])
def test_the_root_of_the_mean_of_squared_gradients_is_that_of_loops(weights: list[float]) -> None:
    given = flows(4, 1, 0, 6)  # one demonstration has no tokens: its gradient is 0
    result = summed(given, weights)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), torch.tensor(by_loops(given, weights)).double(), rtol=1e-5, atol=1e-7)


def test_bits_depend_neither_on_threads_nor_on_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_squares, "_WEIGHTS_TOGETHER", 2 * D_IN)
    given = flows(4, 2, 7)
    alone = summed(given)
    sums = GradientSquares((D_OUT, D_IN), CPU)
    try:
        set_worker_threads(3)
        for flow in given:
            sums.add([flow])
        assert torch.equal(sums.root_means(), alone)
    finally:
        set_worker_threads(1)


def test_tiny_and_large_gradients_do_not_vanish_or_overflow() -> None:
    for scale in (1e-30, 1e30):
        ((gradients, inputs),) = flows(3)
        result = summed([(gradients * scale, inputs)])
        torch.testing.assert_close(result / scale, summed([(gradients, inputs)]), rtol=1e-5, atol=0)


def test_what_does_not_fit_or_is_not_finite_is_an_error() -> None:
    ((gradients, inputs),) = flows(3)
    with refused(ShapeError, expected="[tokens, 5] and [tokens, 3]", got="(2, 5) and (3, 3)"):
        summed([(gradients[:2], inputs)])
    with pytest.raises(StatisticsError):
        GradientSquares((D_OUT, D_IN), CPU).root_means()
    gradients[0, 2] = torch.nan
    with refused(StatisticsError, output=2):
        summed([(gradients, inputs)])
