"""Add the next batches and the reports of searches to a plan, as far as the results in a store allow it."""

from collections.abc import Iterable
from dataclasses import replace

from mlprune.plan.plan import Plan
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.job import Job, RecordKey
from mlprune.steps.search.batches import PlannedSearch, plan_batch
from mlprune.steps.search.derived import is_made
from mlprune.steps.search.final import PlannedFinal, plan_final
from mlprune.steps.search.searched_schedules import plan_searched
from mlprune.store.store import Store


def extend_plan(plan: Plan, store: Store) -> Plan:
    """Return a plan with all jobs of its searches that the results in the store allow; nothing is written.

    A search whose last batch has its results gets its next batch. A search without a next batch gets the report of its
    winner, and the variants whose schedule it is. The same results give the same jobs, except that variants in the
    store are not made again. Jobs that the plan has already are not added.

    Raises:
        RecipeError: a point of a search is not one variant, or an entry with schedule search has another sparsity than
            the winner.
    """
    if plan.common is None or not plan.searches:
        return plan
    extension = _Extension(plan, store)
    searches = [extension.continued(search) for search in plan.searches]
    finals = dict(plan.finals)
    by_name = {search.spec.name: search for search in searches}
    for search in searches:
        rival = by_name.get(f"{search.spec.name}-random") if "random" in search.spec.compare else None
        is_ready = search.is_finished and (rival is None or rival.is_finished)
        if is_ready and search.spec.name not in finals and search.is_reported:
            finals[search.spec.name] = extension.report_of(search, rival)
        key = f"{search.spec.name} schedule"
        searched = extension.searched_by(search) if search.is_finished and key not in finals else None
        if searched is not None:
            finals[key] = searched
    jobs, made = (*plan.jobs, *extension.jobs), plan.made | extension.made
    return replace(plan, jobs=jobs, searches=tuple(searches), finals=finals, made=made)


class _Extension:
    """The jobs that are added to a plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        assert plan.common is not None, "the plan has searches"
        self.jobs: list[Job] = []
        self.made: set[RecordKey] = set()
        """Records that they make."""
        self._common = plan.common
        self._given = plan.recipe
        self._store = store
        self._made_by_plan = plan.made

    def continued(self, search: PlannedSearch) -> PlannedSearch:
        """Return a search with all batches that can be planned; their jobs are added."""
        search = search.with_results(self._store)
        while not search.is_finished and not search.is_waiting:
            search, jobs = plan_batch(self._common, search, is_known=self._is_known)
            self._add(jobs)
            search = search.with_results(self._store)
        return search

    def report_of(self, search: PlannedSearch, rival: PlannedSearch | None) -> PlannedFinal:
        """Return the report of a finished search; its jobs are added."""
        final = plan_final(self._common, search, rival, is_known=self._is_known)
        self._add(final.jobs)
        return final

    def searched_by(self, search: PlannedSearch) -> PlannedFinal | None:
        """Return the variants with the levels of a finished search's winner, if there are any; their jobs are added."""
        planned = plan_searched(self._given, self._common, search, is_known=self._is_known)
        self._add(planned.jobs if planned else ())
        return planned

    def _is_known(self, variant_id: str) -> bool:
        return self._is_planned(("variants", variant_id)) or is_made(self._store, variant_id)

    def _is_planned(self, key: RecordKey) -> bool:
        return key in self._made_by_plan or key in self.made

    def _add(self, jobs: Iterable[Job]) -> None:
        """Add jobs without those whose records are made already, in the plan."""
        for job in map(self._remaining, jobs):
            if not all(map(self._is_planned, job.makes)):
                self.jobs.append(job)
                self.made.update(job.makes)

    def _remaining(self, job: Job) -> Job:
        """Return a job without the evaluations that another job makes."""
        if not isinstance(job, EvaluateJob):
            return job
        return job.without({key[1] for key in job.makes if self._is_planned(key)})
