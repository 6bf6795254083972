"""Searches on the tiny model whose evaluations are played: a test says which answers a variant gets right."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlprune.capabilities.search.part import Searches
from mlprune.capabilities.search.strategy.space import Point
from mlprune.planning import Plan, extend_plan, pending_jobs
from mlprune.steps.evaluate.model_evaluation import VariantsJob
from mlprune.steps.evaluate.results import write_evaluation
from mlprune.steps.job import Job
from mlprune.store.store import Store
from tests.plain_inference import answers
from tests.tiny_recipes import plan_of, write_facts, write_recipe

N_DEV, N_TEST = 16, 24
ShareOfRight = Callable[[Point | None, str], float]
"""(point of a trial, or None for another variant; language) -> share of its answers that are right."""
Choose = Callable[[Sequence[Job]], int]
"""Jobs that can run -> index of the one that runs next."""


class KilledError(Exception):
    """The run was killed."""


def search_recipe(*searches: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe of searches on facts in two languages."""
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}
    return {
        "name": "searches",
        "model": {"path": "model"},
        "corpus": {"kind": "parallel_text", "path": "corpus"},
        "evaluations": [{**facts, "split": "dev"}, {**facts, "split": "test"}],
        "searches": list(searches),
        "compute": {"batch_tokens": 128},
    }


def search_plan(folder: Path, *searches: Mapping[str, Any]) -> Plan:
    """Plan searches on the inputs of a folder, which get more facts."""
    write_more_facts(folder)
    return plan_of(write_recipe(folder, search_recipe(*searches), name="searches.yaml"))


def write_more_facts(folder: Path) -> None:
    """Write the facts of both splits."""
    write_facts(folder, "dev", range(100, 100 + N_DEV))
    write_facts(folder, "test", range(N_TEST))


def play(
    plan: Plan, store: Store, share_of_right: ShareOfRight, *, choose: Choose = lambda _: 0, n_jobs: int | None = None
) -> Plan:
    """Run a plan and everything that follows from its results; return the extended plan.

    Comparisons and answers, which no search needs, are left out.

    Args:
        choose: chooses the next job among those that can run, as several workers would.
        n_jobs: number of jobs before the run is killed; None for never.
    Raises:
        KilledError: the run was killed.
    """
    extended = extend_plan(plan, store)
    left = _of_searches(pending_jobs(extended.jobs, store))
    n_done = 0
    while left:
        ready = [job for job in left if all(store.has_record(*key) for key in job.needs)]
        job = ready[choose(ready)]
        if n_done == n_jobs:
            raise KilledError
        _play(job, extended, store, share_of_right)
        n_done += 1
        left.remove(job)
        if job.step == "search":
            n_planned = len(extended.jobs)
            extended = extend_plan(extended, store)
            left += _of_searches(pending_jobs(extended.jobs[n_planned:], store))
    return extended


def _of_searches(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.step != "compare"]


def _play(job: Job, plan: Plan, store: Store, share_of_right: ShareOfRight) -> None:
    """Run a job; evaluations get right answers as the test says, without the model."""
    if not isinstance(job, VariantsJob):
        job.run(store, _no_model)
        return
    for evaluation in job.evaluations:
        point = point_of(plan, evaluation.variant_id)
        n_items = evaluation.task.limit or (N_DEV if evaluation.task.split == "dev" else N_TEST)
        n_right = round(share_of_right(point, evaluation.task.language) * n_items)
        right = [1.0] * n_right + [0.0] * (n_items - n_right)
        ids = [f"{evaluation.task.split}{item}" for item in range(n_items)]
        write_evaluation(store, evaluation, evaluation.variant_id, predictions=answers(right, ids=ids))


def _no_model() -> Any:
    raise AssertionError("no model is run")


def searched(plan: Plan) -> Searches:
    """Return the searches of a plan."""
    (part,) = plan.parts
    assert isinstance(part, Searches)
    return part


def point_of(plan: Plan, variant_id: str) -> Point | None:
    """Return the point of a variant that is a trial of a search."""
    trials = (trial for search in searched(plan).searches for batch in search.batches for trial in batch.trials)
    return next((trial.proposed.point for trial in trials if trial.scored.variant_id == variant_id), None)


def trial_rows(store: Store) -> list[dict[str, Any]]:
    """Return the rows of all trials, by search and number."""
    rows = [dict(row) for record in store.records("search_batches") for row in record.rows["search_trials"]]
    return sorted(rows, key=lambda row: (row["search_id"], row["number"]))


def evaluations_of(plan: Plan) -> set[str]:
    """Return the ids of all evaluations of a plan."""
    return {record_id for job in plan.jobs for kind, record_id in job.makes if kind == "evaluations"}
