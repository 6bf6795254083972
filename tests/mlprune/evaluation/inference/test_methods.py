"""Properties of all inference methods over random predictions: intervals nest, have the estimate and agree with p."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from mlprune.evaluation.inference.aggregates import Aggregate, aggregate
from mlprune.evaluation.inference.estimates import Difference, contradicts
from mlprune.evaluation.inference.language_groups import language_groups
from mlprune.evaluation.inference.language_sums import language_sums
from mlprune.evaluation.inference.methods import INFERENCE, compare
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import METRICS
from tests.mlprune.evaluation.inference.test_resampled import random_predictions
from tests.plain_inference import answers, texts

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
    "f1": ("f1_macro", labels),
    "calibration": ("ece", labels),
    "bleu": ("bleu", sentences),
    "chrf": ("chrf", sentences),
}
EXACT = ("tango", "sign_flip", "minima")
"""Tests whose intervals invert them."""


def check(result: Difference | Aggregate) -> None:
    """The 90 % interval is inside the 95 % one, both have the estimate, and 0 is outside exactly if p is small."""
    wide, narrow = result.interval, result.interval90
    assert wide.low <= narrow.low <= narrow.high <= wide.high, result
    if result.method != "debiased":  # an interval of the error without its bias, see `CalibrationInference`
        assert narrow.low - 1e-9 <= result.difference <= narrow.high + 1e-9, result
    if result.test in EXACT and result.method == result.test:
        assert not contradicts(wide, result.p_value), result
        assert (result.p_value < 0.1) != narrow.contains(0.0), result


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", SIZES)
def test_intervals_nest_around_the_estimate_and_agree_with_p(case: str, n: int) -> None:
    metric, draw = CASES[case]
    for seed in range(6):
        first, second = draw(np.random.default_rng(seed), n)
        check(compare((METRICS[metric],), first, second)[metric])


@pytest.mark.parametrize("case", ["items", "shared credit", "perplexity", "bleu"])
@pytest.mark.parametrize("n", [3, 40])
def test_intervals_of_groups_of_languages_nest_too(case: str, n: int) -> None:
    metric, draw = CASES[case]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        predictions = {language: draw(rng, n) for language in ("en", "fr", "sw")}
        sums = language_sums(dict.fromkeys(predictions, METRICS[metric]), predictions)
        results = aggregate(sums, language_groups({name: name for name in predictions}))
        assert {result.group.kind for result in results} >= {"outside_english", "worst", "gap"}
        for result in results:
            check(result)


def test_every_method_of_the_registry_has_a_case() -> None:
    assert {METRICS[metric].inference for metric, _ in CASES.values()} == set(INFERENCE)
