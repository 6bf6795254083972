"""One run of a recipe, from the file to the exit code: plan, check what fits, run, fold, sum up."""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mlprune.errors import BadInputError, StoreError, TransientError
from mlprune.plan import Plan, build_plan, pending_jobs
from mlprune.plan.estimate import Needs, needs_of
from mlprune.plan.pool import Pool
from mlprune.recipe import load_recipe
from mlprune.steps.job import Job
from mlprune.store.claims import STALE_AFTER_S, Claims
from mlprune.store.compaction import compact_if_many
from mlprune.store.store import Store
from ray_jobs.driver.capacity_checks import format_pool, in_process_pool, local_ray_pool, require_room
from ray_jobs.driver.catalog_sync import fold
from ray_jobs.driver.driver import Driver, RunResult, Workers
from ray_jobs.driver.progress import Progress
from ray_jobs.driver.run_log import begin_run

logger = logging.getLogger(__name__)

DONE, SOME_FAILED = 0, 3
"""Exit codes; 1 is an unexpected error, 2 bad input."""
MAX_ROUNDS = 3
"""Times a run is planned anew because an artefact turned out damaged."""


@dataclass(frozen=True)
class RunSummary:
    """What a run came to."""

    exit_code: int
    n_done: int
    n_failed: int
    n_skipped: int
    n_elsewhere: int = 0
    """Those of the done jobs that another run in the same store did meanwhile."""

    @property
    def did_nothing(self) -> bool:
        """Whether everything had been there before."""
        return self.n_done + self.n_failed + self.n_skipped == 0


def run_recipe(
    recipe_path: Path, store_uri: str, *, address: str = "local", stale_after_s: float = STALE_AFTER_S
) -> RunSummary:
    """Carry out a recipe; running it again does what is left, running it twice at once shares the work.

    Args:
        stale_after_s: how long other runs in this store wait for ours if it dies on another machine.
    Raises:
        BadInputError: the recipe or something it names cannot be used, or it cannot fit; nothing was written.
        StoreError: an object store stopped answering; what was done is kept.
    """
    try:
        return _run_recipe(recipe_path, store_uri, address=address, stale_after_s=stale_after_s)
    except TransientError as err:
        context = {**err.context, "next": "run the same command again: it goes on where this one stopped"}
        raise StoreError(err.message, context) from err


def _run_recipe(recipe_path: Path, store_uri: str, *, address: str, stale_after_s: float) -> RunSummary:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if address not in ("none", "local") and "://" not in store_uri and not Path(store_uri).is_absolute():
        raise BadInputError(
            "workers of a cluster have other working folders", store=store_uri, expected="an absolute path or a URI"
        )
    plan = build_plan(load_recipe(recipe_path))
    store = Store(store_uri)
    pending = pending_jobs(plan.jobs, store)
    if not pending and store.read_record(plan.record.kind, plan.record.id):
        console.print(f"nothing to do: all {len(plan.jobs)} jobs of this recipe are done")
        fold(store, publish=True)
        return RunSummary(DONE, 0, 0, 0)
    needs = needs_of(plan, pending)
    require_room(needs, store)
    with _workers(plan, store, address, needs) as (workers, pool):
        console.print(f"pool: {format_pool(pool)}")
        jobs = pending_jobs(plan.jobs, store, repair=True)
        store.write_record(plan.record)
        models = {one.base_model_id: one.path for one in plan.models}
        recipe = {"recipe": plan.recipe.name, "recipe_id": plan.record.id}
        run_id = begin_run(store, "run", address=address, **recipe, models=models)
        with Claims(store, run_id, stale_after_s=stale_after_s) as claims:
            result = _run_rounds(plan, store, jobs, run_id=run_id, workers=workers, claims=claims, console=console)
    compact_if_many(store)
    fold(store, publish=True)
    exit_code = SOME_FAILED if result.failed else DONE
    summary = RunSummary(exit_code, result.n_done, len(result.failed), result.n_skipped, result.n_elsewhere)
    console.print(_in_words(summary))
    return summary


def _run_rounds(
    plan: Plan, store: Store, jobs: list[Job], *, run_id: str, workers: Workers, claims: Claims, console: Console
) -> RunResult:
    """Run the jobs; where one meets a damaged artefact, plan again so that its maker runs too."""
    result = RunResult(0, (), 0)
    for number in range(MAX_ROUNDS):
        steps = ", ".join(f"{n} {step}" for step, n in Counter(job.step for job in jobs).items())
        console.print(f"run {run_id}: {len(jobs)} of {len(plan.jobs)} jobs to do ({steps})")
        with Progress(jobs) as progress:
            driver = Driver(store, run_id, workers=workers, progress=progress, claims=claims, round_=number)
            result = driver.run(jobs, present=set(store.record_names()))
        if not result.saw_damage:
            break
        _quarantine_damaged(plan, store)
        jobs = pending_jobs(plan.jobs, store, repair=True)
    return result


def _quarantine_damaged(plan: Plan, store: Store) -> None:
    """Read every artefact of the plan's records and set aside the records whose artefacts differ."""
    for job in plan.jobs:
        for key in job.makes:
            record = store.read_record(*key)
            if record is not None and not store.is_intact(record):
                logger.warning("an artefact of %s %s is damaged: it will be made again", *key)
                store.quarantine(record)


@contextmanager
def _workers(plan: Plan, store: Store, address: str, needs: Needs) -> Iterator[tuple[Workers, Pool]]:
    """The workers at an address and their pool; what runs models, and Ray, is imported only where it is used.

    Raises:
        BadInputError: the model does not fit there.
    """
    if address == "none":
        from ray_jobs.workers.in_process import InProcessWorkers  # noqa: PLC0415

        pool = in_process_pool(needs)
        yield InProcessWorkers(store.uri, plan.model, pool), pool
        return
    if address == "local":
        local_ray_pool(needs)
        # read when Ray is imported: without it Ray replaces the loopback address by the machine's in the network
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from ray_jobs.workers import cluster, ray_pool  # noqa: PLC0415 - without Ray this must not be imported

    with cluster.connected(address):
        pool = needs.pool(cluster.nodes())
        workers = ray_pool.RayWorkers(store.uri, plan.model, pool)
        try:
            yield workers, pool
        finally:
            workers.close()


def _in_words(summary: RunSummary) -> str:
    words = f"{summary.n_done} jobs done"
    if summary.n_elsewhere:
        words += f" ({summary.n_elsewhere} of them by another run in this store)"
    if summary.n_failed:
        words += f", {summary.n_failed} failed and {summary.n_skipped} need those: see the failures table"
        words += " (mlprune query failures), then run the same command again"
    return words
