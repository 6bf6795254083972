"""Pending jobs: in an empty store, after a run, and after damage."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mlprune.planning import pending, pending_jobs
from mlprune.steps.job import Job
from mlprune.steps.prune.sweep import SweepJob
from mlprune.store.records import record_path
from mlprune.store.repair import scrub
from mlprune.store.store import Store
from tests.tiny_recipes import FinishedRun, contents, results, run_plan

Copy = Callable[[Store], Store]


def steps(jobs: list[Job]) -> list[str]:
    return [job.step for job in jobs]


def first_file(store: Store, folder: str, word: str = "") -> Path:
    assert store.local_root is not None
    return store.local_root / next(path for path in store.list(folder) if word in path)


IN_BOTH_WAYS = pytest.mark.parametrize("listing", [True, False], indirect=True)


@pytest.fixture(autouse=True)
def listing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """List all records, or with a parameter False ask for those of each job."""
    is_listed = getattr(request, "param", True)
    present = pending._present
    monkeypatch.setattr(pending, "_present", lambda *given, lists_all: present(*given, lists_all=is_listed))


def test_the_records_of_a_few_jobs_are_not_listed(small_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(Store, "record_ids", lambda *_: pytest.fail("all records were listed"))
    assert pending_jobs(small_run.plan.jobs, small_run.store, lists_all=False) == []


@IN_BOTH_WAYS
def test_everything_is_pending_in_an_empty_store_and_nothing_after_a_run(
    small_run: FinishedRun, tmp_path: Path
) -> None:
    assert pending_jobs(small_run.plan.jobs, Store(tmp_path / "none")) == list(small_run.plan.jobs)
    assert pending_jobs(small_run.plan.jobs, small_run.store) == []
    assert not (tmp_path / "none").exists()


def test_a_run_over_a_finished_store_runs_nothing_and_changes_nothing(
    small_run: FinishedRun, copied_store: Copy
) -> None:
    store = copied_store(small_run.store)
    assert run_plan(small_run.plan, store) == []
    assert contents(store) == contents(small_run.store)


def test_without_repair_a_damaged_store_is_not_changed(small_run: FinishedRun, copied_store: Copy) -> None:
    store = copied_store(small_run.store)
    first_file(store, "masks").write_bytes(b"short")
    before = contents(store)
    assert pending_jobs(small_run.plan.jobs, store)
    assert contents(store) == before
    assert not store.list("quarantine")


@IN_BOTH_WAYS
@pytest.mark.parametrize("how", ["short", "missing"])
def test_a_damaged_mask_file_makes_its_records_pending_and_keeps_what_was_computed_from_them(
    small_run: FinishedRun, copied_store: Copy, how: str
) -> None:
    store = copied_store(small_run.store)
    ordering = next(record for record in store.records("masks") if record.rows["orderings"][0]["n_levels"] == 2)
    file = store.local_root / ordering.artefacts[1].path  # type: ignore[operator]
    if how == "short":
        file.write_bytes(b"short")
    else:
        file.unlink()
    pending = pending_jobs(small_run.plan.jobs, store, repair=True)
    assert steps(pending) == ["prune"] * 2
    names = set(store.record_names())
    assert all(key not in names for job in pending for key in job.makes)
    assert len(store.list("quarantine")) == len([key for job in pending for key in job.makes])
    assert steps(pending_jobs(small_run.plan.jobs, store)) == steps(pending)
    run_plan(small_run.plan, store)
    assert contents(store) == contents(small_run.store)


def test_a_damaged_sweep_is_made_again_from_the_block_that_is_damaged(
    small_run: FinishedRun, copied_store: Copy
) -> None:
    store = copied_store(small_run.store)
    first_file(store, "statistics", "block-001").unlink()
    for path in store.list("statistics"):
        if "block-001" in path:
            (store.local_root / path).unlink()  # type: ignore[operator]
    assert "sweep" in run_plan(small_run.plan, store)
    assert contents(store) == contents(small_run.store)


@pytest.mark.thorough("computes many cases")
@pytest.mark.parametrize("folder", ["demonstrations", "statistics", "masks", "features", "predictions", "records"])
def test_lost_files_are_made_again_byte_for_byte(small_run: FinishedRun, copied_store: Copy, folder: str) -> None:
    store = copied_store(small_run.store)
    for path in store.list(folder):
        if not path.startswith("records/recipes"):
            (store.local_root / path).unlink()  # type: ignore[operator]
    assert run_plan(small_run.plan, store)
    assert contents(store) == contents(small_run.store)


@IN_BOTH_WAYS
def test_a_record_that_cannot_be_read_is_pending(small_run: FinishedRun, copied_store: Copy) -> None:
    store = copied_store(small_run.store)
    first_file(store, "records/evaluations").write_text("{")
    pending = pending_jobs(small_run.plan.jobs, store)
    assert steps(pending) == ["evaluate"]
    run_plan(small_run.plan, store)
    assert contents(store) == contents(small_run.store)


@IN_BOTH_WAYS
def test_a_block_of_a_finished_sweep_is_made_again_if_it_was_set_aside(
    small_run: FinishedRun, copied_store: Copy
) -> None:
    store = Store(copied_store(small_run.store).uri, quarantine=True)
    (sweep,) = (job for job in small_run.plan.jobs if isinstance(job, SweepJob))
    kind, record_id = sweep.intermediates[1]
    data = store.read_file(record_path(kind, record_id))
    assert data is not None
    store.write(record_path(kind, record_id), data[:-10])  # its checksum says that nothing else changes
    assert pending_jobs(small_run.plan.jobs, store, repair=True) == []
    assert scrub(store, sweep.intermediates) == 0, "no artefact is damaged"
    assert not store.has_record(kind, record_id)
    assert pending_jobs(small_run.plan.jobs, store, repair=True) == [sweep]
    run_plan(small_run.plan, store)
    assert pending_jobs(small_run.plan.jobs, store) == []
    assert results(store) == results(small_run.store)


@pytest.mark.thorough("computes many cases")
@IN_BOTH_WAYS
def test_results_of_another_version_of_a_record_are_made_again(small_run: FinishedRun, copied_store: Copy) -> None:
    store = Store(copied_store(small_run.store).uri, quarantine=True)
    file = first_file(store, "records/statistics")
    file.write_bytes(file.read_bytes().replace(b'{"checksum":"', b'{"checksum":"0', 1))  # which version is not known
    assert run_plan(small_run.plan, store) == ["observe"]
    again = run_plan(small_run.plan, store)
    assert {"prune", "evaluate", "compare"} <= set(again)
    assert not {"demonstrate", "observe", "sweep"} & set(again)
    assert run_plan(small_run.plan, store) == []
    assert contents(store) == contents(small_run.store)


@IN_BOTH_WAYS
def test_variants_that_another_ordering_made_are_not_evaluated_again(
    small_run: FinishedRun, copied_store: Copy
) -> None:
    store = copied_store(small_run.store)
    ordering = next(record for record in store.records("masks") if record.rows["orderings"][0]["n_levels"] == 2)
    blocks = [one for one in store.records("mask_blocks") if one.parameters["ordering"] == ordering.id]
    for record in (ordering, *blocks):
        store.quarantine(record)
    assert steps(pending_jobs(small_run.plan.jobs, store, repair=True)) == ["prune"] * 4
    run_plan(small_run.plan, store)
    assert contents(store) == contents(small_run.store)
