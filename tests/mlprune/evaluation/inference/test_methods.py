"""Values, differences, intervals and p-values of every method of inference, and when they disagree."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import ShapeError
from mlprune.evaluation.inference.aggregates import Aggregate, aggregate
from mlprune.evaluation.inference.estimates import (
    Chance,
    Difference,
    chance_of,
    contradicts,
    limit_reached,
    resamples_of,
)
from mlprune.evaluation.inference.language_sums import language_groups, language_sums
from mlprune.evaluation.inference.methods import INFERENCE, compare, decided_by_test, measure
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, Metric, task_metrics
from mlprune.numeric.statistics.bootstrap import bca_interval
from mlprune.numeric.statistics.calibration_interval import CorrectedEstimate, calibration_interval
from mlprune.numeric.statistics.clusters import Interval
from mlprune.numeric.statistics.paired_proportions import tango_interval, tango_p_value
from mlprune.steps.evaluate.results import on_shared_items
from mlprune.steps.tasks.task_spec import TaskSpec
from tests.example_predictions import whole_texts, with_scores
from tests.plain_inference import answers, plain_p_value, texts
from tests.refusals import refused

ACCURACY = METRICS["accuracy"]
SHARED = next(metric for metric in task_metrics("facts", "fr") if metric.name == "accuracy")


def test_independent_right_or_wrong_answers_have_wilsons_interval() -> None:
    value = measure((ACCURACY,), answers([1] * 30 + [0] * 10))["accuracy"]
    expected = stats.binomtest(30, 40).proportion_ci(method="wilson")
    assert (value.method, value.value, value.n, value.n_clusters) == ("wilson", 0.75, 40, 40)
    assert (value.interval.low, value.interval.high) == pytest.approx((expected.low, expected.high))
    assert value.standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 39))


def test_items_of_one_cluster_widen_the_interval() -> None:
    right = [1] * 12 + [0] * 12
    clusters = [f"c{number // 4}" for number in range(24)]
    alone, together = (measure((ACCURACY,), answers(right, names))["accuracy"] for names in ((), clusters))
    assert (together.method, together.n, together.n_clusters) == ("wilson_effective", 24, 6)
    assert together.interval.low < alone.interval.low < alone.interval.high < together.interval.high


def test_independent_items_are_compared_by_tangos_test() -> None:
    ours, theirs = [1] * 9 + [0] * 3 + [1] * 20 + [0] * 8, [0] * 9 + [1] * 3 + [1] * 20 + [0] * 8
    got = compare((ACCURACY,), answers(ours), answers(theirs))["accuracy"]
    assert (got.method, got.test, got.scale) == ("tango", "tango", "difference")
    assert (got.n_items, got.n_gained, got.n_lost, got.difference) == (40, 9, 3, pytest.approx(6 / 40))
    assert (got.p_value, got.interval) == (tango_p_value(9, 3, 40), tango_interval(9, 3, 40))
    exact = stats.binomtest(3, 12)
    assert got.p_mid_mcnemar == pytest.approx(exact.pvalue - stats.binom.pmf(3, 12, 0.5))


def test_clusters_are_exchanged_as_a_whole() -> None:
    ours = np.array([1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1], dtype=float)
    theirs = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0], dtype=float)
    clusters = list("aabbccddeeff")
    sums = (ours - theirs).reshape(6, 2).sum(axis=1)
    got = compare((ACCURACY,), answers(ours, clusters), answers(theirs, clusters))["accuracy"]
    assert got.p_value == pytest.approx(plain_p_value(6, lambda signs: float(np.dot(signs, sums))))
    assert (got.method, got.test, got.n_clusters) == ("sign_flip", "sign_flip", 6)
    assert got.standard_error == pytest.approx(np.sqrt(6 / 5 * ((sums - sums.mean()) ** 2).sum()) / 12)
    assert not got.interval_contradicts_p


def test_a_tie_makes_credit_fractional_and_leaves_mcnemar_undefined() -> None:
    got = compare((SHARED,), answers([1.0, 0.5, 0.0] * 5), answers([0.5, 0.5, 0.0] * 5))["accuracy"]
    assert (got.method, got.p_mid_mcnemar, got.n_gained, got.n_lost) == ("sign_flip", None, 5, 0)
    assert got.difference == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("clusters", [(), [f"c{number // 2}" for number in range(40)]])
def test_equal_answers_differ_by_0_within_an_interval_with_a_width(clusters: list[str]) -> None:
    predictions = answers([1] * 40, clusters)
    got = compare((ACCURACY,), predictions, predictions)["accuracy"]
    assert (got.difference, got.p_value, got.interval_contradicts_p) == (0.0, 1.0, False)
    assert got.interval.low < -0.05 < 0.05 < got.interval.high


PERPLEXITY = METRICS["perplexity"]
N_TOKENS = [5, 3, 8, 2, 6, 4, 7]
OURS = np.array([-9.0, -7.5, -14.0, -5.0, -13.0, -7.0, -12.0])
THEIRS = np.array([-8.0, -7.0, -15.0, -3.0, -12.0, -7.5, -11.0])


def test_a_value_of_many_texts_has_the_bootstrap_t_interval_of_its_logarithm() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 9, 30)
    losses = tokens * rng.exponential(2.0, 30)
    value = measure((PERPLEXITY,), texts(-losses, tokens.tolist()))["perplexity"]
    ratio = losses.sum() / tokens.sum()

    def ratio_and_error(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        centre = a.sum() / b.sum()
        return centre, np.sqrt(30 / 29 * ((a - centre * b) ** 2).sum()) / b.sum()

    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 30, size=(1999, 30))
    resampled = np.array([ratio_and_error(losses[row], tokens[row]) for row in drawn])
    quantiles = np.quantile((resampled[:, 0] - ratio) / resampled[:, 1], [0.975, 0.025])
    expected = np.exp(ratio - quantiles * ratio_and_error(losses, tokens)[1])
    assert value.method == "log_bootstrap_t"
    assert (value.interval.low, value.interval.high) == pytest.approx(tuple(expected))


def test_a_value_of_few_texts_has_the_t_interval_of_its_logarithm() -> None:
    value = measure((PERPLEXITY,), texts(OURS, N_TOKENS))["perplexity"]
    tokens = np.array(N_TOKENS)
    ratio = -OURS.sum() / tokens.sum()
    error = np.sqrt(7 / 6 * ((-OURS - ratio * tokens) ** 2).sum()) / tokens.sum()
    reach = stats.t.ppf(0.975, 6) * error
    assert (value.value, value.method) == (pytest.approx(math.exp(ratio)), "log_t")
    assert (value.interval.low, value.interval.high) == pytest.approx(
        (math.exp(ratio - reach), math.exp(ratio + reach))
    )
    assert value.standard_error == pytest.approx(math.exp(ratio) * error)


def test_one_text_has_no_interval() -> None:
    value = measure((PERPLEXITY,), texts([-3.0], [2]))["perplexity"]
    assert (value.value, value.interval, value.standard_error) == (pytest.approx(math.exp(1.5)), None, None)


def test_a_difference_is_the_logarithm_of_the_ratio_and_is_tested_by_exchanges() -> None:
    got = compare((PERPLEXITY,), texts(OURS, N_TOKENS), texts(THEIRS, N_TOKENS))["perplexity"]
    values = [measure((PERPLEXITY,), texts(each, N_TOKENS))["perplexity"].value for each in (OURS, THEIRS)]
    assert (got.scale, got.difference) == ("log_ratio", pytest.approx(math.log(values[0] / values[1])))
    assert got.p_value == pytest.approx(plain_p_value(7, lambda signs: float(np.dot(signs, THEIRS - OURS))))
    assert not got.interval_contradicts_p
    assert got.n_gained is None


def test_texts_of_one_cluster_are_exchanged_together() -> None:
    clusters = list("aabbccc")
    got = compare((PERPLEXITY,), texts(OURS, N_TOKENS, clusters), texts(THEIRS, N_TOKENS, clusters))["perplexity"]
    sums = [(THEIRS - OURS)[rows].sum() for rows in ([0, 1], [2, 3], [4, 5, 6])]
    assert got.n_clusters == 3
    assert got.p_value == pytest.approx(plain_p_value(3, lambda signs: float(np.dot(signs, sums))))


DIVERGENCE = METRICS["divergence"]


def with_divergences(sums: Sequence[float], n_tokens: Sequence[int]) -> Predictions:
    return replace(texts([0.0] * len(sums), n_tokens), measures={"divergence": np.array(sums)})


def test_a_divergence_per_token_has_the_t_interval_of_a_ratio_and_nothing_below_0() -> None:
    value = measure((DIVERGENCE,), with_divergences([0.0, 0.1, 4.0], [2, 3, 4]))["divergence"]
    ratio = 4.1 / 9
    residuals = np.array([0.0, 0.1, 4.0]) - ratio * np.array([2, 3, 4])
    error = np.sqrt(3 / 2 * (residuals**2).sum()) / 9
    assert (value.value, value.method, value.interval.low) == (pytest.approx(ratio), "t", 0.0)
    assert value.standard_error == pytest.approx(error)
    assert value.interval.high == pytest.approx(ratio + stats.t.ppf(0.975, 2) * error)


def test_a_difference_of_divergences_is_in_nats_and_tested_by_exchanges() -> None:
    first, second = with_divergences(list(-OURS), N_TOKENS), with_divergences(list(-THEIRS), N_TOKENS)
    got = compare((DIVERGENCE,), first, second)["divergence"]
    assert (got.scale, got.test) == ("nats", "sign_flip")
    assert got.difference == pytest.approx((THEIRS - OURS).sum() / sum(N_TOKENS))
    assert got.p_value == pytest.approx(plain_p_value(7, lambda signs: float(np.dot(signs, THEIRS - OURS))))


def test_other_numbers_of_tokens_leave_the_difference_that_of_the_values() -> None:
    """A smaller vocabulary writes the same texts with more tokens."""
    first, second = with_divergences([1.0, 2.0, 4.0], [4, 6, 9]), with_divergences([1.0, 1.0, 1.0], [2, 3, 4])
    values = [measure((DIVERGENCE,), one)["divergence"].value for one in (first, second)]
    assert compare((DIVERGENCE,), first, second)["divergence"].difference == pytest.approx(values[0] - values[1])


N = 12


def random_predictions(seed: int, n: int = N, *, strength: float = 0.7) -> Predictions:
    """Three labels, right more often than not."""
    rng = np.random.default_rng(seed)
    gold = np.random.default_rng(0).integers(0, 3, n)
    scores = rng.normal(-5.0, 1.0, (n, 3))
    scores[np.arange(n), gold] += strength
    ids = tuple(str(number) for number in range(n))
    starts, n_tokens = np.arange(0, 3 * n + 1, 3), np.full(3 * n, 4)
    return whole_texts(ids, starts, gold=gold, log_likelihoods=scores.reshape(-1) * 4, n_tokens=n_tokens)


def swapped(metric: Metric, first: Predictions, second: Predictions, signs: Sequence[int]) -> float:
    """Difference after exchanging the items of sign -1, computed item by item."""
    a, b = metric.statistics(first), metric.statistics(second)
    ours = sum(row if sign == 1 else other for row, other, sign in zip(a, b, signs, strict=True))
    theirs = sum(other if sign == 1 else row for row, other, sign in zip(a, b, signs, strict=True))
    return float(metric.value(ours) - metric.value(theirs))


@pytest.mark.parametrize("name", ["f1_macro", "ece"])
def test_p_values_are_those_of_all_exchanges_of_items(name: str) -> None:
    first, second = random_predictions(1, 8), random_predictions(2, 8, strength=0.0)
    got = compare((METRICS[name],), first, second, asked=[name])[name]
    expected = plain_p_value(8, lambda signs: swapped(METRICS[name], first, second, signs))
    assert (got.p_value, got.test) == (pytest.approx(expected), "randomization")
    assert got.difference == pytest.approx(swapped(METRICS[name], first, second, [1] * 8))


def test_intervals_are_those_of_resampled_items() -> None:
    metric, (first, second) = METRICS["f1_macro"], (random_predictions(1, 40), random_predictions(2, 40))
    a, b = metric.statistics(first), metric.statistics(second)
    resampled = np.array([metric.value(row @ a) - metric.value(row @ b) for row in resamples_of(40).astype(float)])
    jackknife = np.array(
        [metric.value(np.delete(a, i, 0).sum(0)) - metric.value(np.delete(b, i, 0).sum(0)) for i in range(40)]
    )
    got = compare((metric,), first, second)["f1_macro"]
    expected = bca_interval(resampled, got.difference, jackknife)
    assert (got.interval.low, got.interval.high) == pytest.approx((expected.low, expected.high))
    assert got.standard_error == pytest.approx(resampled.std(ddof=1))


def test_metrics_of_the_same_statistics_are_computed_together_and_independently_of_their_order() -> None:
    first, second = random_predictions(1, 40), random_predictions(2, 40)
    metrics = task_metrics("xnli", "fr")
    together = compare(metrics, first, second)
    assert list(together) == [metric.name for metric in metrics]
    for metric in metrics:
        assert compare((metric,), first, second)[metric.name] == together[metric.name]
        assert measure((metric,), first)[metric.name] == measure(metrics, first)[metric.name]


def test_equal_predictions_differ_by_0_with_an_interval_around_it() -> None:
    predictions = random_predictions(1, 40)
    metrics = task_metrics("xnli", "fr")
    for got in compare(metrics, predictions, predictions, asked=["ece"]).values():
        assert (got.difference, got.p_value, got.interval_contradicts_p) == (0.0, 1.0, False)
        assert got.interval.low < 0.0 < got.interval.high


def test_a_perfect_translation_has_an_interval_with_a_width() -> None:
    sentences = tuple(f"the {number} cats sat on the mat" for number in range(20))
    value = measure((METRICS["bleu"],), Translations(tuple(map(str, range(20))), sentences, sentences))["bleu"]
    assert (value.value, value.method, value.interval.high) == (pytest.approx(1.0), "score", 1.0)
    assert 0.7 < value.interval.low < 0.95


def test_one_item_has_a_value_without_a_standard_error() -> None:
    first, second = random_predictions(1, 1), random_predictions(2, 1)
    metrics = task_metrics("xnli", "fr")
    assert all(value.standard_error is None for value in measure(metrics, first).values())
    assert all(got.interval.contains(got.difference) for got in compare(metrics, first, second).values())


ECE = METRICS["ece"]


def drawn(seed: int, n: int = 60) -> Predictions:
    """Answers that are right as often as their confidence says."""
    rng = np.random.default_rng(seed)
    odds = rng.uniform(0.1, 2.0, n)
    right = rng.uniform(size=n) < 1 / (1 + np.exp(-odds))
    scores = np.stack([np.where(right, 0.0, -odds), np.where(right, -odds, 0.0)], axis=1)
    return with_scores(scores.tolist(), [0] * n)


def corrected(predictions: Predictions) -> CorrectedEstimate:
    statistics = ECE.statistics(predictions)
    sums = resamples_of(len(statistics)).astype(float) @ statistics
    return calibration_interval(sums[:, :-1] / sums[:, -1:], statistics[:, :-1].mean(axis=0))


def test_the_interval_of_a_calibrated_model_reaches_lower_than_that_of_the_resamples() -> None:
    predictions = drawn(3)
    value = measure((ECE,), predictions)["ece"]
    expected = corrected(predictions)
    assert value.interval is not None
    assert (value.interval.low, value.interval.high) == pytest.approx((expected.interval.low, expected.interval.high))
    assert value.method == "debiased"
    assert value.interval.low < value.value / 2


@pytest.mark.parametrize(
    ("p_value", "expected"),
    [
        (0.01, ((0.0, 0.3), (0.0, 0.2))),
        (0.07, ((-0.1, 0.3), (0.0, 0.2))),
        (0.5, ((-0.1, 0.3), (-0.05, 0.2))),
    ],
)
def test_the_test_of_0_decides_whether_0_is_inside(p_value: float, expected: tuple[tuple[float, float], ...]) -> None:
    intervals = (Interval(-0.1, 0.3), Interval(-0.05, 0.2))
    got = decided_by_test(intervals, 0.1, p_value=p_value)
    assert tuple((one.low, one.high) for one in got) == expected
    mirrored = decided_by_test((intervals[0].mirrored, intervals[1].mirrored), -0.1, p_value=p_value)
    assert tuple((-one.high, -one.low) for one in mirrored) == expected
    above = decided_by_test((Interval(0.1, 0.3), Interval(0.15, 0.25)), 0.2, p_value=p_value)
    assert [one.low for one in above] == [0.1 if p_value < 0.05 else 0.0, 0.15 if p_value < 0.1 else 0.0]


def test_the_difference_of_calibration_errors_covers_the_true_one_and_agrees_with_its_test() -> None:
    """One model is calibrated; the other one is right in 10 points fewer of its answers than it says."""
    rng, n_covered, n = np.random.default_rng(5), 0, 100
    for _ in range(40):
        confidences = rng.uniform(0.55, 1.0, n)
        odds = np.log(confidences / (1 - confidences))
        both = []
        for bias in (0.1, 0.0):
            right = rng.uniform(size=n) < confidences - bias
            scores = np.stack([np.where(right, 0.0, -odds), np.where(right, -odds, 0.0)], axis=1)
            both.append(with_scores(scores.tolist(), [0] * n))
        result = compare((ECE,), *both, asked=["ece"])["ece"]
        assert not result.interval_contradicts_p
        n_covered += result.interval.contains(0.1)
    assert n_covered >= 36


def test_a_difference_combines_the_intervals_of_both_sides() -> None:
    first, second = drawn(3), drawn(4)
    got, back = (compare((ECE,), *both, asked=["ece"])["ece"] for both in ((first, second), (second, first)))
    values = [measure((ECE,), each)["ece"].value for each in (first, second)]
    estimates = [corrected(each) for each in (first, second)]
    assert (got.difference, got.method) == (pytest.approx(values[0] - values[1]), "debiased")
    assert got.interval.contains(estimates[0].value - estimates[1].value)
    assert (got.interval.low, got.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))
    assert got.p_value == back.p_value


def test_a_difference_of_calibration_errors_is_tested_only_if_something_asks_for_it() -> None:
    first, second = drawn(3), drawn(4)
    got, asked = compare((ECE,), first, second)["ece"], compare((ECE,), first, second, asked=["ece"])["ece"]
    assert [got.columns[name] for name in ("p_value", "test", "interval_contradicts_p")] == [None] * 3
    assert asked.test == "randomization"
    assert (got.difference, got.standard_error, got.method) == (asked.difference, asked.standard_error, asked.method)
    decided = decided_by_test((got.interval, got.interval90), got.difference, p_value=asked.p_value)
    assert decided == (asked.interval, asked.interval90)


def test_an_untested_difference_is_computed_apart_from_tested_ones() -> None:
    first, second = random_predictions(1, 8), random_predictions(2, 8, strength=0.0)
    got = compare(task_metrics("xnli", "fr"), first, second)
    assert [name for name, difference in got.items() if difference.p_value is None] == ["ece"]


Both = tuple[Predictions, Predictions] | tuple[Translations, Translations]
SIZES = (3, 8, 40)
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"]


def right_or_wrong(rng: np.random.Generator, n: int, *, is_clustered: bool = False, is_shared: bool = False) -> Both:
    """Answers of two models that mostly agree."""
    share = float(rng.choice([0.0, 0.05, 0.4, 0.9, 1.0]))
    first = (rng.random(n) < share).astype(float)
    second = np.where(rng.random(n) < rng.choice([0.0, 0.1, 0.5]), 1 - first, first)
    if is_shared:
        second = np.where(rng.random(n) < 0.2, 0.5, second)
    clusters = [str(code) for code in rng.integers(0, max(1, n // 2), n)] if is_clustered else []
    return answers(first.tolist(), clusters), answers(second.tolist(), clusters)


def losses(rng: np.random.Generator, n: int) -> Both:
    tokens = rng.integers(1, 9, n)
    first = -tokens * rng.exponential(2.0, n)
    clusters = [str(code) for code in range(n)]
    return texts(first, tokens, clusters), texts(first - rng.normal(0.1, 0.5, n), tokens, clusters)  # type: ignore[arg-type]


def distances(rng: np.random.Generator, n: int, *, of_dense: bool = False) -> Both:
    """Sums of divergences, and of most probable tokens that agree; both 0 and all for the dense model."""
    tokens, clusters = rng.integers(1, 9, n), [str(code) for code in rng.integers(0, max(1, n // 2), n)]

    def drawn() -> Predictions:
        sums = {"divergence": tokens * rng.exponential(0.3, n), "n_top_agreed": np.floor(tokens * rng.random(n))}
        return replace(texts(-1.0 * tokens, tokens, clusters), measures=sums)  # type: ignore[arg-type]

    dense = replace(drawn(), measures={"divergence": np.zeros(n), "n_top_agreed": tokens.astype(float)})
    return drawn(), dense if of_dense else drawn()


def labels(rng: np.random.Generator, n: int) -> Both:
    seeds = rng.integers(0, 1000, 2).tolist()
    return random_predictions(seeds[0], n), random_predictions(seeds[1], n, strength=float(rng.choice([0.7, 4.0])))


def sentences(rng: np.random.Generator, n: int) -> Both:
    references = tuple(" ".join(rng.choice(WORDS, 6)) for _ in range(n))
    ids = tuple(map(str, range(n)))

    def outputs(share: float) -> tuple[str, ...]:
        return tuple(one if rng.random() < share else " ".join(rng.choice(WORDS, 5)) for one in references)

    shares = rng.choice([0.0, 0.5, 1.0], 2)
    return Translations(ids, outputs(shares[0]), references), Translations(ids, outputs(shares[1]), references)


CASES: Mapping[str, tuple[str, Callable[[np.random.Generator, int], Both]]] = {
    "items": ("accuracy", right_or_wrong),
    "clusters": ("accuracy", lambda rng, n: right_or_wrong(rng, n, is_clustered=True)),
    "shared credit": ("accuracy", lambda rng, n: right_or_wrong(rng, n, is_shared=True)),
    "perplexity": ("perplexity", losses),
    "divergence": ("divergence", distances),
    "divergence to dense": ("divergence", lambda rng, n: distances(rng, n, of_dense=True)),
    "agreement": ("top_agreement", distances),
    "agreement to dense": ("top_agreement", lambda rng, n: distances(rng, n, of_dense=True)),
    "f1": ("f1_macro", labels),
    "calibration": ("ece", labels),
    "bleu": ("bleu", sentences),
    "chrf": ("chrf", sentences),
}


def check(result: Difference | Aggregate) -> None:
    """The 90 % interval is inside the 95 % one, both have the estimate, and 0 is outside exactly if p is small."""
    wide, narrow = result.interval, result.interval90
    assert wide.low <= narrow.low <= narrow.high <= wide.high, result
    if result.method != "debiased":  # an interval of the error without its bias, see `CalibrationInference`
        assert narrow.low - 1e-9 <= result.difference <= narrow.high + 1e-9, result
    if result.method == result.test or result.test == "randomization":
        assert not contradicts(wide, result.p_value), result
        assert (result.p_value < 0.1) != narrow.contains(0.0) or 0.0 in (narrow.low, narrow.high), result


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", SIZES)
def test_intervals_nest_around_the_estimate_and_agree_with_p(case: str, n: int) -> None:
    metric, draw = CASES[case]
    for seed in range(4 if n == 40 else 6):
        first, second = draw(np.random.default_rng(seed), n)
        check(compare((METRICS[metric],), first, second, asked=[metric])[metric])


@pytest.mark.thorough("scores many texts or draws")
@pytest.mark.parametrize("case", ["items", "shared credit", "perplexity", "divergence", "agreement to dense", "bleu"])
@pytest.mark.parametrize("n", [3, 40])
def test_intervals_of_groups_of_languages_nest_too(case: str, n: int) -> None:
    metric, draw = CASES[case]
    for seed in range(1 if n == 40 else 2):
        rng = np.random.default_rng(seed)
        predictions = {language: draw(rng, n) for language in ("en", "fr", "sw")}
        sums = language_sums(dict.fromkeys(predictions, METRICS[metric]), predictions)
        results = aggregate(sums, language_groups({name: name for name in predictions}))
        assert {result.group.kind for result in results} >= {"outside_english", "worst", "gap"}
        for result in results:
            check(result)


def test_every_method_of_the_registry_has_a_case() -> None:
    assert {METRICS[metric].inference for metric, _ in CASES.values()} == set(INFERENCE)


def test_predictions_about_other_items_cannot_be_compared() -> None:
    with refused(ShapeError, index=2, got="no more examples"):
        compare((METRICS["accuracy"],), answers([1, 0, 1]), answers([1, 0]))


def test_the_same_id_with_another_right_answer_is_another_item() -> None:
    first = answers([1, 0, 1])
    with refused(ShapeError, index=0):
        compare((METRICS["accuracy"],), first, replace(first, gold=1 - first.gold))
    partly = replace(first, gold=np.concatenate([first.gold[:2], 1 - first.gold[2:]]))
    task = TaskSpec("xnli", "fr", "test", longer="skip")
    assert [side.example_ids for side in on_shared_items(task, first, partly)] == [first.example_ids[:2]] * 2


def test_a_metric_of_no_items_is_an_error() -> None:
    with refused(ShapeError, expected="at least 1", got=0):
        measure((METRICS["bleu"],), Translations((), (), ()))


@pytest.mark.parametrize(("p_value", "is_contradiction"), [(0.05, False), (0.0499, True), (0.5, False)])
def test_a_p_value_of_exactly_the_level_does_not_reject_0(p_value: float, is_contradiction: bool) -> None:
    assert contradicts(Interval(-1.0, 1.0), p_value) is is_contradiction


def test_an_interval_that_ends_at_0_agrees_with_both_decisions() -> None:
    for interval in (Interval(0.0, 0.4), Interval(-0.4, 0.0)):
        assert not contradicts(interval, 0.01)
        assert not contradicts(interval, 0.2)
    assert contradicts(Interval(0.1, 0.4), 0.2)
    assert contradicts(Interval(0.0, 0.0), 0.01)


def limit_of(predictions: Predictions) -> str | None:
    value = measure((ACCURACY,), predictions)["accuracy"]
    return limit_reached(ACCURACY, value, chance_of(ACCURACY, predictions))


def test_chance_is_the_mean_of_1_by_the_number_of_candidates() -> None:
    predictions = with_scores([[-1.0, -2.0]] * 3 + [[-1.0, -2.0, -3.0, -4.0]] * 5, [0] * 8)
    chance = chance_of(ACCURACY, predictions)
    assert chance is not None
    assert chance.value == pytest.approx((3 / 2 + 5 / 4) / 8)
    assert chance.p_value == pytest.approx(0.5**3 * 0.25**5)


def test_with_the_same_candidates_for_all_items_chance_is_the_share_of_the_most_frequent_answer() -> None:
    predictions = with_scores([[-1.0, -2.0, -3.0]] * 10, [0] * 6 + [1] * 2 + [2] * 2)
    labels = replace(predictions, candidates=("yes", "no", "maybe") * 10)
    chance = chance_of(ACCURACY, labels)
    assert chance is not None
    assert (chance.value, chance.p_value) == pytest.approx((0.6, stats.binom.sf(5, 10, 0.6)))


def test_other_metrics_have_no_chance_level() -> None:
    assert chance_of(METRICS["ece"], answers([1, 0])) is None


def test_a_value_is_at_the_floor_if_it_is_not_above_chance_and_at_the_ceiling_if_it_may_be_perfect() -> None:
    rng = np.random.default_rng(0)
    assert limit_of(answers(rng.integers(0, 2, 40).tolist())) == "floor"
    assert limit_of(answers([1] * 40)) == "ceiling"
    assert limit_of(answers([1] * 34 + [0] * 6)) is None


def test_a_p_value_of_exactly_the_level_is_not_above_chance() -> None:
    value = measure((ACCURACY,), answers([1, 0] * 20))["accuracy"]
    assert limit_reached(ACCURACY, value, Chance(0.5, 0.05)) == "floor"
    assert limit_reached(ACCURACY, value, Chance(0.5, 0.0499)) is None


def test_a_calibration_error_is_at_its_best_at_0() -> None:
    metric = METRICS["ece"]
    value = measure((metric,), with_scores([[0.0, -1.0], [0.0, -1.0], [-1.0, 0.0]] * 20, [0] * 60))["ece"]
    assert value.interval is not None
    assert (limit_reached(metric, value, None) == "ceiling") == (value.interval.low == 0.0)
