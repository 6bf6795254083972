"""Pending work: the pending jobs of a plan, with the retired files that they make again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlprune.plan.pending import pending_jobs
from mlprune.plan.retired_files.remake import NO_REMAKE, Remake, RetiredFiles, RetiredSurvey, groups_to_remake
from mlprune.plan.retired_files.survey import NONE_RETIRED
from mlprune.steps.job import Job
from mlprune.store.retired import retired_groups
from mlprune.store.store import Store


@dataclass(frozen=True)
class PendingWork:
    """Pending jobs of a plan, and its retired files."""

    jobs: list[Job]
    retired: RetiredFiles = field(default_factory=RetiredFiles)
    groups: frozenset[str] = NONE_RETIRED
    """The retired groups that the jobs make again."""


def pending_work(jobs: Sequence[Job], store: Store, remake: Remake = NO_REMAKE, *, repair: bool = False) -> PendingWork:
    """Return the jobs that have to run; see `pending_jobs`. Without retired files, it costs one more listing.

    Raises:
        StoreError: pending jobs need retired files, and `remake` asks for none.
    """
    if not retired_groups(store):
        return PendingWork(pending_jobs(jobs, store, repair=repair))
    survey = RetiredSurvey(jobs, store)
    pending = pending_jobs(jobs, store)
    retired = survey.find(pending)
    groups = groups_to_remake(survey, retired, remake, store=store)
    if repair or groups:
        pending = pending_jobs(jobs, store, repair=repair, remake=groups)
    return PendingWork(pending, retired, groups)


def find_retired(jobs: Sequence[Job], pending: Sequence[Job], store: Store) -> RetiredFiles:
    """Return the retired files of a plan, and which of them its pending jobs read."""
    return RetiredSurvey(jobs, store).find(pending) if retired_groups(store) else RetiredFiles()
