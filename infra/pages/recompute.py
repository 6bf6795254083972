"""Bring a frozen store up to date: its comparisons and answers are replaced by those that today's version computes.

They follow from the stored predictions: the jobs are those of a run, and run no model. A run would also keep the
comparisons and answers of earlier versions. The earlier record of the recipe stays, because it says that the questions
were declared before their results existed.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mlprune.errors import BadInputError
from mlprune.json_values import JsonValue, as_list, as_str
from mlprune.steps.job import Job, make_identity
from mlprune.steps.questions.answers import AnswerJob
from mlprune.steps.rescore.stored_jobs import StoredJobs
from mlprune.store.records import Record
from mlprune.store.store import Store


def recompute(store: Store) -> int:
    """Compute the comparisons and answers of a store again; return their number.

    Raises:
        StoreError: a record that they follow from is missing.
        DamagedArtefactError: the predictions of an evaluation are missing or damaged.
    """
    jobs = StoredJobs(store, _no_model)
    records = [record for kind in ("comparisons", "answers") for record in store.records(kind)]
    ids: dict[str, str] = {}
    for record in records:
        job = _of_today(jobs.job_of(record))
        job.run(store, _no_chain)
        _, ids[record.id] = job.makes[-1]
    for record in list(store.records("recipes")):
        if any(ids.get(question_id, question_id) != question_id for question_id in _question_ids(record)):
            store.write_record(_with_questions(record, ids))
    for record in records:
        if ids[record.id] != record.id:
            store.delete(record.path)
    return len(records)


def _of_today(job: Job) -> Job:
    """Return a job whose id follows from the comparisons that it reads, in their version of today."""
    if not isinstance(job, AnswerJob):
        return job
    parents: dict[str, JsonValue] = {"comparisons": [each.comparison_id for each in job.comparisons]}
    return replace(job, identity=make_identity("answers", job.identity.parameters, parents=parents))


def _question_ids(record: Record) -> set[str]:
    return {as_str(as_list(entry)[0]) for entry in as_list(record.parameters.get("questions", []))}


def _with_questions(record: Record, ids: Mapping[str, str]) -> Record:
    """Return the record of a recipe that asks the same questions under other ids."""
    questions: list[JsonValue] = []
    for entry in map(as_list, as_list(record.parameters["questions"])):
        questions.append([ids.get(as_str(entry[0]), entry[0]), *entry[1:]])
    identity = make_identity("recipes", {**record.parameters, "questions": questions})
    ids = {**ids, record.id: identity.id}
    columns = ("question_id", "id")
    rows = {
        table: [{**row, **{name: ids.get(str(row[name]), row[name]) for name in columns if name in row}} for row in of]
        for table, of in record.rows.items()
    }
    return identity.record(rows=rows)


def _no_model(base_model_id: str) -> Path:
    message = "comparisons and answers need no model"
    raise BadInputError(message, base_model_id=base_model_id, expected="only stored predictions are read")


def _no_chain() -> NoReturn:
    raise AssertionError("comparisons and answers run no model")
