"""Racing and successive halving."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from mlprune.capabilities.search.strategy.method import (
    Budget,
    ItemBudget,
    Settings,
    VariantBudget,
    n_items_spent,
    winner,
)
from mlprune.capabilities.search.strategy.methods.halving import Halving, HalvingParameters
from mlprune.capabilities.search.strategy.methods.racing import Racing, RacingParameters
from mlprune.capabilities.search.strategy.space import Axis, Point, Space
from tests.simulated_search import evaluate_batch, run_search

SPACE = Space((Axis("a", tuple(range(11))),))
SETTINGS = Settings(parameters=RacingParameters(alpha=0.06), rung_items=(64, 256, 1024, 2000))


def p_worse(point: Point, best: Point, rung: int) -> float:
    """A p-value that falls with the distance from the best candidate and with the rung."""
    return float(0.5 * 10.0 ** -abs((best[0] - point[0]) * (rung + 1) / 2))


def test_alpha_is_divided_by_looks_and_by_comparisons() -> None:
    assert Racing(SPACE, SETTINGS).level == pytest.approx(0.06 / 3 / 10)
    assert Racing(SPACE, replace(SETTINGS, budget=VariantBudget(5))).level == pytest.approx(0.06 / 3 / 4)


def test_candidates_are_dropped_at_the_level_only() -> None:
    history = run_search(Racing(SPACE, SETTINGS), SETTINGS, lambda point, _: point[0], p_worse=p_worse)
    kept = [[trial.point[0] for trial in history if trial.rung == rung] for rung in range(4)]
    assert kept == [list(range(11)), [6, 7, 8, 9, 10], [8, 9, 10], [9, 10]]


def test_without_p_values_nothing_is_dropped_and_a_single_candidate_goes_on_to_all_items() -> None:
    history = run_search(Racing(SPACE, SETTINGS), SETTINGS, lambda point, _: point[0])
    assert len(history) == 44
    settings = replace(SETTINGS, budget=VariantBudget(1))
    assert [trial.rung for trial in run_search(Racing(SPACE, settings), settings, lambda *_: 0.0)] == [3]


def test_no_candidate_is_dropped_by_an_incumbent_that_misses_a_constraint() -> None:
    history = run_search(
        Racing(SPACE, SETTINGS), SETTINGS, lambda point, _: point[0], p_worse=lambda *_: 0.0, violation=lambda _: 0.1
    )
    assert len(history) == 44


@pytest.mark.parametrize("n_items", [2000, 2100, 4000, 9000, 15000])
@pytest.mark.parametrize("reuses_items", [True, False])
def test_a_budget_of_items_is_kept_and_reaches_all_items(n_items: int, reuses_items: bool) -> None:
    settings = replace(SETTINGS, budget=ItemBudget(n_items), reuses_items=reuses_items)
    history = run_search(Racing(SPACE, settings), settings, lambda point, _: point[0], p_worse=p_worse)
    assert history[-1].rung == 3
    assert n_items_spent(history) <= n_items


def test_every_decision_has_its_reason() -> None:
    settings = replace(SETTINGS, budget=ItemBudget(5000))
    method = Racing(SPACE, settings)
    batch = evaluate_batch(method.ask(()), (), settings, objective=lambda point, _: point[0], violation=lambda _: 0.0)
    batch = [
        trial if trial.number == 10 else replace(trial, p_worse=0.001 if trial.number < 2 else 0.5) for trial in batch
    ]
    decisions = method.decide((), batch)
    kept = [trial.number for trial, one in zip(batch, decisions, strict=True) if one.is_kept]
    assert [batch[number].point for number in kept] == [trial.point for trial in method.ask(batch)]
    assert len({one.reason for one in decisions}) == 4
    assert "0.001" in decisions[0].reason


def test_the_best_candidate_is_dropped_with_at_most_the_stated_probability() -> None:
    """Eleven equal candidates, the hardest case: a drop of the first one is an error."""
    settings = replace(SETTINGS, parameters=RacingParameters(alpha=0.2))
    n_dropped = sum(_drops_the_first(settings, seed) for seed in range(200))
    assert 0 < n_dropped <= 0.2 * 200


def _drops_the_first(settings: Settings, seed: int) -> bool:
    """Run a race between equal candidates with independent normal scores of their items, and exact tests."""
    items = np.random.default_rng(seed).normal(size=(11, 2000))
    means = [items[:, :n_items].mean(axis=1) for n_items in settings.rung_items]

    def p_worse(point: Point, best: Point, rung: int) -> float:
        difference = means[rung][point[0]] - means[rung][best[0]]
        return float(ndtr(difference * np.sqrt(settings.rung_items[rung] / 2)))

    method = Racing(SPACE, settings)
    history = run_search(method, settings, lambda point, rung: float(means[rung][point[0]]), p_worse=p_worse)
    return all(trial.point != (0,) for trial in history if trial.rung == settings.last_rung)


FORTY = Space((Axis("a", tuple(range(40))),))
HALVING = Settings(parameters=HalvingParameters(eta=4), rung_items=(64, 256, 1024, 2000))


def test_the_best_quarter_goes_on_at_each_rung() -> None:
    history = run_search(Halving(FORTY, HALVING), HALVING, lambda point, rung: -abs(point[0] - 20 - rung))
    assert [trial.point[0] for trial in history if trial.rung == 1] == list(range(15, 25))
    assert [trial.point[0] for trial in history if trial.rung == 2] == [20, 21]
    assert Counter(trial.rung for trial in history) == {0: 40, 1: 10, 2: 2, 3: 1}
    best = winner(history)
    assert best is not None
    assert best.parent is not None
    assert history[best.parent].point == best.point
    assert best.n_new_items == 976


def test_ties_are_broken_by_number_and_infeasible_candidates_come_last() -> None:
    settings = replace(HALVING, rung_items=(64, 2000))
    history = run_search(
        Halving(FORTY, settings), settings, lambda *_: 1.0, violation=lambda point: 0.1 * (point[0] % 2 == 0)
    )
    assert [trial.point[0] for trial in history if trial.rung == 1] == list(range(1, 20, 2))


@pytest.mark.parametrize(
    "budget", [ItemBudget(2000), ItemBudget(2064), ItemBudget(5000), ItemBudget(9999), VariantBudget(7)]
)
@pytest.mark.parametrize("reuses_items", [True, False])
def test_the_budget_is_kept_and_the_last_rung_is_reached(budget: Budget, reuses_items: bool) -> None:
    settings = replace(HALVING, budget=budget, reuses_items=reuses_items)
    history = run_search(Halving(FORTY, settings), settings, lambda point, _: point[0])
    assert history[-1].rung == 3
    if isinstance(budget, ItemBudget):
        assert n_items_spent(history) <= budget.n_items
    else:
        assert len({trial.point for trial in history}) == budget.n_variants


def test_candidates_of_a_budget_depend_on_the_seed() -> None:
    settings = replace(HALVING, budget=VariantBudget(8))
    asked = [Halving(FORTY, replace(settings, seed=seed)).ask(()) for seed in (0, 0, 1)]
    assert asked[0] == asked[1] != asked[2]
    assert {len({trial.point for trial in batch}) for batch in asked} == {8}


def test_decisions_are_the_promotions() -> None:
    method = Halving(FORTY, HALVING)
    batch = evaluate_batch(method.ask(()), (), HALVING, objective=lambda point, _: point[0], violation=lambda _: 0.0)
    kept = [trial.point for trial, one in zip(batch, method.decide((), batch), strict=True) if one.is_kept]
    assert kept == [trial.point for trial in method.ask(batch)] == [(index,) for index in range(30, 40)]
