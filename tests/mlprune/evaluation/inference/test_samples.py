import pytest

from mlprune.errors import ShapeError
from mlprune.evaluation.inference.methods import compare, measure
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS
from tests.plain_inference import answers


def test_predictions_about_other_items_cannot_be_compared() -> None:
    with pytest.raises(ShapeError, match="different examples") as caught:
        compare((METRICS["accuracy"],), answers([1, 0, 1]), answers([1, 0]))
    assert caught.value.context == {"index": 2, "expected": "2", "got": "no more examples"}


def test_a_metric_of_no_items_is_an_error() -> None:
    with pytest.raises(ShapeError, match="needs items"):
        measure((METRICS["bleu"],), Translations((), (), ()))
