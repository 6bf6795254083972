"""Promotion over rungs and its cost."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from mlprune.search.method import ItemBudget, Settings, VariantBudget
from mlprune.search.rungs import group_cost, largest_group, last_batch, n_promoted, next_rung, promoted
from mlprune.search.trials import EvaluatedTrial

SETTINGS = Settings(rung_items=(64, 256, 1024, 2000))
TRIAL = EvaluatedTrial(0, (0,), 0, None, n_items=10, n_new_items=10, objective=0.5, violation=0.0)


def test_a_share_goes_on_and_at_least_one() -> None:
    assert [n_promoted(n, 4.0) for n in (64, 17, 5, 3, 1)] == [16, 4, 1, 1, 1]
    assert [next_rung(n, SETTINGS, after=0) for n in (2, 1)] == [1, 3]


def test_the_cost_of_a_group_counts_the_items_of_each_rung_once() -> None:
    assert group_cost(64, SETTINGS, eta=4) == 64 * 64 + 16 * 192 + 4 * 768 + 976
    assert group_cost(64, replace(SETTINGS, reuses_items=False), eta=4) == 64 * 64 + 16 * 256 + 4 * 1024 + 2000
    assert group_cost(5, SETTINGS, eta=4) == 5 * 64 + 1936
    assert group_cost(1, SETTINGS, eta=4) == 2000


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
    assert largest_group(history, replace(SETTINGS, budget=VariantBudget(4)), most=9, eta=4) == 3
    assert largest_group(history, replace(SETTINGS, budget=ItemBudget(2110)), most=9, eta=4) == 1
    assert largest_group(history, replace(SETTINGS, budget=ItemBudget(2109)), most=9, eta=4) == 0
    assert largest_group(history, SETTINGS, most=9, eta=4) == 9


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
