"""Forecast of the batches of a search before any of them runs."""

from typing import NamedTuple

from mlprune.search.registry import SEARCH_METHODS
from mlprune.search.trials import EvaluatedTrial, ProposedTrial
from mlprune.steps.search.spec import SearchSpec


class Batch(NamedTuple):
    """A batch of trials that is expected."""

    rung: int
    n_trials: int


def forecast_batches(spec: SearchSpec) -> tuple[Batch, ...]:
    """Return the batches that a search will ask for, as far as their number and sizes do not depend on results.

    A method with rungs gets simulated results: earlier trials are better and no difference is significant. Methods
    that stop trials by rank need exactly these batches, and racing needs at most as many trials.
    """
    if SEARCH_METHODS[spec.method].uses_rungs:
        return _played(spec)
    settings = spec.settings
    affordable = settings.n_affordable((), settings.last_rung)
    n_trials = spec.space.n_points if affordable is None else min(affordable, spec.space.n_points)
    n_full, n_left = divmod(n_trials, spec.batch)
    sizes = [spec.batch] * n_full + ([n_left] if n_left else [])
    return tuple(Batch(settings.last_rung, size) for size in sizes)


def _played(spec: SearchSpec) -> tuple[Batch, ...]:
    method, history, batches = spec.build_method(), list[EvaluatedTrial](), list[Batch]()
    while asked := method.ask(history):
        history += [_expected_trial(spec, one, history, number=len(history) + index) for index, one in enumerate(asked)]
        batches.append(Batch(asked[0].rung, len(asked)))
    return tuple(batches)


def _expected_trial(
    spec: SearchSpec, asked: ProposedTrial, history: list[EvaluatedTrial], *, number: int
) -> EvaluatedTrial:
    """Return a trial whose objective is below that of all earlier ones, without significance."""
    settings = spec.settings
    after = max((trial.rung for trial in history if trial.point == asked.point), default=None)
    return EvaluatedTrial(
        number,
        asked.point,
        asked.rung,
        asked.parent,
        n_items=settings.rung_items[asked.rung],
        n_new_items=settings.n_new_items(asked.rung, after=after),
        objective=-float(number),
        violation=0.0,
        p_worse=0.5,
    )
