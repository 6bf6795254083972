"""Order of trials."""

from dataclasses import replace
from itertools import pairwise
from math import inf, nan

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.capabilities.search.strategy.method import (
    EvaluatedTrial,
    ItemBudget,
    Settings,
    VariantBudget,
    best_so_far,
    group_cost,
    incumbent,
    largest_group,
    last_batch,
    n_items_spent,
    n_promoted,
    next_rung,
    points_of,
    promoted,
    rank_key,
    ranked,
    winner,
)

TRIAL = EvaluatedTrial(0, (0,), 0, None, n_items=10, n_new_items=10, objective=0.5, violation=0.0)


def test_feasible_trials_come_first_then_violation_objective_and_number() -> None:
    trials = [
        replace(TRIAL, number=7, objective=0.9),
        replace(TRIAL, number=5),
        replace(TRIAL, number=6),
        replace(TRIAL, number=4, objective=-inf),
        replace(TRIAL, number=3, objective=2.0, violation=0.1),
        replace(TRIAL, number=2, objective=3.0, violation=0.2),
        replace(TRIAL, number=1, objective=9.0, violation=nan),
    ]
    assert ranked(reversed(trials)) == trials
    assert all(rank_key(first) < rank_key(second) for first, second in pairwise(trials))
    assert [trial.is_feasible for trial in trials] == [True] * 4 + [False] * 3


def test_an_objective_that_is_not_a_number_is_the_lowest() -> None:
    assert rank_key(replace(TRIAL, number=9, objective=-1e300)) < rank_key(replace(TRIAL, objective=nan))


def test_the_incumbent_was_evaluated_at_the_rung_of_the_batch() -> None:
    higher = replace(TRIAL, number=1, rung=1, objective=0.2)
    batch = [replace(TRIAL, number=2, objective=0.4), replace(TRIAL, number=3, objective=0.3)]
    assert incumbent([TRIAL, higher], batch) == TRIAL
    assert incumbent([higher], batch) == batch[0]


def test_the_winner_is_the_best_of_the_highest_rung() -> None:
    finals = [replace(TRIAL, number=n, rung=2, objective=0.1 * n, violation=0.1 * (n > 2)) for n in (1, 2, 3)]
    assert winner([TRIAL, *finals]) == finals[1]
    assert winner([TRIAL]) == TRIAL
    assert winner([]) is None


METHOD_TRIAL = EvaluatedTrial(0, (0,), 0, None, n_items=64, n_new_items=64, objective=0.5, violation=0.0)
HISTORY = (
    METHOD_TRIAL,
    replace(METHOD_TRIAL, number=1, point=(1,)),
    replace(METHOD_TRIAL, number=2, rung=1, n_items=256, n_new_items=192),
)
SETTINGS = Settings(rung_items=(64, 256, 1000))


def test_items_of_lower_rungs_are_scored_once() -> None:
    assert SETTINGS.n_new_items(2, after=None) == 1000
    assert SETTINGS.n_new_items(2, after=1) == 744
    assert replace(SETTINGS, reuses_items=False).n_new_items(2, after=1) == 1000
    assert SETTINGS.last_rung == 2


def test_a_budget_of_variants_counts_different_points() -> None:
    assert points_of(HISTORY) == ((0,), (1,))
    settings = replace(SETTINGS, budget=VariantBudget(3))
    assert settings.n_affordable(HISTORY, 2) == 1
    assert replace(settings, budget=VariantBudget(1)).n_affordable(HISTORY, 0) == 0


def test_a_budget_of_items_counts_items_that_were_scored() -> None:
    assert n_items_spent(HISTORY) == 320
    settings = replace(SETTINGS, budget=ItemBudget(1000))
    assert [settings.n_affordable(HISTORY, rung) for rung in range(3)] == [10, 2, 0]
    assert replace(settings, budget=ItemBudget(100)).n_affordable(HISTORY, 0) == 0
    assert SETTINGS.n_affordable(HISTORY, 0) is None


def test_the_best_trial_so_far_is_kept() -> None:
    better = replace(METHOD_TRIAL, number=3, objective=0.7)
    worse = replace(METHOD_TRIAL, number=4, objective=0.1)
    decisions = best_so_far((METHOD_TRIAL,), (better, worse))
    assert [decision.is_kept for decision in decisions] == [True, False]
    assert "3" in decisions[1].reason
    assert [decision.is_kept for decision in best_so_far((METHOD_TRIAL,), (worse,))] == [False]


RUNGS_SETTINGS = Settings(rung_items=(64, 256, 1024, 2000))


def test_a_share_goes_on_and_at_least_one() -> None:
    assert [n_promoted(n, 4.0) for n in (64, 17, 5, 3, 1)] == [16, 4, 1, 1, 1]
    assert [next_rung(n, RUNGS_SETTINGS, after=0) for n in (2, 1)] == [1, 3]


def test_the_cost_of_a_group_counts_the_items_of_each_rung_once() -> None:
    assert group_cost(64, RUNGS_SETTINGS, eta=4) == 64 * 64 + 16 * 192 + 4 * 768 + 976
    assert group_cost(64, replace(RUNGS_SETTINGS, reuses_items=False), eta=4) == 64 * 64 + 16 * 256 + 4 * 1024 + 2000
    assert group_cost(5, RUNGS_SETTINGS, eta=4) == 5 * 64 + 1936
    assert group_cost(1, RUNGS_SETTINGS, eta=4) == 2000


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 200_000), st.floats(1.01, 8), st.booleans(), st.sets(st.integers(1, 3000), min_size=1, max_size=4)
)
def test_the_largest_group_is_the_largest_one_within_the_budget(
    n_items: int, eta: float, is_reusing: bool, rungs: set[int]
) -> None:
    search = Settings(budget=ItemBudget(n_items), reuses_items=is_reusing, rung_items=tuple(sorted(rungs)))
    size = largest_group((), search, most=100, eta=eta)
    assert size == 0 or group_cost(size, search, eta=eta) <= n_items
    assert size == 100 or group_cost(size + 1, search, eta=eta) > n_items


def test_spent_variants_and_items_make_groups_smaller() -> None:
    history = (TRIAL, replace(TRIAL, number=1, rung=1, n_new_items=100))
    assert largest_group(history, replace(RUNGS_SETTINGS, budget=VariantBudget(4)), most=9, eta=4) == 3
    assert largest_group(history, replace(RUNGS_SETTINGS, budget=ItemBudget(2110)), most=9, eta=4) == 1
    assert largest_group(history, replace(RUNGS_SETTINGS, budget=ItemBudget(2109)), most=9, eta=4) == 0
    assert largest_group(history, RUNGS_SETTINGS, most=9, eta=4) == 9


def test_the_last_batch_has_the_rung_of_the_last_trial() -> None:
    history = [replace(TRIAL, number=number, rung=rung) for number, rung in enumerate((0, 0, 1, 0, 0, 0))]
    assert [trial.number for trial in last_batch(history)] == [3, 4, 5]
    assert last_batch(history[:2]) == history[:2]
    assert last_batch(()) == ()


def test_equal_trials_are_promoted_by_number() -> None:
    batch = [
        replace(TRIAL, number=number, objective=objective) for number, objective in enumerate((0.1, 0.5, 0.5, 0.5))
    ]
    assert [trial.number for trial in promoted(batch[::-1], 2)] == [1, 2]
