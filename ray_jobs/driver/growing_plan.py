"""The plan of a run with searches: it grows with their results until all of them are finished."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.plan import Plan, extend_plan, pending_jobs
from mlprune.plan.retired_files.remake import NO_REMAKE, Remake, RetiredFiles, remove_outdated_markers
from mlprune.plan.retired_files.work import pending_work
from mlprune.search.method import ItemBudget
from mlprune.search.trials import winner
from mlprune.steps.job import Job, RecordKey
from mlprune.steps.questions.declarations import declarations
from mlprune.steps.search.batch_result import BatchResultJob
from mlprune.steps.search.batches import PlannedSearch
from mlprune.steps.search.derived import orderings_of
from mlprune.steps.search.forecast import forecast_batches
from mlprune.steps.search.history import SIGN
from mlprune.steps.search.searched_schedules import searched_jobs
from mlprune.steps.search.spec import SearchSpec
from mlprune.store.records import Record
from mlprune.store.repair import remove_equal_copies
from mlprune.store.store import Store
from ray_jobs.driver.status.search_state import SearchState


@dataclass(frozen=True)
class SearchLimits:
    """Most trials and most items x languages of a search."""

    n_trials: int
    n_items: int

    @classmethod
    def of(cls, spec: SearchSpec) -> "SearchLimits":
        """Compute them from the batches that are expected, or from a budget of items."""
        batches = forecast_batches(spec)
        n_items = sum(batch.n_trials * spec.settings.rung_items[batch.rung] for batch in batches)
        if isinstance(spec.budget, ItemBudget):
            n_items = spec.budget.n_items
        return cls(sum(batch.n_trials for batch in batches), n_items)


class GrowingPlan:
    """A plan with everything that the results in a store allow.

    Args:
        plan: as it was built, without batches of searches.
        store: where the results are.
        remake: which retired files the run makes again.
    """

    def __init__(self, plan: Plan, store: Store, remake: Remake = NO_REMAKE) -> None:
        self._built = plan
        self._store = store
        self._remake = remake
        self._retired: list[RetiredFiles] = []
        """Retired files of what was planned."""
        self._limits: dict[str, SearchLimits] = {}
        """Search -> what it needs at most, which takes time to compute."""
        self._states: tuple[Plan, tuple[SearchState, ...]] | None = None
        """The searches of a plan, described once: the driver asks after every job."""
        self.plan = extend_plan(plan, store)

    def plan_again(self) -> None:
        """Plan the searches from their start, after records were moved to quarantine."""
        self.plan = extend_plan(self._built, self._store)

    def pending(self, *, repair: bool = False) -> list[Job]:
        """Return the jobs that have to run; see `pending_work`."""
        return self._pending(self.plan.jobs, repair=repair)

    def _pending(self, jobs: Sequence[Job], *, repair: bool) -> list[Job]:
        work = pending_work(jobs, self._store, self._remake, repair=repair)
        self._retired.append(work.retired)
        return work.jobs

    def remove_markers(self) -> None:
        """Remove the markers of the retired files that exist again, and the copies of their unchanged records."""
        for retired in self._retired:
            remove_outdated_markers(self._store, retired)
        if self._remake.is_wanted:
            remove_equal_copies(self._store)

    def next_jobs(self, job: Job) -> Sequence[Job]:
        """Return the jobs that a finished job makes possible, without those that the store has done.

        The questions of a report are recorded before its jobs run.
        """
        if not isinstance(job, BatchResultJob):
            return ()
        n_planned = len(self.plan.jobs)
        self.plan = extend_plan(self.plan, self._store)
        self.declare()
        jobs = self.plan.jobs[n_planned:]
        if not self._remake.is_wanted:  # a job that needs a retired file fails and names the command
            return pending_jobs(jobs, self._store, repair=True, lists_all=False)
        return self._pending(jobs, repair=True)

    @property
    def search_states(self) -> tuple[SearchState, ...]:
        """How far each search is."""
        if self._states is None or self._states[0] is not self.plan:
            states = tuple(_state_of(search, self._limits_of(search.spec)) for search in self.plan.searches)
            self._states = (self.plan, states)
        return self._states[1]

    def _limits_of(self, spec: SearchSpec) -> SearchLimits:
        if spec.name not in self._limits:
            self._limits[spec.name] = SearchLimits.of(spec)
        return self._limits[spec.name]

    @property
    def records(self) -> list[RecordKey]:
        """(kind, id) of all records that the jobs make or resume from, and of the masks of trials that need no job."""
        made = [key for job in self.plan.jobs for key in (*job.makes, *job.intermediates)]
        trials = [trial for search in self.plan.searches for batch in search.batches for trial in batch.trials]
        named = [variant_id for final in self.plan.finals.values() for _, variant_id in final.names]
        variant_ids = dict.fromkeys((*(trial.scored.variant_id for trial in trials), *named))
        return [*made, *orderings_of(self._store, variant_ids)]

    def undeclared(self) -> list[Record]:
        """Return the records of the questions of reports that the store lacks.

        A question keeps the number of results of its first declaration.
        """
        records = [
            self.plan.final_record(name, declarations(final.questions, self._store))
            for name, final in self.plan.finals.items()
        ]
        return [record for record in records if self._store.read_record(record.kind, record.id) is None]

    def declare(self) -> None:
        """Record the questions of the reports, which has to be done before their jobs run."""
        for record in self.undeclared():
            self._store.write_record(record)


def expected_jobs(plan: Plan, pending: Sequence[Job]) -> list[Job]:
    """Return jobs like those that unfinished searches will add: the plan has enough memory for them from the start.

    These are the jobs of the models that were evaluated already, if nothing pending is evaluated, and those of the
    entries whose schedule is the winner.
    """
    waiting = [search.spec for search in plan.searches if search.is_waiting]
    if not waiting or plan.common is None:
        return []
    evaluated = () if any(job.needs_chain for job in pending) else plan.jobs
    later = [job for spec in waiting for job in searched_jobs(plan.recipe, plan.common, spec)]
    return [job for job in (*evaluated, *later) if job.needs_chain]


def _state_of(search: PlannedSearch, limits: SearchLimits) -> SearchState:
    """Describe a search by its evaluated trials."""
    spec, best = search.spec, winner(search.history)
    return SearchState(
        name=spec.name,
        n_trials=len(search.history),
        most_trials=limits.n_trials,
        n_items=sum(trial.n_new_items for trial in search.history),
        most_items=limits.n_items,
        rung=0 if best is None else best.rung + 1,
        n_rungs=len(spec.rungs),
        item_limit=None if best is None else spec.rungs[best.rung],
        best=None if best is None else best.number,
        objective=None if best is None else SIGN[spec.direction] * best.objective,
        is_feasible=best is not None and best.is_feasible,
        is_finished=search.is_finished,
    )
