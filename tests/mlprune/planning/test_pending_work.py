"""Pending work with retired files: what counts as done, what pending jobs need, and what is made again."""

from pathlib import Path

import pytest

from mlprune.errors import StoreError
from mlprune.planning.pending import Remake, find_retired, pending_work
from mlprune.steps.job import Job
from mlprune.store.records import Record
from mlprune.store.retired import group_of, retired_groups, write_marker
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, copy_of


@pytest.fixture
def store(small_run: FinishedRun, tmp_path: Path) -> Store:
    """A store whose masks are retired."""
    store = copy_of(small_run.store, tmp_path / "store")
    for path in store.list("masks"):
        write_marker(store, group_of(path), retired_at="", reason="")
        store.delete(path)
    return store


def jobs_of(small_run: FinishedRun) -> tuple[Job, ...]:
    return small_run.plan.jobs


def shared_ordering(small_run: FinishedRun) -> Record:
    """The ordering of two sparsities."""
    (masks,) = [one for one in small_run.store.records("masks") if len(one.rows["ordering_variants"]) == 2]
    return masks


def ordering_group(small_run: FinishedRun) -> str:
    """The group of its files."""
    return f"masks/{shared_ordering(small_run).id}"


def evaluation_of_ordering(small_run: FinishedRun) -> Job:
    """The first evaluation of a variant of that ordering."""
    keys = {("variants", row["variant_id"]) for row in shared_ordering(small_run).rows["ordering_variants"]}
    return next(job for job in jobs_of(small_run) if job.step == "evaluate" and keys.intersection(job.needs))


def test_retired_files_count_as_done(small_run: FinishedRun, store: Store) -> None:
    work = pending_work(jobs_of(small_run), store)
    assert (work.jobs, work.groups) == ([], frozenset())
    assert set(work.retired.files) == retired_groups(store)
    assert work.retired.n_bytes == sum(
        artefact.n_bytes
        for one in small_run.store.records("masks")
        for artefact in one.artefacts
        if artefact.path.startswith("masks/")
    )
    assert work.retired.needed == frozenset()


def test_a_file_that_is_missing_without_a_marker_is_pending_as_before(small_run: FinishedRun, store: Store) -> None:
    for group in retired_groups(store):
        store.delete(f"retired/{group}.json")
    steps = [job.step for job in pending_work(jobs_of(small_run), store).jobs]
    assert {"prune", "sweep"} <= set(steps)


def test_everything_is_made_again_with_the_jobs_that_the_files_need(small_run: FinishedRun, store: Store) -> None:
    work = pending_work(jobs_of(small_run), store, Remake(is_wanted=True), repair=True)
    assert work.groups == retired_groups(store)
    assert {job.step for job in work.jobs} == {"prune", "sweep"}
    assert all(store.has_record(*key) for job in work.jobs for key in job.makes)  # copied, not moved, to quarantine
    assert store.list("quarantine")


def test_a_pending_job_needs_the_masks_of_its_variant(small_run: FinishedRun, store: Store) -> None:
    ordering = ordering_group(small_run)
    evaluation = evaluation_of_ordering(small_run)
    store.delete(f"records/evaluations/{evaluation.makes[-1][1]}.json")
    retired = find_retired(jobs_of(small_run), [evaluation], store)
    assert retired.needed == {ordering}
    with pytest.raises(StoreError):
        pending_work(jobs_of(small_run), store)
    sweep = next(job for job in jobs_of(small_run) if job.step == "sweep")
    work = pending_work(jobs_of(small_run), store, Remake(is_wanted=True, variants=(sweep.makes[-1][1],)))
    assert work.groups == retired_groups(store)


def test_only_the_files_behind_a_variant_are_made_again(small_run: FinishedRun, store: Store) -> None:
    sweep = next(job for job in jobs_of(small_run) if job.step == "sweep")
    work = pending_work(jobs_of(small_run), store, Remake(is_wanted=True, variants=(sweep.makes[-1][1],)))
    assert ordering_group(small_run) not in work.groups
    assert work.jobs == [sweep]
