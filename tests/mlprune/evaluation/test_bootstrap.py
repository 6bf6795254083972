"""Intervals and comparisons, compared with an explicit bootstrap of one resample at a time."""

import numpy as np
import pytest
import sacrebleu
from scipy import stats

from mlprune.errors import BadInputError, ShapeError
from mlprune.evaluation.bootstrap import compare, measure
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS, task_metrics
from mlprune.numeric.evaluation.significance import resampled_indices
from tests.example_predictions import whole_texts, with_scores
from tests.plain_metrics import plain_classification, plain_perplexity

N = 40


def random_predictions(seed: int, n: int = N) -> Predictions:
    rng = np.random.default_rng(seed)
    gold = np.random.default_rng(0).integers(0, 3, n)
    scores = rng.normal(-5.0, 1.0, (n, 3))
    scores[np.arange(n), gold] += 0.7
    ids = tuple(str(number) for number in range(n))
    starts, n_tokens = np.arange(0, 3 * n + 1, 3), np.full(3 * n, 4)
    return whole_texts(ids, starts, gold=gold, log_likelihoods=scores.reshape(-1) * 4, n_tokens=n_tokens)


def guesses(predictions: Predictions) -> np.ndarray:
    return np.array([int(np.argmax(scores)) for scores in predictions.item_scores()])


def resampled(predictions: Predictions, name: str) -> np.ndarray:
    guessed = guesses(predictions)
    draws = resampled_indices(N, n_resamples=1000, seed=0)
    return np.array([plain_classification(predictions.gold[drawn], guessed[drawn], 3)[name] for drawn in draws])


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "precision_macro"])
def test_intervals_equal_those_of_a_plain_bootstrap(name: str) -> None:
    predictions = random_predictions(1)
    got = measure(METRICS[name], predictions)
    low, high = np.quantile(resampled(predictions, name), [0.025, 0.975])
    assert got.value == pytest.approx(plain_classification(predictions.gold, guesses(predictions), 3)[name])
    assert (got.ci_low, got.ci_high) == pytest.approx((low, high), abs=1e-12)
    assert got.n == N
    assert got == measure(METRICS[name], predictions)


def test_differences_are_paired_and_their_normal_p_value_is_of_the_resamples() -> None:
    first, second = random_predictions(1), random_predictions(2)
    got = compare(METRICS["f1_macro"], first, second)
    differences = resampled(first, "f1_macro") - resampled(second, "f1_macro")
    low, high = np.quantile(differences, [0.025, 0.975])
    assert (got.ci_low, got.ci_high) == pytest.approx((low, high), abs=1e-12)
    assert got.p_value == pytest.approx(2 * stats.norm.cdf(-abs(got.difference) / differences.std()))
    back = compare(METRICS["f1_macro"], second, first)
    assert (back.difference, back.ci_low, back.p_value) == pytest.approx((-got.difference, -got.ci_high, got.p_value))


def test_accuracy_is_compared_by_the_exact_test() -> None:
    first, second = random_predictions(1), random_predictions(3)
    right = [guesses(each) == each.gold for each in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    got = compare(METRICS["accuracy"], first, second)
    assert got.difference == pytest.approx((only_first - only_second) / N)
    assert only_first + only_second > 0
    assert got.p_value == pytest.approx(stats.binomtest(only_first, only_first + only_second).pvalue)


def test_a_shared_tie_is_not_a_right_answer_in_the_exact_test() -> None:
    accuracy = next(metric for metric in task_metrics("facts", "fr") if metric.name == "accuracy")
    tied, right = (with_scores(scores, [0, 0]) for scores in ([[-1.0, -1.0]] * 2, [[-1.0, -2.0]] * 2))
    got = compare(accuracy, right, tied)
    assert (got.difference, got.p_value) == (0.5, 0.5)


def test_predictions_do_not_differ_from_themselves() -> None:
    predictions = random_predictions(1)
    for metric in task_metrics("xnli", "fr"):
        got = compare(metric, predictions, predictions)
        assert (got.difference, got.ci_low, got.ci_high, got.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_perplexity_is_resampled_by_text() -> None:
    rng = np.random.default_rng(4)
    n_tokens = rng.integers(3, 20, N)
    log_likelihoods = -2.0 * n_tokens * rng.uniform(0.8, 1.2, N)
    ids = tuple(map(str, range(N)))
    predictions = whole_texts(
        ids, np.arange(N + 1), gold=np.zeros(N, dtype=np.int64), log_likelihoods=log_likelihoods, n_tokens=n_tokens
    )
    draws = resampled_indices(N, n_resamples=1000, seed=0)
    values = [plain_perplexity(log_likelihoods[drawn], n_tokens[drawn]) for drawn in draws]
    got = measure(METRICS["perplexity"], predictions)
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), rel=1e-12)
    assert got.ci_low < got.value < got.ci_high


def test_translation_metrics_are_resampled_as_corpora() -> None:
    words = list("abcdefghij")
    rng = np.random.default_rng(5)
    references = tuple(" ".join(rng.choice(words, 8)) for _ in range(12))
    outputs = tuple(
        " ".join([*reference.split()[: 2 + number % 6], "z"]) for number, reference in enumerate(references)
    )
    translations = Translations(tuple(map(str, range(12))), outputs, references)
    got = measure(METRICS["bleu"], translations)
    draws = resampled_indices(12, n_resamples=1000, seed=0)[:50]
    statistics = METRICS["bleu"].statistics(translations)
    for drawn in draws:
        whole = sacrebleu.corpus_bleu([outputs[i] for i in drawn], [[references[i] for i in drawn]], force=True)
        assert float(METRICS["bleu"].value(statistics[drawn].sum(axis=0))) == whole.score / 100
    assert got.ci_low < got.value < got.ci_high
    other = Translations(translations.example_ids, references, references)
    assert compare(METRICS["bleu"], other, translations).difference == pytest.approx(1.0 - got.value)


def test_predictions_about_other_examples_cannot_be_compared() -> None:
    first, shorter = random_predictions(1), random_predictions(1, n=N - 1)
    with pytest.raises(ShapeError, match="different examples") as caught:
        compare(METRICS["accuracy"], first, shorter)
    assert caught.value.context == {"index": N - 1, "expected": str(N - 1), "got": "no more examples"}


def test_a_metric_of_no_examples_is_an_error() -> None:
    with pytest.raises(BadInputError, match="nothing to resample"):
        measure(METRICS["bleu"], Translations((), (), ()))
