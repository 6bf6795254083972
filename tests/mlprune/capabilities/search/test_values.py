"""Values of objectives and the optimism of a winner over stored answers, compared with plain loops."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from statistics import fmean

import numpy as np
import pytest

from mlprune.capabilities.search.final import optimism_columns
from mlprune.capabilities.search.measured_sums import MeasuredSums, read_measured_sums
from mlprune.capabilities.search.strategy.objective import Group, Measure
from mlprune.capabilities.search.strategy.objective_parser import parse_constraint, parse_objective
from mlprune.capabilities.search.values import BatchValues, linear_weights
from mlprune.languages import ENGLISH as LANGUAGES_ENGLISH
from mlprune.numeric.statistics.bootstrap import bca_interval, cluster_resamples
from mlprune.store.store import Store
from tests.mlprune.steps.choices.stored_answers import item_ids, write_candidate

OUTSIDE, ENGLISH = Measure(None, None, Group("outside_english")), Measure(None, None, Group("language", "en"))
PERPLEXITY = Measure(None, "perplexity", Group("all"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("outside_english", {OUTSIDE: 1.0}),
        ("2 * (outside_english - 0.25 * english) + 3", {OUTSIDE: 2.0, ENGLISH: -0.5}),
        ("outside_english - 0.1 * kept + log(kept) * kept", {OUTSIDE: 1.0}),
        ("outside_english - outside_english", {OUTSIDE: 0.0}),
        ("0.5 * log(perplexity(all)) + english", {PERPLEXITY: 0.5, ENGLISH: 1.0}),
        ("kept", {}),
    ],
)
def test_an_objective_that_is_linear_in_its_means_has_their_weights(text: str, expected: dict[Measure, float]) -> None:
    assert linear_weights(parse_objective(text), {PERPLEXITY}) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "outside_english * english",
        "outside_english * kept",
        "min(outside_english, english)",
        "max(outside_english, 0)",
        "log(english)",
        "perplexity(all)",
    ],
)
def test_other_objectives_have_none(text: str) -> None:
    assert linear_weights(parse_objective(text), {PERPLEXITY}) is None


LANGUAGES = ("en", "fr", "sw")
CANDIDATES = ("dense", "best", "other", "worst")
N = 14
CLUSTER = {"dev0": "FR", "dev1": "FR", "dev2": "DE", "dev3": "DE"}
NAMES = [CLUSTER.get(name, name) for name in item_ids("dev", N)]
CLUSTERS = list(dict.fromkeys(NAMES))
KEPT = (1.0, 0.5, 0.4, 0.3)
Answers = Mapping[str, np.ndarray]


def right_answers(candidate: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(candidate)
    shares = {"en": 0.9, "fr": 0.9 - 0.15 * candidate, "sw": 0.8 - 0.15 * candidate}
    return {language: (generator.random(N) < share).astype(float) for language, share in shares.items()}


@pytest.fixture(scope="module")
def sums(tmp_path_factory: pytest.TempPathFactory) -> MeasuredSums:
    store = Store(tmp_path_factory.mktemp("answers"))
    written = []
    for index, name in enumerate(CANDIDATES):
        right = {"dev": {language: values.tolist() for language, values in right_answers(index).items()}}
        written.append(write_candidate(store, name, right, cluster=CLUSTER))
    return read_measured_sums(store, [tuple(one.dev.values()) for one in written], [("facts", "accuracy")])


def batch_of(sums: MeasuredSums, text: str, *, sign: float = 1.0, constraints: tuple[str, ...] = ()) -> BatchValues:
    objective = parse_objective(text)
    bounds = [measure for bound in constraints for measure in parse_constraint(bound).measures]
    measured: dict[Measure, tuple[str, str]] = dict.fromkeys((*objective.measures, *bounds), ("facts", "accuracy"))
    return BatchValues(objective, sign, measured, sums, np.array(KEPT))


def outside(values: Mapping[str, float]) -> float:
    return fmean(value for language, value in values.items() if language != LANGUAGES_ENGLISH)


OBJECTIVES: Mapping[str, Callable[[Mapping[str, float], float], float]] = {
    "outside_english - 0.1 * kept": lambda values, kept: outside(values) - 0.1 * kept,
    "worst": lambda values, _: min(values.values()),
    "min(outside_english, english) * kept": lambda values, kept: min(outside(values), values["en"]) * kept,
    "sw": lambda values, _: values["sw"],
}


def plain_value(text: str, candidate: int, weights: np.ndarray) -> float:
    """The objective of one candidate with a weight for each item."""
    means = {
        language: float((answers * weights).sum() / weights.sum())
        for language, answers in right_answers(candidate).items()
    }
    return OBJECTIVES[text](means, KEPT[candidate])


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize("text", OBJECTIVES)
def test_values_and_intervals_are_those_of_plain_loops_over_items_and_resamples(sums: MeasuredSums, text: str) -> None:
    batch = batch_of(sums, text)
    counts = cluster_resamples(len(CLUSTERS))[:, [CLUSTERS.index(name) for name in NAMES]]
    for candidate in (1, 3):
        value = plain_value(text, candidate, np.ones(N))
        assert batch.observed[candidate] == pytest.approx(value)
        resampled = np.array([plain_value(text, candidate, weights) for weights in counts])
        left_out = [plain_value(text, candidate, np.array([name != one for name in NAMES])) for one in CLUSTERS]
        expected = bca_interval(resampled, value, np.array(left_out))
        found = batch.interval(candidate)
        assert found is not None
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_constraints_are_missed_by_what_plain_sums_say(sums: MeasuredSums) -> None:
    bounds = ("english >= dense - 0.01", "outside_english >= 0.5", "kept <= 0.4")
    batch = batch_of(sums, "worst", constraints=bounds)
    means = [{name: float(one.mean()) for name, one in right_answers(index).items()} for index in range(len(KEPT))]
    expected = [
        max(0.0, means[0]["en"] - 0.01 - one["en"]) + max(0.0, 0.5 - outside(one)) + max(0.0, kept - 0.4)
        for one, kept in zip(means, KEPT, strict=True)
    ]
    found = batch.violations([parse_constraint(bound) for bound in bounds])
    assert found == pytest.approx(expected)
    assert max(expected) > 0


def test_the_p_value_of_a_linear_objective_is_that_of_all_sign_vectors(sums: MeasuredSums) -> None:
    text, best = "outside_english - 0.1 * kept", 1
    for sign in (1.0, -1.0):
        (found,) = batch_of(sums, text, sign=sign).p_worse([3], best)
        ours, theirs = right_answers(3), right_answers(best)
        effects = [
            sum(
                fmean(ours[one][item] - theirs[one][item] for one in ("fr", "sw")) / N - 0.1 * (KEPT[3] - KEPT[1]) / N
                for item in range(N)
                if NAMES[item] == cluster
            )
            for cluster in CLUSTERS
        ]
        observed = sum(effects)
        drawn = [sign * sum(np.multiply(signs, effects)) for signs in product((1, -1), repeat=len(effects))]
        below = sum(one < sign * observed - 1e-9 for one in drawn)
        equal = sum(abs(one - sign * observed) <= 1e-9 for one in drawn)
        assert found == pytest.approx((0.5 + below + 0.5 * equal) / len(drawn))
        assert (found < 0.5) == (sign * observed < 0)


def test_the_p_value_of_another_objective_is_counted_from_resamples(sums: MeasuredSums) -> None:
    found = batch_of(sums, "worst").p_worse([2, 3], 1)
    counts = cluster_resamples(len(CLUSTERS))[:, [CLUSTERS.index(name) for name in NAMES]]
    best = [plain_value("worst", 1, weights) for weights in counts]
    for p_value, candidate in zip(found, (2, 3), strict=True):
        others = [plain_value("worst", candidate, weights) for weights in counts]
        differences = [other - one for other, one in zip(others, best, strict=True)]
        better = sum(one > 1e-12 for one in differences) + 0.5 * sum(abs(one) <= 1e-12 for one in differences)
        assert p_value == pytest.approx((1 + better) / 2000, abs=2e-3)  # ties differ by rounding


def test_an_objective_without_measures_has_no_interval_and_prefers_what_keeps_less(sums: MeasuredSums) -> None:
    batch = batch_of(sums, "kept", sign=-1.0)
    assert batch.observed.tolist() == list(KEPT)
    assert batch.interval(1) is None
    (p_value,) = batch.p_worse([1], 3)
    assert p_value < 0.01


SIZES = {"dev": 20, "test": 30}
KEPT_SHARES = np.array([1.0, 0.5])
OBJECTIVE = "fr - 0.1 * kept"


def answers_of_split(split: str, candidate: int) -> np.ndarray:
    share = {"dev": (0.5, 0.7), "test": (0.5, 0.55)}[split][candidate]
    return (np.random.default_rng(2 * SIZES[split] + candidate).random(SIZES[split]) < share).astype(float)


def gains(split: str, weights: np.ndarray) -> float:
    """The winner's gain over dense with a weight for each item."""
    means = [float((answers_of_split(split, candidate) * weights).sum() / weights.sum()) for candidate in (0, 1)]
    return means[1] - means[0] + 0.1 * (KEPT_SHARES[0] - KEPT_SHARES[1])


def left_out(split: str) -> Iterator[float]:
    for item in range(SIZES[split]):
        yield gains(split, np.arange(SIZES[split]) != item)


@pytest.fixture(scope="module")
def of_splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BatchValues]:
    store = Store(tmp_path_factory.mktemp("answers"))
    written = []
    for index, name in enumerate(("dense", "winner")):
        right = {split: {"fr": answers_of_split(split, index).tolist()} for split in SIZES}
        written.append(write_candidate(store, name, right, cluster={}))
    objective = parse_objective(OBJECTIVE)
    measured = dict.fromkeys(objective.measures, ("facts", "accuracy"))
    evaluations = {"dev": [one.dev for one in written], "test": [one.test for one in written]}
    others = [tuple(one.dev.values()) for one in written]  # further evaluations of the task do not count
    found = {}
    for split, of_split in evaluations.items():
        read = [(*one.values(), *more) for one, more in zip(of_split, others, strict=True)]
        sums = read_measured_sums(store, read, measured.values())
        found[split] = BatchValues(objective, 1.0, measured, sums, KEPT_SHARES)
    return found


def test_optimism_and_its_interval_are_those_of_independent_resamples_of_both_splits(
    of_splits: dict[str, BatchValues],
) -> None:
    found = optimism_columns(of_splits["dev"], of_splits["test"])
    dev, test = (gains(split, np.ones(SIZES[split])) for split in SIZES)
    resampled = {
        split: np.array([gains(split, counts) for counts in cluster_resamples(SIZES[split])]) for split in SIZES
    }
    without = {split: np.array(list(left_out(split))) for split in SIZES}
    jackknife = [dev - test + without["dev"] - without["dev"].mean()]
    jackknife.append(dev - test - without["test"] + without["test"].mean())
    expected = bca_interval(resampled["dev"] - np.roll(resampled["test"], 1), dev - test, np.concatenate(jackknife))
    assert found["optimism"] == pytest.approx(dev - test)
    assert (found["optimism_ci_low"], found["optimism_ci_high"]) == pytest.approx((expected.low, expected.high))


def test_without_a_winner_or_another_split_there_is_no_optimism(of_splits: dict[str, BatchValues]) -> None:
    empty = dict.fromkeys(("optimism", "optimism_ci_low", "optimism_ci_high"))
    assert optimism_columns(None, of_splits["test"]) == optimism_columns(of_splits["dev"], None) == empty
