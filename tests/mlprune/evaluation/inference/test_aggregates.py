"""Differences over groups of languages, compared with plain loops over all exchanges of clusters."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from mlprune.evaluation.inference.aggregates import (
    Aggregate,
    SeedDifference,
    aggregate,
    contributions_of,
    seed_difference,
)
from mlprune.evaluation.inference.estimates import contradicts, resamples_of
from mlprune.evaluation.inference.language_sums import (
    Evaluations,
    LanguageGroup,
    LanguageSums,
    language_groups,
    language_sums,
)
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, Metric
from mlprune.numeric.arrays import Array
from tests.plain_inference import answers, plain_p_value, texts

ACCURACY = METRICS["accuracy"]
IDS = [f"i{number}" for number in range(10)]
CLUSTERS = dict(zip(IDS, "aabbccddee", strict=True))
RIGHT = {
    "en": ([1, 1, 1, 1, 1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]),
    "fr": ([1, 0, 1, 1, 0, 1, 0, 1, 1, 0], [0, 0, 1, 0, 0, 1, 0, 0, 1, 0]),
    "sw": ([0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0]),
}
"""Language -> right answers of variant and baseline, on the first items."""


def sums_of(metric: Metric, evaluations: dict[str, Evaluations]) -> LanguageSums:
    return language_sums(dict.fromkeys(evaluations, metric), evaluations)


def accuracy_sums() -> LanguageSums:
    evaluations: dict[str, Evaluations] = {}
    for language, sides in RIGHT.items():
        ids = IDS[: len(sides[0])]
        first, second = (answers(right, [CLUSTERS[name] for name in ids], ids=ids) for right in sides)
        evaluations[language] = first, second
    return sums_of(ACCURACY, evaluations)


def by_group(results: list[Aggregate]) -> dict[str, Aggregate]:
    return {f"{result.group.kind} {result.group.name}".strip(): result for result in results}


def exchanged(language: str, signs: Sequence[int]) -> tuple[float, float]:
    """Accuracy of both sides of a language after the exchange of the clusters of sign -1."""
    sides = np.array(RIGHT[language], dtype=float)
    for index in range(sides.shape[1]):
        if signs["abcde".index(CLUSTERS[IDS[index]])] == -1:
            sides[:, index] = sides[::-1, index].copy()
    return float(sides[0].mean()), float(sides[1].mean())


@pytest.fixture(scope="module")
def results() -> dict[str, Aggregate]:
    sums = accuracy_sums()
    return by_group(aggregate(sums, language_groups({name: name for name in RIGHT})))


def test_a_mean_weighs_languages_equally_whatever_their_items(results: dict[str, Aggregate]) -> None:
    values = {name: [np.mean(side) for side in sides] for name, sides in RIGHT.items()}
    for group, names in {
        "outside_english": ("fr", "sw"),
        "all": ("en", "fr", "sw"),
        "script Latn": ("fr", "sw"),
    }.items():
        result = results[group]
        assert result.value == pytest.approx(np.mean([values[name][0] for name in names]))
        assert result.difference == pytest.approx(np.mean([values[name][0] - values[name][1] for name in names]))
        assert (result.n_items, result.n_clusters, result.n_flips) == (10, 5, 2**5 - 1)
    assert (results["resource_class 2"].n_items, results["resource_class 2"].n_clusters) == (6, 3)


def test_the_p_value_of_a_mean_is_that_of_all_exchanges_of_clusters_in_all_languages(
    results: dict[str, Aggregate],
) -> None:
    for group, names in {
        "outside_english": ("fr", "sw"),
        "all": ("en", "fr", "sw"),
        "resource_class 2": ("sw",),
    }.items():

        def difference(signs: Sequence[int], names: tuple[str, ...] = names) -> float:
            return float(np.mean([np.subtract(*exchanged(name, signs)) for name in names]))

        assert results[group].p_value == pytest.approx(plain_p_value(5, difference)), group
        assert (results[group].test, results[group].method) == ("sign_flip", "sign_flip")


def test_a_gap_is_a_language_minus_english_with_the_test_of_all_exchanges(results: dict[str, Aggregate]) -> None:
    for group, names in {"gap fr": ("fr",), "gap sw": ("sw",), "gap": ("fr", "sw")}.items():

        def difference(signs: Sequence[int], names: tuple[str, ...] = names) -> float:
            others = float(np.mean([np.subtract(*exchanged(name, signs)) for name in names]))
            return others - float(np.subtract(*exchanged("en", signs)))

        result = results[group]
        assert result.difference == pytest.approx(difference([1] * 5))
        assert result.p_value == pytest.approx(plain_p_value(5, difference)), group
        ours = [float(np.mean(RIGHT[name][0])) for name in ("en", *names)]
        assert result.value == pytest.approx(np.mean(ours[1:]) - ours[0])
        assert -2 <= result.interval.low < result.difference < result.interval.high <= 2
        assert result.interval.contains(0.0) == (result.p_value >= 0.05)
        assert result.interval.high >= 1


def test_a_gap_that_closes_in_every_cluster_has_an_interval_above_0() -> None:
    n = 60
    evaluations: dict[str, Evaluations] = {
        "en": (answers([0] * n), answers([1] * n)),
        "fr": (answers([1] * n), answers([0] * n)),
    }
    (result,) = aggregate(sums_of(ACCURACY, evaluations), [LanguageGroup("gap", "fr", ("en", "fr"))])
    assert (result.difference, result.value, result.baseline_value) == (2.0, 1.0, -1.0)
    assert result.interval.low > 1.5
    assert result.p_value < 0.001


def test_the_worst_language_is_the_lowest_of_each_side(results: dict[str, Aggregate]) -> None:
    worst = results["worst"]
    assert (worst.value, worst.baseline_value, worst.worst) == (pytest.approx(1 / 3), pytest.approx(0.3), ("sw", "fr"))
    assert worst.difference == pytest.approx(1 / 3 - 0.3)
    assert (worst.test, worst.method) == ("minima", "minima")
    assert worst.interval.low < 0 < worst.interval.high


def test_the_worst_language_is_not_significant_if_its_interval_has_0() -> None:
    """The two minima are equal, but of different languages: the exchange of the models changes the minimum."""
    n, rng = 80, np.random.default_rng(2)
    low, high = rng.uniform(size=n) < 0.3, rng.uniform(size=n) < 0.7
    evaluations: dict[str, Evaluations] = {"fr": (answers(low), answers(high)), "sw": (answers(high), answers(low))}
    (result,) = aggregate(sums_of(ACCURACY, evaluations), [LanguageGroup("worst", "", ("fr", "sw"))])
    assert result.worst == ("fr", "sw")
    assert (result.difference, result.interval.contains(0.0)) == (0.0, True)
    assert result.p_value > 0.5


def test_standard_errors_are_those_of_resampled_clusters() -> None:
    n_clusters, rng = 60, np.random.default_rng(1)
    right = rng.integers(0, 2, (2, 2, n_clusters))
    sums = sums_of(
        ACCURACY, {name: (answers(right[0, i]), answers(right[1, i])) for i, name in enumerate(("fr", "sw"))}
    )
    (result,) = aggregate(sums, [LanguageGroup("all", "", ("fr", "sw"))])
    contributions = (right[0] - right[1]).mean(axis=0)
    assert result.standard_error == pytest.approx(contributions.std(ddof=1) / np.sqrt(n_clusters), rel=0.06)
    assert result.interval.low < result.difference < result.interval.high


def test_contributions_add_up_to_the_difference_and_sizes_to_1() -> None:
    sums = accuracy_sums()
    for result in aggregate(sums, language_groups({name: name for name in RIGHT})):
        part = contributions_of(sums, result.group)
        assert part.clusters == tuple("abcde")
        assert part.sizes.sum() == pytest.approx(1.0)
        assert part.contributions.sum() == pytest.approx(result.difference)
    swahili = contributions_of(sums, LanguageGroup("language", "sw", ("sw",)))
    assert swahili.contributions.tolist() == pytest.approx([1 / 6, -1 / 6, 0, 0, 0])
    assert swahili.sizes.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_perplexity_is_averaged_on_the_scale_of_its_logarithm() -> None:
    tokens = [4, 6, 5, 3]
    losses = {"en": ([4.0, 7, 5, 3], [5.0, 6, 6, 4]), "sw": ([14.0, 20, 18, 9], [13.0, 21, 14, 8])}
    evaluations: dict[str, Evaluations] = {}
    for name, (ours, theirs) in losses.items():
        evaluations[name] = texts(np.negative(ours), tokens), texts(np.negative(theirs), tokens)
    sums = sums_of(METRICS["perplexity"], evaluations)
    found = by_group(aggregate(sums, language_groups({"en": "en", "sw": "sw"})))
    logs = {name: [sum(side) / 18 for side in sides] for name, sides in losses.items()}
    assert (found["all"].scale, found["all"].difference) == (
        "log_ratio",
        pytest.approx(np.mean([ours - theirs for ours, theirs in logs.values()])),
    )
    assert found["all"].value == pytest.approx(np.exp((logs["en"][0] + logs["sw"][0]) / 2))
    assert found["worst"].worst == ("sw", "sw")
    assert found["worst"].difference == pytest.approx(logs["sw"][0] - logs["sw"][1])
    assert found["worst"].interval.contains(found["worst"].difference)


def test_other_means_have_the_randomisation_test_and_a_bca_interval() -> None:
    rng = np.random.default_rng(5)
    references = tuple(" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(12))
    worse = tuple(text if number % 3 else text[:5] for number, text in enumerate(references))
    ids = tuple(map(str, range(12)))
    good, bad = Translations(ids, references, references), Translations(ids, worse, references)
    chrf = METRICS["chrf"]
    sums = sums_of(chrf, {"fr-en": (bad, good), "sw-en": (bad, good)})
    found = by_group(aggregate(sums, language_groups({"fr-en": "fr", "sw-en": "sw"})))
    single = compare((chrf,), bad, good)["chrf"]
    for result in found.values():
        assert result.difference == pytest.approx(single.difference)
        is_worst = result.group.kind == "worst"
        assert (result.test, result.method) == (("minima", "minima") if is_worst else ("randomization", "bca"))
        assert is_worst or result.p_value == pytest.approx(single.p_value)
        assert is_worst or result.interval.low == pytest.approx(single.interval.low)
        assert not (is_worst and contradicts(result.interval, result.p_value))
        assert contributions_of(sums, result.group).contributions.sum() == pytest.approx(single.difference)


def test_a_variant_equal_to_its_baseline_does_not_differ() -> None:
    predictions = answers([1, 0, 1, 1, 0, 1] * 5)
    sums = sums_of(ACCURACY, dict.fromkeys(("en", "fr"), (predictions, predictions)))
    for result in aggregate(sums, language_groups({"en": "en", "fr": "fr"})):
        assert (result.difference, result.p_value, result.standard_error) == (0.0, 1.0, 0.0)
        assert result.interval.low < 0.0 < result.interval.high


FR, BOTH = LanguageGroup("language", "fr", ("fr",)), LanguageGroup("outside_english", "", ("fr", "sw"))
N_ITEMS = 30


def right_answers(n_seeds: int, *, n_languages: int = 2) -> tuple[Array, Array]:
    """Right answers of seeds, [S, L, n], and of the baseline, [L, n]."""
    generator = np.random.default_rng(0)
    baseline = generator.integers(0, 2, size=(n_languages, N_ITEMS))
    flips = generator.random((n_seeds, n_languages, N_ITEMS)) < np.linspace(0.1, 0.5, n_seeds)[:, None, None]
    return np.where(flips, 1, baseline).astype(float), baseline.astype(float)


def seed_differences_sums_of(right: Array, baseline: Array, clusters: list[str] | None = None) -> list[LanguageSums]:
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
    result = found(seed_differences_sums_of(right, baseline), BOTH)
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
    result = found(seed_differences_sums_of(right, baseline), FR)
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
    result = found(seed_differences_sums_of(right, baseline), FR)
    of_items = stats.t.ppf(0.975, N_ITEMS - 1) * (right[:, 0] - baseline[0]).mean(axis=0).std(ddof=1) / np.sqrt(N_ITEMS)
    assert (result.deviation, result.deviation_interval) == (0.0, None)
    assert result.interval is not None
    assert result.interval.width == pytest.approx(2 * of_items)


def test_seeds_and_items_without_variation_have_no_interval() -> None:
    baseline = np.ones((2, N_ITEMS))
    result = found(seed_differences_sums_of(np.ones((2, 2, N_ITEMS)), baseline), BOTH)
    assert (result.interval, result.bootstrap, result.deviation_interval) == (None, None, None)


def test_with_fewer_seeds_the_bootstrap_is_only_a_check_of_the_t_interval() -> None:
    right, baseline = right_answers(2)
    result = found(seed_differences_sums_of(right, baseline), FR)
    assert result.method == "t"
    assert result.bootstrap.width < result.interval.width
    assert (result.deviation_interval.high / result.deviation) == pytest.approx(31.9, abs=0.1)


def test_languages_that_differ_have_a_component_of_their_own() -> None:
    right, baseline = right_answers(4)
    right[:, 0], baseline[1] = 1.0, 1.0
    result = found(seed_differences_sums_of(right, baseline), BOTH)
    truth = np.var([(right - baseline)[:, k].mean() for k in (0, 1)], ddof=1)
    assert result.language_variance is not None
    assert 0.5 * truth < result.language_variance < truth


def test_items_of_one_cluster_count_once_and_a_single_cluster_has_no_result() -> None:
    right, baseline = right_answers(3)
    halves = [f"half {item % 2}" for item in range(N_ITEMS)]
    result = found(seed_differences_sums_of(right, baseline, halves), FR)
    assert (result.n_items, result.n_clusters) == (N_ITEMS, 2)
    assert seed_difference(seed_differences_sums_of(right, baseline, ["one"] * N_ITEMS), FR) is None


def test_seeds_that_answer_alike_have_no_variance_and_no_share() -> None:
    right, baseline = right_answers(2)
    same = found(seed_differences_sums_of(np.stack([baseline, baseline]), baseline), FR)
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


def test_english_is_in_no_script_and_no_resource_class() -> None:
    groups = {
        (group.kind, group.name): group.languages
        for group in language_groups({name: name for name in ("sw", "en", "zh", "fr", "eo")})
    }
    assert groups == {
        ("outside_english", ""): ("eo", "fr", "sw", "zh"),
        ("all", ""): ("en", "eo", "fr", "sw", "zh"),
        ("worst", ""): ("en", "eo", "fr", "sw", "zh"),
        ("script", "Hans"): ("zh",),
        ("script", "Latn"): ("eo", "fr", "sw"),
        ("resource_class", "2"): ("sw",),
        ("resource_class", "5"): ("fr", "zh"),
        ("gap", ""): ("en", "eo", "fr", "sw", "zh"),
        ("gap", "eo"): ("en", "eo"),
        ("gap", "fr"): ("en", "fr"),
        ("gap", "sw"): ("en", "sw"),
        ("gap", "zh"): ("en", "zh"),
    }


def test_a_pair_is_placed_by_its_other_language() -> None:
    groups = language_groups({"fr-en": "fr", "en-zh": "zh"})
    assert groups[0].languages == ("en-zh", "fr-en")
    assert "gap" not in {group.kind for group in groups}
    assert ("script", "Hans", ("en-zh",)) in [(group.kind, group.name, group.languages) for group in groups]


def test_english_alone_has_no_group_outside_english() -> None:
    assert [group.kind for group in language_groups({"en": "en"})] == ["all", "worst"]
