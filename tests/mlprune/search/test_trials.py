"""Order of trials."""

from dataclasses import replace
from itertools import pairwise
from math import inf, nan

from mlprune.search.trials import EvaluatedTrial, incumbent, rank_key, ranked, winner

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
