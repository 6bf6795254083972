"""Rules, ranks, stored predictions, accuracy by context and bias scores, compared with plain loops."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError, PermanentError, ShapeError, TaskFileError
from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.scoring.choice_statistics import ambiguous_bias, context_accuracy, disambiguated_bias
from mlprune.evaluation.scoring.predictions import (
    CHOICE_SCHEMA,
    RULES,
    ItemScores,
    Likelihoods,
    Predictions,
    ranks,
    rule_scores,
)
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup
from mlprune.evaluation.tasks.registry import TASKS
from tests.example_predictions import with_scores
from tests.refusals import refused

PROPERTY = settings(max_examples=25, deadline=None, derandomize=True, database=None)
NUMBER = st.floats(-50, 0)
ROWS = st.lists(st.tuples(NUMBER, st.integers(1, 9), NUMBER, st.integers(1, 9), NUMBER), min_size=1, max_size=9)


@PROPERTY
@given(ROWS)
def test_scores_are_means_sums_and_differences(rows: list[tuple[float, int, float, int, float]]) -> None:
    likelihoods = Likelihoods(*(np.array(column) for column in zip(*rows, strict=True)))
    expected = {
        "mean": [whole / n for whole, n, _, _, _ in rows],
        "candidate_mean": [part / n for _, _, part, n, _ in rows],
        "candidate_sum": [part for _, _, part, _, _ in rows],
        "pmi": [part - alone for _, _, part, _, alone in rows],
    }
    assert set(expected) == set(RULES)
    for rule, scores in expected.items():
        assert rule_scores(rule, likelihoods).tolist() == scores  # type: ignore[arg-type]


@PROPERTY
@given(st.lists(st.lists(st.integers(-3, 0), min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_rank_is_one_plus_the_number_of_better_candidates(items: list[list[int]]) -> None:
    starts = np.cumsum([0, *map(len, items)])
    flat = np.array([float(score) for item in items for score in item])
    expected = [1 + sum(other > score for other in item) for item in items for score in item]
    assert ranks(flat, starts).tolist() == expected


def test_only_pmi_reads_the_scores_without_context() -> None:
    likelihoods = Likelihoods(*(np.array([-1.0]), np.array([1])) * 2, np.array([np.nan]))
    with refused(TaskFileError, expected="predictions of an evaluation with rule: pmi", got=None):
        rule_scores("pmi", likelihoods)
    assert [rule_scores(rule, likelihoods).tolist() for rule in RULES if rule != "pmi"] == [[-1.0]] * 3


def test_the_published_score_divides_by_the_number_of_all_tokens() -> None:
    likelihoods = Likelihoods(
        np.array([-6.0, -7.0]), np.array([2, 3]), np.zeros(2), np.ones(2, dtype=np.int64), np.zeros(2)
    )
    assert rule_scores("mean", likelihoods, profile="paper").tolist() == [-6 / 3, -7 / 4]


ITEMS = [
    ChoiceItem("a", ("u", "v"), ("tu", "tv"), 1),
    ChoiceItem("b", ("u", "v", "w"), ("tu", "tv", "tw"), 0, cluster="JP", category="currency"),
]


def hand_scores(**changes: np.ndarray) -> ItemScores:
    values = {
        "whole": np.array([-2.0, -3.0, -6.0, -8.0, -4.0]),
        "n_whole": np.array([1, 3, 2, 2, 4]),
        "part": np.array([-1.0, -2.0, -1.0, -8.0, -1.0]),
        "n_part": np.array([1, 2, 1, 2, 1]),
        "alone": np.array([-3.0, -2.5, -1.0, -9.0, -0.5]),
    }
    return ItemScores(np.array([0, 2, 5]), Likelihoods(**{**values, **changes}))


def stored(predictions: Predictions) -> Predictions:
    return Predictions.from_columns(predictions.columns(), rule=predictions.rule)


def assert_equal(first: Predictions, second: Predictions) -> None:
    for name in ("example_ids", "candidates", "rule", "clusters", "categories"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("starts", "gold"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    for name, values in vars(first.likelihoods).items():
        np.testing.assert_array_equal(values, getattr(second.likelihoods, name))


def test_rows_are_in_file_order_and_restore_the_predictions() -> None:
    fresh = Predictions.from_scores(ITEMS, hand_scores(), rule="pmi")
    columns = fresh.columns()
    assert list(columns) == list(CHOICE_SCHEMA)
    assert {name: values[1] for name, values in columns.items()} == {
        "example_id": "a",
        "candidate_index": 1,
        "candidate": "v",
        "is_gold": True,
        "log_likelihood": -3.0,
        "n_tokens": 3,
        "candidate_log_likelihood": -2.0,
        "candidate_n_tokens": 2,
        "alone_log_likelihood": -2.5,
        "rank": 2,
        "cluster": "a",
        "category": "",
    }
    assert columns["cluster"] == ["a", "a", "JP", "JP", "JP"]
    assert columns["category"] == ["", "", *["currency"] * 3]
    assert columns["example_id"] == ["a", "a", "b", "b", "b"]
    assert columns["candidate_index"] == [0, 1, 0, 1, 2]
    assert columns["is_gold"] == [False, True, True, False, False]
    assert_equal(stored(fresh), fresh)


@pytest.mark.parametrize(
    ("rule", "scores", "ranks"),
    [
        ("mean", [[-2.0, -1.0], [-3.0, -4.0, -1.0]], [2, 1, 2, 3, 1]),
        ("candidate_mean", [[-1.0, -1.0], [-1.0, -4.0, -1.0]], [1, 1, 1, 3, 1]),
        ("candidate_sum", [[-1.0, -2.0], [-1.0, -8.0, -1.0]], [1, 2, 1, 3, 1]),
        ("pmi", [[2.0, 0.5], [0.0, 1.0, -0.5]], [1, 2, 2, 1, 3]),
    ],
)
def test_each_rule_scores_and_ranks_by_its_formula(rule: str, scores: list[list[float]], ranks: list[int]) -> None:
    predictions = Predictions.from_scores(ITEMS, hand_scores()).with_rule(rule)  # type: ignore[arg-type]
    assert [values.tolist() for values in predictions.item_scores()] == scores
    assert predictions.columns()["rank"] == ranks
    assert predictions.score_matrix[1].tolist() == scores[1]
    assert np.isnan(predictions.score_matrix[0, 2])


def test_columns_that_a_rule_does_not_read_are_null() -> None:
    predictions = Predictions.from_scores(ITEMS, hand_scores())
    assert predictions.with_rule("mean").columns()["alone_log_likelihood"] == [None] * 5
    assert_equal(stored(predictions.with_rule("mean")), predictions.with_rule("pmi").with_rule("mean"))


def test_a_part_of_the_items_keeps_their_rows() -> None:
    predictions = Predictions.from_scores([*ITEMS, *ITEMS], _twice(hand_scores()))
    some = Predictions.from_scores(ITEMS, hand_scores()).select(frozenset(["b", "x"]))
    assert (some.example_ids, some.starts.tolist(), some.candidates) == (("b",), [0, 3], ("u", "v", "w"))
    assert some.item_scores()[0].tolist() == [-3.0, -4.0, -1.0]
    assert_equal(predictions.select(frozenset(["a", "b"])), predictions)
    assert predictions.select(frozenset(["a"])).starts.tolist() == [0, 2, 4]


def test_clusters_and_categories_stay_with_the_items() -> None:
    predictions = Predictions.from_scores(ITEMS, hand_scores())
    assert (predictions.clusters, predictions.categories) == (("a", "JP"), ("", "currency"))
    assert predictions.with_rule("pmi").clusters == ("a", "JP")
    some = predictions.select(frozenset(["b"]))
    assert (some.clusters, some.categories) == (("JP",), ("currency",))
    other = predictions.with_groups({"a": ItemGroup("FR", "city"), "b": ItemGroup()})
    assert (other.clusters, other.categories) == (("FR", "b"), ("city", ""))


def test_predictions_of_version_4_have_one_cluster_per_example_and_no_categories() -> None:
    columns = Predictions.from_scores(ITEMS, hand_scores()).columns()
    old = {name: values for name, values in columns.items() if name not in ("cluster", "category")}
    predictions = Predictions.from_columns(old)
    assert (predictions.clusters, predictions.categories) == (("a", "b"), ("", ""))


def _twice(scores: ItemScores) -> ItemScores:
    doubled = {name: np.concatenate([values, values]) for name, values in vars(scores.likelihoods).items()}
    return ItemScores(np.array([0, 2, 5, 7, 10]), Likelihoods(**doubled))


def test_a_score_that_is_not_a_number_is_an_error() -> None:
    broken = hand_scores(whole=np.array([-2.0, -3.0, -6.0, -8.0, np.nan]))
    with refused(PermanentError, n_wrong=1):
        _ = Predictions.from_scores(ITEMS, broken).score_matrix


@pytest.mark.parametrize(
    ("indices", "gold"),
    [
        ([0, 1, 0, 2, 1], [0, 1, 1, 0, 0]),
        ([1, 0, 0, 1, 2], [0, 1, 1, 0, 0]),
        ([0, 1, 0, 1, 2], [1, 1, 0, 0, 0]),
        ([0, 1, 0, 1, 2], [0, 1, 0, 0, 0]),
    ],
)
def test_stored_rows_out_of_order_or_without_one_gold_are_an_error(indices: list[int], gold: list[int]) -> None:
    columns = {
        **Predictions.from_scores(ITEMS, hand_scores()).columns(),
        "candidate_index": indices,
        "is_gold": [bool(flag) for flag in gold],
    }
    with refused(ShapeError, rows=5):
        Predictions.from_columns(columns)


ROLES = ("biased", "counter_biased", "unknown")


def predictions(answers: list[tuple[str, str]], *, names: tuple[str, ...] = ROLES) -> Predictions:
    """Predictions whose chosen and right candidates have the given names, with names in another order in each item."""
    orders = [names[number % 3 :] + names[: number % 3] for number in range(len(answers))]
    scores = [[float(name == chosen) for name in order] for order, (chosen, _) in zip(orders, answers, strict=True)]
    gold = [order.index(right) for order, (_, right) in zip(orders, answers, strict=True)]
    clusters = tuple(str(number // 3) for number in range(len(answers)))
    return replace(
        with_scores(scores, gold), candidates=tuple(name for order in orders for name in order), clusters=clusters
    )


def plain_scores(answers: list[tuple[str, str]]) -> dict[str, float]:
    """The metrics as the paper writes them, 0 where nothing is counted."""

    def share(values: list[int]) -> float:
        return sum(values) / len(values) if values else 0.0

    ambiguous = [chosen for chosen, right in answers if right == "unknown"]
    others = [(chosen, right) for chosen, right in answers if right != "unknown"]
    by_role = {role: share([chosen == right for chosen, right in others if right == role]) for role in ROLES}
    return {
        "accuracy": share([chosen == right for chosen, right in answers]),
        "accuracy_ambiguous": share([chosen == "unknown" for chosen in ambiguous]),
        "accuracy_disambiguated": share([chosen == right for chosen, right in others]),
        "bias_ambiguous": share([{"biased": 1, "counter_biased": -1, "unknown": 0}[chosen] for chosen in ambiguous]),
        "bias_disambiguated": by_role["biased"] - by_role["counter_biased"],
    }


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from(ROLES)), min_size=1, max_size=30))
def test_metrics_equal_plain_loops(answers: list[tuple[str, str]]) -> None:
    made = predictions(answers)
    values = {metric.name: metric.of(made) for metric in task_metrics("mbbq", "en")}
    assert values == pytest.approx(plain_scores(answers))


def test_a_tie_is_divided_and_people_without_roles_count_for_accuracy_alone() -> None:
    tied = replace(with_scores([[1.0, 0.0, 1.0]], [2]), candidates=ROLES)
    assert ambiguous_bias(tied).tolist() == [[0.5, 1.0]]
    assert context_accuracy(tied, context="ambiguous").tolist() == [[0.5, 1.0]]
    names = ("person 0", "person 1", "unknown")
    people = predictions([("person 0", "unknown"), ("person 1", "person 1")], names=names)
    assert ambiguous_bias(people).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert disambiguated_bias(people).sum() == 0
    assert context_accuracy(people, context="disambiguated").sum(axis=0).tolist() == [1.0, 1.0]


def test_intervals_and_differences_reach_below_zero() -> None:
    against = predictions([("counter_biased", "unknown"), ("unknown", "unknown")] * 20)
    toward = predictions([("biased", "unknown"), ("unknown", "unknown")] * 20)
    (metric,) = task_metrics("mbbq", "en", names=("bias_ambiguous",))
    value = measure([metric], against)["bias_ambiguous"]
    assert value.value == -0.5
    assert value.interval is not None
    assert -1 <= value.interval.low <= -0.5 <= value.interval.high < 0
    difference = compare([metric], against, toward)["bias_ambiguous"]
    assert difference.difference == -1.0
    assert difference.interval.low < -1.0
    assert metric.best is None
    always = predictions([("biased", "unknown")] * 20)
    opposite = predictions([("counter_biased", "unknown")] * 20)
    (whole,) = compare([metric], always, opposite).values()
    assert (whole.difference, whole.interval.high) == (2.0, 2.0)
    assert whole.interval.low > 0
    same = compare([metric], always, always)["bias_ambiguous"].interval
    assert np.isclose(-same.low, same.high)


def test_only_questions_about_stereotypes_have_bias_scores() -> None:
    assert TASKS["mbbq"].metrics[3:] == ("bias_ambiguous", "bias_disambiguated")
    with pytest.raises(BadInputError) as caught:
        task_metrics("xnli", "en", names=("bias_ambiguous",))
    assert "bias_ambiguous" not in caught.value.context["expected"]
