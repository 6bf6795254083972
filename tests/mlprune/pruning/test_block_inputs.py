"""Feature factors, compared with the formulas as loops over demonstrations and sets."""

import hashlib
import math

import pytest
import torch
from torch import Tensor

from mlprune.errors import StatisticsError
from mlprune.methods import VarianceParameters
from mlprune.pruning.block_inputs import demonstration_weights, feature_factors
from mlprune.pruning.spec import StatisticsSelection
from tests.refusals import refused

N, D_IN = 5, 4
INPUTS = ("self_attn.q_proj", "fc1")


def statistics(seed: int, n: int = N) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(n, D_IN, generator=generator) + 0.1 for name in INPUTS}


def mean(rows: Tensor, counts: list[int] | None = None) -> list[float]:
    """Mean square of every feature, demonstration i counted counts[i] times."""
    times = counts or [1] * len(rows)
    return [sum(c * row[j].item() for c, row in zip(times, rows, strict=True)) / sum(times) for j in range(D_IN)]


def drawn(n: int, seed: int) -> list[int]:
    """How often each of n demonstrations is drawn by a bootstrap."""
    draws = [int(hashlib.sha256(f"{seed}:{i}".encode()).hexdigest(), 16) % n for i in range(n)]
    return [draws.count(index) for index in range(n)]


def close(result: Tensor, expected: list[float]) -> bool:
    assert result.dtype == torch.float32
    return result.tolist() == pytest.approx(expected, rel=1e-6)


def test_one_set_gives_the_norms_over_all_its_demonstrations() -> None:
    sums = statistics(0)
    result = feature_factors([sums], selection=StatisticsSelection())
    for name in INPUTS:
        norms, n_silent = result[name]
        assert close(norms, [math.sqrt(sum(sums[name][n][j].item() for n in range(N))) for j in range(D_IN)])
        assert n_silent == 0


def test_only_the_first_demonstrations_count_if_the_selection_has_a_number() -> None:
    sums = statistics(0)
    first = feature_factors([{name: one[:3] for name, one in sums.items()}], selection=StatisticsSelection())
    result = feature_factors([sums], selection=StatisticsSelection(n_demonstrations=3))
    assert all(torch.equal(result[name][0], first[name][0]) for name in INPUTS)


@pytest.mark.parametrize("first", [None, 4])
def test_a_bootstrap_counts_demonstrations_as_often_as_they_are_drawn(first: int | None) -> None:
    sums, n = statistics(0), first or N
    counts = drawn(n, seed=3) + [0] * (N - n)
    assert max(counts) > 1
    result = feature_factors([sums], selection=StatisticsSelection(n_demonstrations=first, resample_seed=3))
    for name in INPUTS:
        expected = [math.sqrt(sum(counts[i] * sums[name][i][j].item() for i in range(N))) for j in range(D_IN)]
        assert close(result[name][0], expected)


def test_weights_are_none_if_every_demonstration_counts_once() -> None:
    assert demonstration_weights(N, StatisticsSelection()) is None
    assert demonstration_weights(N, StatisticsSelection(n_demonstrations=N)) is None
    weights = demonstration_weights(N, StatisticsSelection(n_demonstrations=2))
    assert weights is not None
    assert weights.tolist() == [1, 1, 0, 0, 0]
    resampled = demonstration_weights(N, StatisticsSelection(resample_seed=1))
    assert resampled is not None
    assert resampled.tolist() == drawn(N, 1)


def test_a_set_that_is_smaller_than_asked_is_an_error() -> None:
    with refused(StatisticsError, expected="samples at most 5", got=6):
        feature_factors([statistics(0)], selection=StatisticsSelection(n_demonstrations=N + 1))


def test_statistics_that_are_not_sums_of_squares_are_an_error() -> None:
    negative = {name: -one for name, one in statistics(0).items()}
    for reading, sets in (
        (StatisticsSelection(), [negative]),
        (StatisticsSelection(aggregation="mean"), [statistics(1), negative]),
    ):
        with refused(StatisticsError, feature=0, got=-0.5962566137313843):
            feature_factors(sets, selection=reading)


SHARES = (0.25, 0.75)


@pytest.mark.parametrize(
    ("how", "shares"),
    [("mean", ()), ("mean", SHARES), ("max", ()), ("variance", ()), ("pooled", ()), ("pooled", SHARES)],
)
def test_several_sets_give_factors_by_the_formula_of_the_aggregation(how: str, shares: tuple[float, ...]) -> None:
    one, other = statistics(1), statistics(2, n=3)
    options = {"aggregation_parameters": VarianceParameters(2.0)} if how == "variance" else {}
    reading = StatisticsSelection(aggregation=how, shares=shares, **options)  # type: ignore[arg-type]
    result = feature_factors([one, other], selection=reading)
    p = shares or (0.5, 0.5)
    for name in INPUTS:
        squares = list(zip(mean(one[name]), mean(other[name]), strict=True))
        norms = [(math.sqrt(a), math.sqrt(b)) for a, b in squares]
        means = [p[0] * a + p[1] * b for a, b in norms]
        expected = {
            "mean": means,
            "max": [max(pair) for pair in norms],
            "variance": [
                m + 2.0 * (0.5 * (a - m) ** 2 + 0.5 * (b - m) ** 2) for (a, b), m in zip(norms, means, strict=True)
            ],
            "pooled": [math.sqrt(p[0] * a + p[1] * b) for a, b in squares],
        }
        assert close(result[name][0], expected[how])


@pytest.mark.parametrize("how", [None, "mean", "pooled"])
def test_contrast_norms_are_made_for_each_set_and_then_aggregated(how: str | None) -> None:
    sets, code = [statistics(1), statistics(2)][: 2 if how else 1], statistics(3)
    code["fc1"][:, 2] = 0
    result = feature_factors(sets, selection=StatisticsSelection(aggregation=how), contrast=code)  # type: ignore[arg-type]
    for name in INPUTS:
        against = mean(code[name])
        targets = [mean(one[name]) for one in sets]
        if how == "pooled":
            targets = [[sum(column) / 2 for column in zip(*targets, strict=True)]]
        norms = [
            [math.sqrt(t * t / c) if c else math.sqrt(t) for t, c in zip(target, against, strict=True)]
            for target in targets
        ]
        assert close(result[name][0], [sum(column) / len(norms) for column in zip(*norms, strict=True)])
        assert result[name][1] == (1 if name == "fc1" else 0)


def test_a_reading_counts_demonstrations_of_the_contrast_set_too() -> None:
    target, code = statistics(1), statistics(2)
    whole = feature_factors(
        [{name: one[:2] for name, one in target.items()}],
        selection=StatisticsSelection(),
        contrast={name: one[:2] for name, one in code.items()},
    )
    result = feature_factors([target], selection=StatisticsSelection(n_demonstrations=2), contrast=code)
    assert all(torch.equal(result[name][0], whole[name][0]) for name in INPUTS)
