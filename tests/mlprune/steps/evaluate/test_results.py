"""Evaluations of an earlier version are taken over without the model, with the bytes that it would have written."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from mlprune.planning import pending_jobs
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.evaluate.results import adopt, adoptable_ids, earlier_ids
from mlprune.steps.job import Job
from mlprune.steps.tasks.evaluation import EvaluationSpec
from mlprune.store.record_kinds import RECORD_KINDS
from mlprune.store.store import Store
from tests.earlier_versions import to_version, to_version_4
from tests.tiny_recipes import FinishedRun, copy_of, run_plan

VERSION = RECORD_KINDS["evaluations"].version


def no_chain() -> NoReturn:
    raise AssertionError("no model is needed")


def evaluate_jobs(jobs: Iterable[Job]) -> list[EvaluateJob]:
    return [job for job in jobs if isinstance(job, EvaluateJob)]


def evaluations(run: FinishedRun) -> list[EvaluationSpec]:
    return [evaluation for job in evaluate_jobs(run.plan.jobs) for evaluation in job.evaluations]


def evaluation_files(store: Store) -> dict[str, bytes | None]:
    """Path -> bytes of the records of evaluations of this version and of their predictions."""
    records = [record for record in store.records("evaluations") if record.step_version == VERSION]
    paths = [path for record in records for path in (record.path, *(artefact.path for artefact in record.artefacts))]
    return {path: store.read_file(path) for path in paths}


@pytest.mark.thorough("runs a model for every case")
@pytest.mark.parametrize(("name", "version"), [("tiny_run", 4), ("baseline_run", 5)])
def test_evaluations_of_earlier_versions_are_adopted_without_a_model(
    name: str, version: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: FinishedRun = request.getfixturevalue(name)
    store = copy_of(run.store, tmp_path / "store")
    expected = evaluation_files(store)
    old = to_version(store, version)
    ids = {evaluation.identity.id for evaluation in evaluations(run)}
    assert ids == set(old) == adoptable_ids(evaluations(run), store)
    pending = pending_jobs(run.plan.jobs, store)
    assert len(evaluate_jobs(pending)) == len(evaluate_jobs(run.plan.jobs))
    for job in evaluate_jobs(pending):
        job.run(store, no_chain)
    assert evaluation_files(store) == expected
    assert all(store.has_record("evaluations", record.id) for record in old.values())
    assert not adoptable_ids(evaluations(run), store)
    assert not evaluate_jobs(pending_jobs(run.plan.jobs, store))


def test_clusters_and_categories_of_adopted_evaluations_are_those_of_the_items(
    baseline_run: FinishedRun, tmp_path: Path
) -> None:
    store = copy_of(baseline_run.store, tmp_path / "store")
    to_version_4(store)
    (evaluation, *_) = (one for one in evaluations(baseline_run) if one.task.task == "mood")
    assert len(earlier_ids(evaluation.identity)) == 4, "versions 6, 5 and 4 without groups, and version 5 with them"
    assert adopt(store, evaluation, "any")
    columns = store.read_table(store.require(*evaluation.identity.key).artefacts[0])
    assert columns["cluster"][::2] == ["page 0", "page 0", "page 1", "page 1"]
    assert columns["category"][::2] == ["news", "blog"] * 2


def test_files_that_state_clusters_later_need_no_model_either(baseline_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(baseline_run.store, tmp_path / "store")
    (evaluation, *_) = (one for one in evaluations(baseline_run) if one.task.task == "facts")
    assert not adopt(store, evaluation, "any"), "its own record is not an earlier one"
    identity = replace(evaluation.identity, contents={**evaluation.identity.contents, "groups": "other"})
    assert adopt(store, replace(evaluation, identity=identity), "any")
    assert store.has_record(*identity.key)


def test_files_that_state_more_categories_need_no_model_either(baseline_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(baseline_run.store, tmp_path / "store")
    (evaluation, *_) = (one for one in evaluations(baseline_run) if one.task.task == "mood")
    contents = {**evaluation.identity.contents, "groups": "with several categories"}
    later = replace(evaluation, identity=replace(evaluation.identity, contents=contents))
    assert adoptable_ids([later], store) == {later.identity.id}
    assert adopt(store, later, "any")
    assert store.has_record(*later.identity.key)


def test_a_damaged_or_incomplete_evaluation_is_computed_again(small_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    expected = evaluation_files(store)
    (first_id, first), (second_id, second), *_ = (
        (record_id, record.artefacts[0]) for record_id, record in to_version_4(store).items()
    )
    store.delete(first.path)
    store.write(second.path, b"\0" * second.n_bytes)
    specs = {evaluation.identity.id: evaluation for evaluation in evaluations(small_run)}
    assert [adopt(store, specs[record_id], "any") for record_id in (first_id, second_id)] == [False, False]
    run_plan(small_run.plan, store)
    assert evaluation_files(store) == expected
