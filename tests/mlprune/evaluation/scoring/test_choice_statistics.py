"""Accuracy by context and bias scores against plain loops over the answers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.errors import BadInputError
from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.scoring.choice_statistics import ambiguous_bias, context_accuracy, disambiguated_bias
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.task_metrics import task_metrics
from mlprune.evaluation.tasks.registry import TASKS
from tests.example_predictions import with_scores

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
