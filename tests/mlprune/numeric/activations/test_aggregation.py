"""Aggregation, compared with plain loops, and its invariants."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import AGGREGATIONS, Parameters, VarianceParameters
from mlprune.numeric.activations.aggregation import aggregated, bootstrap_weights
from tests.drawn import drawn
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
NAMES = tuple(AGGREGATIONS)


def of(how: str, variance_weight: float) -> Parameters:
    return VarianceParameters(variance_weight) if how == "variance" else Parameters()


def looped(factors: Tensor, how: str, *, shares: list[float], variance_weight: float) -> list[float]:
    result = []
    for j in range(factors.shape[1]):
        values = [float(factors[one, j]) for one in range(factors.shape[0])]
        mean = sum(share * value for share, value in zip(shares, values, strict=True))
        variance = sum(share * (value - mean) ** 2 for share, value in zip(shares, values, strict=True))
        by_name = {"mean": mean, "max": max(values), "variance": mean + variance_weight * variance}
        result.append(by_name.get(how, math.sqrt(mean)))
    return result


@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("variance_weight", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("weights", [None, [1.0, 5.0, 2.0]])
def test_factors_equal_the_formula_written_as_loops(how: str, variance_weight: float, weights: Any) -> None:
    factors, given = drawn(3, 5).abs(), weights if how != "max" else None
    options = {} if given is None else {"weights": torch.tensor(given)}
    result = aggregated(factors, how, parameters=of(how, variance_weight), **options)
    shares = [1 / 3] * 3 if given is None else [weight / 8 for weight in given]
    expected = looped(factors, how, shares=shares, variance_weight=variance_weight)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), torch.tensor(expected, dtype=torch.float64), rtol=2e-7, atol=0)


@pytest.mark.parametrize("how", ["mean", "max", "variance"])
def test_one_set_or_several_equal_sets_give_the_factors_of_the_set(how: str) -> None:
    factors = drawn(1, 6).abs()
    assert torch.equal(aggregated(factors, how), factors[0])
    torch.testing.assert_close(aggregated(factors.expand(3, 6), how), factors[0], rtol=2e-7, atol=0)


@PROPERTY
@given(how=st.sampled_from(["mean", "variance", "pooled"]), scale=st.floats(1e-3, 1e3))
def test_only_the_ratios_of_weights_count_and_weight_zero_is_as_if_absent(how: str, scale: float) -> None:
    factors, weights = drawn(3, 4).abs(), torch.tensor([2.0, 0.0, 1.0], dtype=torch.float64)
    result = aggregated(factors, how, weights=weights)
    torch.testing.assert_close(aggregated(factors, how, weights=weights * scale), result, rtol=2e-7, atol=0)
    torch.testing.assert_close(aggregated(factors[[0, 2]], how, weights=weights[[0, 2]]), result, rtol=2e-7, atol=0)


@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_an_impossible_factor_is_an_error_with_its_position(how: str, value: float) -> None:
    factors = torch.ones(3, 4)
    factors[2, 1] = value
    with refused(StatisticsError, feature=1, set=2):
        aggregated(factors, how)


def test_a_result_beyond_float32_is_an_error_that_names_the_feature() -> None:
    factors = torch.tensor([[1.0, 1e30], [1.0, 1.0]])
    with refused(StatisticsError, feature=1):
        aggregated(factors, "variance")


def test_arguments_that_do_not_fit_or_make_no_shares_are_errors() -> None:
    with refused(BadInputError, expected="mean max variance pooled", got="median"):
        aggregated(torch.ones(2, 3), "median")  # type: ignore[arg-type]
    with refused(BadInputError, expected="weights left out"):
        aggregated(torch.ones(2, 3), "max", weights=torch.ones(2))
    for value in (-1.0, math.nan, math.inf):
        with refused(BadInputError, expected=">= 0"):
            aggregated(torch.ones(2, 3), "variance", parameters=VarianceParameters(value))
    for weights in ([0.0, 0.0], [1.0, -1.0], [1.0, math.nan], [math.inf, 1.0]):
        with refused(BadInputError, expected="finite, >= 0, not all 0"):
            aggregated(torch.ones(2, 3), "mean", weights=torch.tensor(weights))
    with refused(ShapeError, expected=(2,), got=(3,)):
        aggregated(torch.ones(2, 3), "mean", weights=torch.ones(3))
    with refused(ShapeError, expected="[sets, in]", got=(4,)):
        aggregated(torch.ones(4), "mean")
    with pytest.raises(StatisticsError):
        aggregated(torch.ones(0, 4), "mean")
    with refused(BadInputError, expected="n >= 1", got=0):
        bootstrap_weights(0, 0)


KNOWN_RESAMPLE = [0, 0, 1, 2, 2, 1, 1, 1]
"""Counts of seed 0 of eight demonstrations: other draws would change resampled variants, but not their ids."""


@PROPERTY
@given(n=st.integers(1, 40), seed=st.integers(-5, 5))
def test_a_bootstrap_draws_as_many_demonstrations_as_there_are(n: int, seed: int) -> None:
    counts = bootstrap_weights(n, seed)
    assert (counts.dtype, counts.shape, float(counts.sum())) == (torch.float64, (n,), n)
    assert (counts == counts.round()).all()
    assert (counts >= 0).all()
    assert torch.equal(bootstrap_weights(n, seed), counts)


def test_bootstraps_of_unlike_seeds_differ_and_leave_out_about_a_third() -> None:
    assert bootstrap_weights(8, 0).tolist() == KNOWN_RESAMPLE
    first, second = bootstrap_weights(1000, 0), bootstrap_weights(1000, 1)
    assert not torch.equal(first, second)
    for counts in (first, second):
        assert abs(float((counts == 0).double().mean()) - math.exp(-1)) < 0.05
