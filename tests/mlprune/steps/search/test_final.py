"""The optimism of a winner over stored answers of two splits, compared with plain loops."""

from collections.abc import Iterator

import numpy as np
import pytest

from mlprune.numeric.statistics.bootstrap import bca_interval, cluster_resamples
from mlprune.search.objective_parser import parse_objective
from mlprune.steps.search.final import optimism_columns
from mlprune.steps.search.measured_sums import read_measured_sums
from mlprune.steps.search.values import BatchValues
from mlprune.store.store import Store
from tests.mlprune.steps.choices.stored_answers import write_candidate

N = {"dev": 20, "test": 30}
KEPT = np.array([1.0, 0.5])
OBJECTIVE = "fr - 0.1 * kept"


def right_answers(split: str, candidate: int) -> np.ndarray:
    share = {"dev": (0.5, 0.7), "test": (0.5, 0.55)}[split][candidate]
    return (np.random.default_rng(2 * N[split] + candidate).random(N[split]) < share).astype(float)


def gains(split: str, weights: np.ndarray) -> float:
    """The winner's gain over dense with a weight for each item."""
    means = [float((right_answers(split, candidate) * weights).sum() / weights.sum()) for candidate in (0, 1)]
    return means[1] - means[0] + 0.1 * (KEPT[0] - KEPT[1])


def left_out(split: str) -> Iterator[float]:
    for item in range(N[split]):
        yield gains(split, np.arange(N[split]) != item)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BatchValues]:
    store = Store(tmp_path_factory.mktemp("answers"))
    written = [
        write_candidate(store, name, {split: {"fr": right_answers(split, index).tolist()} for split in N}, cluster={})
        for index, name in enumerate(("dense", "winner"))
    ]
    objective = parse_objective(OBJECTIVE)
    measured = dict.fromkeys(objective.measures, ("facts", "accuracy"))
    evaluations = {"dev": [one.dev for one in written], "test": [one.test for one in written]}
    others = [tuple(one.dev.values()) for one in written]  # further evaluations of the task do not count
    return {
        split: BatchValues(
            objective,
            1.0,
            measured,
            read_measured_sums(
                store, [(*one.values(), *more) for one, more in zip(of_split, others, strict=True)], measured.values()
            ),
            KEPT,
        )
        for split, of_split in evaluations.items()
    }


def test_optimism_and_its_interval_are_those_of_independent_resamples_of_both_splits(
    values: dict[str, BatchValues],
) -> None:
    found = optimism_columns(values["dev"], values["test"])
    dev, test = (gains(split, np.ones(N[split])) for split in N)
    resampled = {split: np.array([gains(split, counts) for counts in cluster_resamples(N[split])]) for split in N}
    without = {split: np.array(list(left_out(split))) for split in N}
    jackknife = [dev - test + without["dev"] - without["dev"].mean()]
    jackknife.append(dev - test - without["test"] + without["test"].mean())
    expected = bca_interval(resampled["dev"] - np.roll(resampled["test"], 1), dev - test, np.concatenate(jackknife))
    assert found["optimism"] == pytest.approx(dev - test)
    assert (found["optimism_ci_low"], found["optimism_ci_high"]) == pytest.approx((expected.low, expected.high))


def test_without_a_winner_or_another_split_there_is_no_optimism(values: dict[str, BatchValues]) -> None:
    empty = dict.fromkeys(("optimism", "optimism_ci_low", "optimism_ci_high"))
    assert optimism_columns(None, values["test"]) == optimism_columns(values["dev"], None) == empty
