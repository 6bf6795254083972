"""Metrics against plain loops and by-hand examples."""

import hashlib
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, PermanentError, ShapeError
from mlprune.numeric.metrics import (
    choice_credit,
    classification_metrics,
    expected_calibration_error,
    perplexity,
    predicted,
    rank_consistency,
)

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def keys_of(item: int, n: int) -> list[str]:
    return [hashlib.sha256(f"{item}:{candidate}".encode()).hexdigest() for candidate in range(n)]


def test_the_prediction_is_the_highest_score_and_of_equal_ones_the_earlier() -> None:
    assert predicted(np.array([-3.0, -1.0, -2.0])) == 1
    assert predicted(np.array([-3.0, -1.0, -1.0])) == 1
    assert predicted(np.array([-math.inf, -math.inf])) == 0


def test_credit_is_shared_by_a_top_tie_that_includes_gold() -> None:
    scores = np.array([-1.0, -2.0, -1.0, -1.0])
    assert [choice_credit(scores, gold) for gold in range(4)] == [1 / 3, 0.0, 1 / 3, 1 / 3]
    assert choice_credit(np.array([-2.0, -1.0]), 1) == 1.0


def test_credits_over_all_candidates_add_up_to_one() -> None:
    for scores in ([0.0], [1.0, 1.0], [3.0, 1.0, 3.0, 2.0]):
        assert math.fsum(choice_credit(np.array(scores), gold) for gold in range(len(scores))) == pytest.approx(1.0)


def test_an_item_without_candidates_or_with_a_score_that_is_no_number_is_an_error() -> None:
    for function in (predicted, lambda scores: choice_credit(scores, 0)):
        with pytest.raises(ShapeError, match="no candidate"):
            function(np.array([]))
        with pytest.raises(PermanentError, match="not a number"):
            function(np.array([0.0, math.nan]))


@pytest.mark.parametrize("gold", [-1, 2])
def test_gold_that_is_no_candidate_is_an_error(gold: int) -> None:
    with pytest.raises(ShapeError, match="gold is no candidate"):
        choice_credit(np.array([0.0, 1.0]), gold)


def looped_classification(gold: list[int], predictions: list[int], n_labels: int) -> dict[str, float]:
    pairs = list(zip(gold, predictions, strict=True))
    rows = []
    for label in range(n_labels):
        hits = sum(g == p == label for g, p in pairs)
        n_gold, n_predicted = gold.count(label), predictions.count(label)
        precision = hits / n_predicted if n_predicted else 0.0
        recall = hits / n_gold if n_gold else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        if n_gold + n_predicted:
            rows.append((n_gold, {"precision": precision, "recall": recall, "f1": f1}))
    expected = {"accuracy": sum(g == p for g, p in pairs) / len(pairs)}
    for name in ("precision", "recall", "f1"):
        expected[f"{name}_macro"] = sum(values[name] for _, values in rows) / len(rows)
        expected[f"{name}_weighted"] = sum(n * values[name] for n, values in rows) / len(pairs)
    return expected


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25))
def test_classification_metrics_equal_their_definitions_written_as_loops(pairs: list[tuple[int, int]]) -> None:
    gold, predictions = [g for g, _ in pairs], [p for _, p in pairs]
    metrics = classification_metrics(np.array(gold), np.array(predictions), 4)
    assert metrics == pytest.approx(looped_classification(gold, predictions, 4), abs=1e-12)


def test_labels_that_never_occur_do_not_lower_a_macro_mean() -> None:
    metrics = classification_metrics(np.array([0, 0]), np.array([0, 0]), 3)
    assert set(metrics.values()) == {1.0}


def test_a_label_only_predicted_counts_as_zero_in_macro_and_nothing_in_weighted() -> None:
    metrics = classification_metrics(np.array([0, 0]), np.array([0, 1]), 3)
    assert metrics["precision_macro"] == 0.5
    assert metrics["precision_weighted"] == 1.0
    assert metrics["recall_macro"] == 0.25


@pytest.mark.parametrize(("gold", "predictions"), [([], []), ([0], [0, 1]), ([0, 3], [0, 0]), ([0, 0], [0, -1])])
def test_labels_that_are_none_unpaired_or_unknown_are_an_error(gold: list[int], predictions: list[int]) -> None:
    with pytest.raises(ShapeError):
        classification_metrics(np.array(gold, dtype=np.int64), np.array(predictions, dtype=np.int64), 3)


def looped_calibration_error(confidence: list[float], correct: list[bool], n_bins: int) -> float:
    error = 0.0
    for index in range(n_bins):
        low, high = index / n_bins, (index + 1) / n_bins
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (index == 0 and c == 0)]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            error += len(inside) / len(confidence) * abs(accuracy - mean)
    return error


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30), st.integers(1, 12))
def test_the_calibration_error_equals_its_definition_written_as_loops(pairs, n_bins: int) -> None:
    confidence, correct = [twentieths / 20 for twentieths, _ in pairs], [right for _, right in pairs]
    value = expected_calibration_error(np.array(confidence), np.array(correct), n_bins)
    assert value == pytest.approx(looped_calibration_error(confidence, correct, n_bins), abs=1e-12)


def test_confidence_that_is_no_probability_is_an_error() -> None:
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(PermanentError, match="confidence"):
            expected_calibration_error(np.array([0.5, value]), np.array([True, True]))


def test_calibration_without_bins_or_with_unpaired_items_is_an_error() -> None:
    with pytest.raises(BadInputError, match="no bin"):
        expected_calibration_error(np.array([0.5]), np.array([True]), 0)
    with pytest.raises(ShapeError):
        expected_calibration_error(np.array([0.5]), np.array([True, False]))
    with pytest.raises(ShapeError):
        expected_calibration_error(np.array([]), np.array([]))


def test_perplexity_is_over_tokens_not_over_texts() -> None:
    value = perplexity(np.array([-2.0, -10.0]), np.array([1, 3]))
    assert value == pytest.approx(math.exp(3.0))


def test_perplexity_of_a_uniform_model_is_its_vocabulary() -> None:
    n_tokens = np.array([4, 9, 1])
    assert perplexity(-n_tokens * math.log(50), n_tokens) == pytest.approx(50)


def test_perplexity_of_an_impossible_text_is_infinite() -> None:
    assert perplexity(np.array([-math.inf]), np.array([2])) == math.inf
    assert perplexity(np.array([-1e6]), np.array([2])) == math.inf


def test_perplexity_of_nothing_or_of_no_number_is_an_error() -> None:
    for values, counts in (([], []), ([-1.0], [0]), ([-1.0], [1, 2])):
        with pytest.raises(ShapeError):
            perplexity(np.array(values), np.array(counts, dtype=np.int64))
    with pytest.raises(PermanentError, match="not a number"):
        perplexity(np.array([math.nan]), np.array([1]))


def looped_consistency(scores_a, scores_b, tie_keys) -> tuple[float, int]:
    values = []
    for a, b, keys in zip(scores_a, scores_b, tie_keys, strict=True):
        if len(a) != len(b):
            continue
        n = len(a)
        orders = [sorted(range(n), key=lambda c, s=scores: (-s[c], keys[c])) for scores in (a, b)]
        total = sum(math.exp(n - k) for k in range(1, n + 1))
        value = 0.0
        for j in range(1, n + 1):
            value += math.exp(n - j) / total * len(set(orders[0][:j]) & set(orders[1][:j])) / j
        values.append(value)
    return (sum(values) / len(values) if values else math.nan), len(values)


CANDIDATES = st.integers(1, 5).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-3, 0).map(float), min_size=n, max_size=n)] * 2)
)


@PROPERTY
@given(st.lists(CANDIDATES, min_size=1, max_size=8))
def test_rank_consistency_equals_its_double_loop_with_ties_and_mixed_sizes(items) -> None:
    a, b = [item[0] for item in items], [item[1] for item in items]
    keys = [keys_of(i, len(scores)) for i, scores in enumerate(a)]
    value, n_items = rank_consistency([np.array(s) for s in a], [np.array(s) for s in b], keys)
    expected, n_expected = looped_consistency(a, b, keys)
    assert n_items == n_expected
    assert value == pytest.approx(expected, abs=1e-12)


@PROPERTY
@given(st.lists(CANDIDATES, min_size=1, max_size=8))
def test_identical_rankings_have_consistency_one(items) -> None:
    scores = [np.array(item[0]) for item in items]
    value, n_items = rank_consistency(scores, scores, [keys_of(i, s.size) for i, s in enumerate(scores)])
    assert value == pytest.approx(1.0, abs=1e-12)
    assert n_items == len(items)


def test_candidates_are_ranked_by_descending_score() -> None:
    a, b = [np.array([3.0, 2.0, 1.0])], [np.array([3.0, 1.0, 2.0])]
    value, _ = rank_consistency(a, b, [keys_of(0, 3)])
    weights = [math.exp(2), math.exp(1), 1.0]
    assert value == pytest.approx((weights[0] + weights[1] / 2 + weights[2]) / sum(weights))  # the best one is shared


def test_equal_scores_are_ranked_by_tie_key_and_not_by_position() -> None:
    tied, ordered = [np.array([0.0, 0.0])], [np.array([1.0, 0.0])]
    assert rank_consistency(tied, ordered, [["b", "a"]])[0] < 1
    assert rank_consistency(tied, ordered, [["a", "b"]])[0] == pytest.approx(1)


def test_items_whose_candidate_counts_differ_are_left_out() -> None:
    a, b = [np.array([2.0, 1.0]), np.zeros(3)], [np.array([5.0, 4.0]), np.zeros(2)]
    assert rank_consistency(a, b, [keys_of(0, 2), keys_of(1, 3)]) == (pytest.approx(1.0), 1)


def test_without_a_usable_item_the_value_is_not_a_number() -> None:
    value, n_items = rank_consistency([np.zeros(3)], [np.zeros(2)], [keys_of(0, 3)])
    assert math.isnan(value)
    assert n_items == 0


def test_a_thousand_candidates_do_not_overflow_the_weights() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 1000))
    value, _ = rank_consistency([scores[0]], [scores[1]], [keys_of(0, 1000)])
    assert 0 <= value < 1
    assert rank_consistency([scores[0]], [scores[0]], [keys_of(0, 1000)])[0] == pytest.approx(1.0)


def test_consistency_of_400_items_takes_milliseconds() -> None:
    scores = np.random.default_rng(0).normal(size=(2, 400, 6))
    keys = [keys_of(i, 6) for i in range(400)]
    started = time.process_time()
    rank_consistency(list(scores[0]), list(scores[1]), keys)
    assert time.process_time() - started < 0.1


def test_items_that_do_not_fit_each_other_are_an_error() -> None:
    one = [np.array([1.0, 0.0])]
    with pytest.raises(ShapeError, match="items do not fit"):
        rank_consistency(one, one * 2, [keys_of(0, 2)])
    with pytest.raises(ShapeError, match="tie keys"):
        rank_consistency(one, one, [keys_of(0, 3)])
    with pytest.raises(ShapeError, match="no candidate"):
        rank_consistency([np.array([])], [np.array([])], [[]])
    with pytest.raises(PermanentError, match="not a number"):
        rank_consistency(one, [np.array([1.0, math.nan])], [keys_of(0, 2)])
