"""The model over languages: errors from intervals, correlations from shared clusters, and what cannot be pooled."""

import numpy as np
import pytest

from mlprune.evaluation.inference.language_sums import LanguageGroup, language_sums
from mlprune.evaluation.inference.methods import compare
from mlprune.evaluation.inference.pooled_languages import PooledLanguages, pool_languages
from mlprune.evaluation.task_metrics import METRICS
from mlprune.numeric.statistics.partial_pooling import partial_pooling
from tests.plain_inference import answers

ACCURACY = METRICS["accuracy"]
LANGUAGES = ("ar", "fr", "sw")


def pooled(changes: dict[str, list[int]]) -> PooledLanguages | None:
    """The model of languages in which each item was gained (1), lost (-1) or kept."""
    both = {
        name: (answers([float(x == 1) for x in of]), answers([float(x == -1) for x in of]))
        for name, of in changes.items()
    }
    differences = {name: compare((ACCURACY,), *pair)["accuracy"] for name, pair in both.items()}
    sums = language_sums(dict.fromkeys(both, ACCURACY), both)
    return pool_languages(sums, LanguageGroup("outside_english", "", tuple(changes)), differences)


def drawn(seed: int, n: int = 40) -> list[int]:
    return np.random.default_rng(seed).choice([-1, 0, 1], n, p=[0.3, 0.5, 0.2]).tolist()


def test_errors_are_those_of_the_intervals_and_correlated_as_the_items_are() -> None:
    changes = {"ar": drawn(1), "fr": drawn(2), "sw": [0] * 40}
    model = pooled(changes)
    assert model is not None
    table = np.array([changes[name] for name in LANGUAGES], dtype=float)
    assert model.differences == pytest.approx(table.mean(axis=1))
    correlations = np.eye(3)
    correlations[0, 1] = correlations[1, 0] = np.corrcoef(table[:2])[0, 1]
    assert (model.errors > 0.01).all()
    expected = partial_pooling(table.mean(axis=1), np.outer(model.errors, model.errors) * correlations)
    assert model.pooled.effects == pytest.approx(expected.effects)
    assert model.pooled.mean_interval.high == pytest.approx(expected.mean_interval.high)


def test_languages_with_the_same_answers_know_their_mean_no_better_than_one_of_them() -> None:
    same = pooled(dict.fromkeys(LANGUAGES, drawn(3)))
    apart = pooled({"ar": drawn(3), "fr": drawn(3)[::-1], "sw": [*drawn(3)[20:], *drawn(3)[:20]]})
    assert same is not None
    assert apart is not None
    assert same.differences == pytest.approx(apart.differences)
    assert same.pooled.mean_interval.width > 1.2 * apart.pooled.mean_interval.width


def test_two_languages_are_not_pooled() -> None:
    assert pooled({"fr": drawn(1), "sw": drawn(2)}) is None
