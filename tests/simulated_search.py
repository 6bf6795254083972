"""Simulated searches: a method proposes and receives trials until it has finished; tests define the objective."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mlprune.capabilities.search.strategy.method import (
    EvaluatedTrial,
    ProposedTrial,
    SearchMethod,
    Settings,
    incumbent,
    points_of,
)
from mlprune.capabilities.search.strategy.space import Point

MAX_BATCHES = 10_000


def run_search(
    method: SearchMethod,
    settings: Settings,
    objective: Callable[[Point, int], float],
    *,
    violation: Callable[[Point], float] = lambda _: 0.0,
    p_worse: Callable[[Point, Point, int], float] | None = None,
) -> list[EvaluatedTrial]:
    """Run a search and return its trials, after checks that hold for every method.

    Args:
        objective: (point, rung) -> value.
        p_worse: (point, point of the incumbent, rung) -> p-value.
    """
    history: list[EvaluatedTrial] = []
    for _ in range(MAX_BATCHES):
        asked = method.ask(tuple(history))
        if not asked:
            break
        batch = evaluate_batch(asked, history, settings, objective=objective, violation=violation)
        best = incumbent(history, batch)
        if p_worse is not None:
            batch = [
                trial if trial == best else replace(trial, p_worse=p_worse(trial.point, best.point, trial.rung))
                for trial in batch
            ]
        decisions = method.decide(history, batch)
        assert len(decisions) == len(batch)
        assert all(decision.reason for decision in decisions)
        history += batch
    else:
        raise AssertionError("the search does not end")
    check_history(history)
    check_replay(method, history)
    return history


def evaluate_batch(
    asked: Sequence[ProposedTrial],
    history: Sequence[EvaluatedTrial],
    settings: Settings,
    *,
    objective: Callable[[Point, int], float],
    violation: Callable[[Point], float],
) -> list[EvaluatedTrial]:
    """Evaluate a batch."""
    rungs = {trial.point: trial.rung for trial in history}
    return [
        EvaluatedTrial(
            number=len(history) + position,
            point=trial.point,
            rung=trial.rung,
            parent=trial.parent,
            n_items=settings.rung_items[trial.rung],
            n_new_items=settings.n_new_items(trial.rung, after=rungs.get(trial.point)),
            objective=objective(trial.point, trial.rung),
            violation=violation(trial.point),
        )
        for position, trial in enumerate(asked)
    ]


def check_history(history: Sequence[EvaluatedTrial]) -> None:
    """Check that no point was proposed twice at a rung, and that parents were evaluated before."""
    asked = [(trial.point, trial.rung) for trial in history]
    assert len(set(asked)) == len(asked)
    assert all(trial.parent is None or trial.parent < trial.number for trial in history)
    assert set(points_of(history)) == {trial.point for trial in history}


def check_replay(method: SearchMethod, history: Sequence[EvaluatedTrial]) -> None:
    """Check that the last batch is proposed again after the same history, whatever was proposed in between."""
    before = history[: max((trial.number for trial in history if trial.rung != history[-1].rung), default=-1) + 1]
    asked = method.ask(before)
    assert [(trial.point, trial.rung, trial.parent) for trial in history[len(before) :]][: len(asked)] == [
        (trial.point, trial.rung, trial.parent) for trial in asked
    ]
