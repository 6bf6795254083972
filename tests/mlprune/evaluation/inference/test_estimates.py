"""When an interval and a p-value disagree."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mlprune.errors import ShapeError
from mlprune.evaluation.inference.estimates import Chance, chance_of, contradicts, limit_reached
from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS
from mlprune.numeric.statistics.clusters import Interval
from mlprune.steps.evaluate.results import on_shared_items
from mlprune.steps.tasks.task_spec import TaskSpec
from tests.example_predictions import with_scores
from tests.plain_inference import answers
from tests.refusals import refused


def test_predictions_about_other_items_cannot_be_compared() -> None:
    with refused(ShapeError, index=2, got="no more examples"):
        compare((METRICS["accuracy"],), answers([1, 0, 1]), answers([1, 0]))


def test_the_same_id_with_another_right_answer_is_another_item() -> None:
    first = answers([1, 0, 1])
    second = replace(first, gold=1 - first.gold)
    with refused(ShapeError, index=0):
        compare((METRICS["accuracy"],), first, second)
    partly = replace(first, gold=np.concatenate([first.gold[:2], 1 - first.gold[2:]]))
    task = TaskSpec("xnli", "fr", "test", longer="skip")
    assert [side.example_ids for side in on_shared_items(task, first, partly)] == [first.example_ids[:2]] * 2


def test_a_metric_of_no_items_is_an_error() -> None:
    with refused(ShapeError, expected="at least 1", got=0):
        measure((METRICS["bleu"],), Translations((), (), ()))


@pytest.mark.parametrize(("p_value", "is_contradiction"), [(0.05, False), (0.0499, True), (0.5, False)])
def test_a_p_value_of_exactly_the_level_does_not_reject_0(p_value: float, is_contradiction: bool) -> None:
    assert contradicts(Interval(-1.0, 1.0), p_value) is is_contradiction


ACCURACY = METRICS["accuracy"]


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
