"""Differences of several seeds, compared with plain loops over the answers, scipy and known effects."""

import numpy as np
import pytest
from scipy import stats

from mlprune.evaluation.inference.language_groups import LanguageGroup
from mlprune.evaluation.inference.language_sums import LanguageSums, language_sums
from mlprune.evaluation.inference.samples import resamples_of
from mlprune.evaluation.inference.seed_differences import SeedDifference, seed_difference
from mlprune.evaluation.task_metrics import METRICS
from mlprune.numeric.statistics.clusters import Array
from tests.plain_inference import answers, texts

FR, BOTH = LanguageGroup("language", "fr", ("fr",)), LanguageGroup("outside_english", "", ("fr", "sw"))
N_ITEMS = 30


def right_answers(n_seeds: int, *, n_languages: int = 2) -> tuple[Array, Array]:
    """Right answers of seeds, [S, L, n], and of the baseline, [L, n]."""
    generator = np.random.default_rng(0)
    baseline = generator.integers(0, 2, size=(n_languages, N_ITEMS))
    flips = generator.random((n_seeds, n_languages, N_ITEMS)) < np.linspace(0.1, 0.5, n_seeds)[:, None, None]
    return np.where(flips, 1, baseline).astype(float), baseline.astype(float)


def sums_of(right: Array, baseline: Array, clusters: list[str] | None = None) -> list[LanguageSums]:
    names = clusters or [f"cluster {item}" for item in range(N_ITEMS)]
    return [
        language_sums(
            dict.fromkeys(("fr", "sw"), METRICS["accuracy"]),
            {
                language: (answers(list(seed[k]), names), answers(list(baseline[k]), names))
                for k, language in enumerate(("fr", "sw"))
            },
        )
        for seed in right
    ]


def found(seeds: list[LanguageSums], group: LanguageGroup) -> SeedDifference:
    result = seed_difference(seeds, group)
    assert result is not None
    return result


def test_the_values_of_five_seeds_are_those_of_plain_analysis_of_variance() -> None:
    right, baseline = right_answers(5)
    result = found(sums_of(right, baseline), BOTH)
    items = (right - baseline).mean(axis=1)
    seeds, columns, mean = items.mean(axis=1), items.mean(axis=0), items.mean()
    residual = ((items - seeds[:, None] - columns + mean) ** 2).sum() / (4 * (N_ITEMS - 1))
    assert result.difference == pytest.approx(mean)
    assert result.deviation == pytest.approx(seeds.std(ddof=1))
    assert result.seed_variance == pytest.approx(max(0.0, seeds.var(ddof=1) - residual / N_ITEMS))
    item = max(0.0, columns.var(ddof=1) - residual / 5)
    assert result.item_variance == pytest.approx((item + residual) / N_ITEMS)
    assert result.seed_share == pytest.approx(result.seed_variance / (result.seed_variance + result.item_variance))
    of_seeds, of_items = seeds.var(ddof=1) / 5, item / N_ITEMS
    half = np.sqrt(stats.t.ppf(0.975, 4) ** 2 * of_seeds + stats.t.ppf(0.975, N_ITEMS - 1) ** 2 * of_items)
    assert (result.interval.low, result.interval.high) == pytest.approx((mean - half, mean + half))
    assert (result.method, result.n_seeds, result.n_items, result.n_clusters) == ("t", 5, N_ITEMS, N_ITEMS)
    assert result.standard_error == pytest.approx(np.sqrt(of_seeds + of_items))


def test_from_ten_seeds_on_the_interval_is_the_two_way_bootstrap() -> None:
    right, baseline = right_answers(10)
    result = found(sums_of(right, baseline), FR)
    items = (right - baseline)[:, 0]
    counts = resamples_of(N_ITEMS)
    drawn = np.random.Generator(np.random.PCG64(1)).integers(0, 10, size=(len(counts), 10))
    values = [(items[seeds] @ row).mean() / N_ITEMS for row, seeds in zip(counts, drawn, strict=True)]
    assert result.method == "two_way_bootstrap"
    assert (result.interval.low, result.interval.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    assert result.interval == result.bootstrap
    assert result.language_variance is None


def test_equal_seeds_have_the_interval_of_their_items_and_none_of_their_deviation() -> None:
    baseline = np.zeros((2, N_ITEMS))
    right = np.zeros((2, 2, N_ITEMS))
    right[0, :, :4] = right[1, :, 4:8] = 1.0
    result = found(sums_of(right, baseline), FR)
    of_items = stats.t.ppf(0.975, N_ITEMS - 1) * (right[:, 0] - baseline[0]).mean(axis=0).std(ddof=1) / np.sqrt(N_ITEMS)
    assert (result.deviation, result.deviation_interval) == (0.0, None)
    assert result.interval is not None
    assert result.interval.width == pytest.approx(2 * of_items)


def test_seeds_and_items_without_variation_have_no_interval() -> None:
    baseline = np.ones((2, N_ITEMS))
    result = found(sums_of(np.ones((2, 2, N_ITEMS)), baseline), BOTH)
    assert (result.interval, result.bootstrap, result.deviation_interval) == (None, None, None)


def test_with_fewer_seeds_the_bootstrap_is_only_a_check_of_the_t_interval() -> None:
    right, baseline = right_answers(2)
    result = found(sums_of(right, baseline), FR)
    assert result.method == "t"
    assert result.bootstrap.width < result.interval.width
    assert (result.deviation_interval.high / result.deviation) == pytest.approx(31.9, abs=0.1)


def test_languages_that_differ_have_a_component_of_their_own() -> None:
    right, baseline = right_answers(4)
    right[:, 0], baseline[1] = 1.0, 1.0
    result = found(sums_of(right, baseline), BOTH)
    truth = np.var([(right - baseline)[:, k].mean() for k in (0, 1)], ddof=1)
    assert result.language_variance is not None
    assert 0.5 * truth < result.language_variance < truth


def test_items_of_one_cluster_count_once_and_a_single_cluster_has_no_result() -> None:
    right, baseline = right_answers(3)
    halves = [f"half {item % 2}" for item in range(N_ITEMS)]
    result = found(sums_of(right, baseline, halves), FR)
    assert (result.n_items, result.n_clusters) == (N_ITEMS, 2)
    assert seed_difference(sums_of(right, baseline, ["one"] * N_ITEMS), FR) is None


def test_seeds_that_answer_alike_have_no_variance_and_no_share() -> None:
    right, baseline = right_answers(2)
    same = found(sums_of(np.stack([baseline, baseline]), baseline), FR)
    assert (same.difference, same.seed_variance, same.item_variance, same.seed_share) == (0.0, 0.0, 0.0, None)
    assert right.shape == (2, 2, N_ITEMS)


def test_perplexity_is_compared_as_a_logarithm_of_ratios() -> None:
    tokens, baseline = [3, 5, 4], [-6.0, -9.0, -5.0]
    seeds = [[-7.0, -9.5, -6.0], [-6.5, -11.0, -5.5]]
    sums = [
        language_sums({"fr": METRICS["perplexity"]}, {"fr": (texts(seed, tokens), texts(baseline, tokens))})
        for seed in seeds
    ]
    result = found(sums, FR)
    expected = np.mean([(sum(baseline) - sum(seed)) / sum(tokens) for seed in seeds])
    assert result.scale == "log_ratio"
    assert result.difference == pytest.approx(expected)
    assert result.interval.low < expected < result.interval.high
