"""Metrics as sums of statistics, compared with plain loops and sacreBLEU."""

import math

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, ShapeError
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import (
    METRICS,
    PASS_RATES,
    SHARED_TIES,
    Metric,
    bleu_metric,
    signature,
    task_metrics,
)
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.vocabulary import METRIC_TRAITS
from tests.example_predictions import whole_texts, with_scores
from tests.plain_metrics import plain_calibration_error, plain_classification, plain_credit
from tests.refusals import refused

MEANS = ("macro", "weighted")
PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)

OUTPUTS = (
    "the cat sat on the mat",
    "Hello , world !",
    "",
    "a b c d e f",
    "我喜欢猫。",
    "the the the",
    "same text here",
)
REFERENCES = (
    "the cat is on the mat",
    "Hello, world!",
    "nothing",
    "a b c d x f",
    "我喜欢狗。",
    "the dog",
    "same text here",
)


def value_of(metric: Metric, predictions: Predictions | Translations) -> float:
    return float(metric.value(metric.statistics(predictions).sum(axis=0)))


SCORE = st.sampled_from([-0.5, -1.0, -1.25, -3.0])


@PROPERTY
@given(st.lists(st.tuples(st.lists(SCORE, min_size=3, max_size=3), st.integers(0, 2)), min_size=1, max_size=30))
def test_label_metrics_equal_the_reference_with_the_earlier_label_on_ties(
    items: list[tuple[list[float], int]],
) -> None:
    scores, gold = [row for row, _ in items], [right for _, right in items]
    predictions = with_scores(scores, gold)
    guesses = [max(range(3), key=lambda label: (row[label], -label)) for row in scores]
    expected = plain_classification(gold, guesses, 3)
    for name in ("accuracy", *(f"{quantity}_{mean}" for quantity in ("f1", "precision", "recall") for mean in MEANS)):
        assert value_of(METRICS[name], predictions) == pytest.approx(expected[name], abs=1e-12)


@PROPERTY
@given(
    st.lists(st.tuples(st.lists(SCORE, min_size=1, max_size=6), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_shared_ties_give_each_top_candidate_its_share(items: list[tuple[list[float], int]]) -> None:
    scores, gold = [row for row, _ in items], [right % len(row) for row, right in items]
    predictions = with_scores(scores, gold)
    parts = [plain_credit(row, right) for row, right in zip(scores, gold, strict=True)]
    statistics = SHARED_TIES["accuracy"](predictions)
    assert statistics[:, 0].tolist() == parts
    assert statistics[:, 1].tolist() == [1.0] * len(parts)


@PROPERTY
@given(
    st.lists(st.tuples(st.lists(st.floats(-5, 0), min_size=2, max_size=4), st.integers(0, 3)), min_size=1, max_size=30),
)
def test_calibration_error_equals_the_reference(items: list[tuple[list[float], int]]) -> None:
    scores, gold = [row for row, _ in items], [right % len(row) for row, right in items]
    predictions = with_scores(scores, gold)
    confidences, correct = [], []
    for row, right in zip(predictions.item_scores(), gold, strict=True):
        odds = [math.exp(score - max(row)) for score in row]
        confidences.append(1.0 / np.nansum(odds))
        correct.append(int(np.argmax(row)) == right)
    expected = plain_calibration_error(confidences, correct)
    assert value_of(METRICS["ece"], predictions) == pytest.approx(expected, abs=1e-9)


def test_calibration_of_shared_ties_counts_the_share() -> None:
    predictions = with_scores([[-1.0, -1.0], [-1.0, -1.0]], [0, 1])
    shared = next(metric for metric in task_metrics("facts", "fr") if metric.name == "ece")
    assert value_of(shared, predictions) == pytest.approx(0.0, abs=1e-12)
    one_item = with_scores([[-1.0, -1.0]], [0])
    assert value_of(METRICS["ece"], one_item) == pytest.approx(0.5)
    assert value_of(shared, one_item) == pytest.approx(0.0)


def test_calibration_of_sums_takes_the_probability_of_the_answer_that_the_rule_chose() -> None:
    """By the mean of tokens the first candidate is chosen, by their sum the second is likelier."""
    starts, n_tokens = np.array([0, 2, 4]), np.array([8, 2, 2, 2])
    sums = np.array([-8.0, -4.0, -1.0, -3.0])
    predictions = whole_texts("ab", starts, gold=np.array([0, 1]), log_likelihoods=sums, n_tokens=n_tokens)
    first, second = (math.exp(a) / (math.exp(a) + math.exp(b)) for a, b in ((-8, -4), (-1, -3)))
    assert value_of(METRICS["ece_sum"], predictions) == pytest.approx(((1 - first) + second) / 2)
    tied = with_scores([[-1.0, -1.0]], [0])
    shared = task_metrics("facts", "fr", names=("ece_sum",))[0]
    assert value_of(shared, tied) == pytest.approx(0.0)


def test_items_of_different_label_counts_have_no_label_metric() -> None:
    with refused(ShapeError, expected=3, got="fewer"):
        METRICS["f1_macro"].statistics(with_scores([[-1.0, -2.0], [-1.0, -2.0, -3.0]], [0, 0]))


def test_perplexity_is_of_the_whole_split() -> None:
    log_likelihoods, n_tokens = np.array([-3.0, -10.0, -0.5]), np.array([2, 5, 1])
    predictions = whole_texts(
        "abc", np.arange(4), gold=np.zeros(3, dtype=np.int64), log_likelihoods=log_likelihoods, n_tokens=n_tokens
    )
    assert value_of(METRICS["perplexity"], predictions) == pytest.approx(math.exp(13.5 / 8), rel=1e-12)


def translations(indices: list[int]) -> Translations:
    ids = tuple(str(number) for number in range(len(indices)))
    return Translations(ids, tuple(OUTPUTS[i] for i in indices), tuple(REFERENCES[i] for i in indices))


@PROPERTY
@given(st.lists(st.integers(0, len(OUTPUTS) - 1), min_size=1, max_size=12), st.sampled_from(["en", "zh", "zh-Hant"]))
def test_bleu_and_chrf_are_exactly_those_of_sacrebleu(indices: list[int], target: str) -> None:
    predictions = translations(indices)
    hypotheses, references = list(predictions.outputs), [list(predictions.references)]
    tokenizer = "13a" if target == "en" else "zh"
    bleu = sacrebleu.corpus_bleu(hypotheses, references, tokenize=tokenizer, force=True)
    assert value_of(bleu_metric(target), predictions) == min(1.0, bleu.score / 100)
    assert value_of(METRICS["chrf"], predictions) == sacrebleu.corpus_chrf(hypotheses, references).score / 100


def test_bleu_of_equal_texts_is_1_and_not_more() -> None:
    text = "the cat sat on the mat ."
    equal = Translations(("a", "b"), (text, text), (text, text))
    assert sacrebleu.corpus_bleu([text] * 2, [[text] * 2]).score > 100
    sums = bleu_metric("en").statistics(equal)
    assert value_of(bleu_metric("en"), equal) == 1.0
    assert bleu_metric("en").value(sums).max() == 1.0


def test_overlap_metrics_take_many_sums_at_once() -> None:
    statistics = METRICS["chrf"].statistics(translations(list(range(len(OUTPUTS)))))
    both = np.stack([statistics.sum(axis=0), statistics[:2].sum(axis=0)])
    values = METRICS["chrf"].value(both)
    assert values.tolist() == [float(METRICS["chrf"].value(row)) for row in both]
    assert values[0] != values[1]


def test_an_exact_match_only_ignores_surrounding_space() -> None:
    predictions = Translations(("a", "b", "c", "d"), ("x", " x", "X", "x y"), ("x", "x ", "x", "x  y"))
    assert value_of(METRICS["exact_match"], predictions) == 0.5


def test_signatures_name_the_tokenizer() -> None:
    assert "tok:zh" in signature("bleu", "zh")
    assert "tok:13a" in signature("bleu", "sw")
    assert "nc:6" in signature("chrf", "sw")
    assert all("nrefs:1" in signature(name, "en") for name in ("bleu", "chrf"))


def test_a_task_has_its_own_metrics_or_those_that_are_asked_for() -> None:
    for name, task in TASKS.items():
        assert tuple(metric.name for metric in task_metrics(name, "en")) == task.metrics
    assert {metric.name for name in TASKS for metric in task_metrics(name, "zh")} == set(METRICS) - {
        "ece_sum",
        *PASS_RATES,
        *(name for name, traits in METRIC_TRAITS.items() if traits.key),
    }
    assert [metric.name for metric in task_metrics("facts", "en", names=("f1_weighted", "ece"))] == [
        "f1_weighted",
        "ece",
    ]


def test_only_metrics_of_sacrebleu_have_a_signature() -> None:
    signatures = {metric.name: metric.signature for metric in task_metrics("translation", "zh")}
    assert (signatures["bleu"], signatures["chrf"]) == (signature("bleu", "zh"), signature("chrf", "zh"))
    assert signatures["exact_match"] is None
    assert all(metric.signature is None for metric in task_metrics("xnli", "zh"))


@pytest.mark.parametrize(("task", "name"), [("xnli", "bleu"), ("facts", "acuracy"), ("translation", "accuracy")])
def test_a_metric_that_a_task_cannot_have_is_an_error(task: str, name: str) -> None:
    with refused(BadInputError, got=name):
        task_metrics(task, "en", names=(name,))


def test_every_metric_has_traits_and_errors_are_better_when_lower() -> None:
    assert set(METRICS) == set(METRIC_TRAITS)
    assert {name for name, metric in METRICS.items() if not metric.higher_is_better} == {
        "perplexity",
        "ece",
        "ece_sum",
        "bias_ambiguous",
        "bias_disambiguated",
        "divergence",
        "divergence_per_character",
        "log_prob_change",
        "removed_mass",
    }


def test_the_metrics_of_a_task_can_be_computed_on_its_items() -> None:
    for task in TASKS.values():
        assert all(task.reads in METRIC_TRAITS[name].reads for name in task.metrics)
