"""Items of evaluated tasks as stored files and catalog rows."""

from pathlib import Path
from typing import Any, NoReturn

import pytest

from mlprune.plan import pending_jobs
from mlprune.steps.evaluate.jobs import EvaluateJob
from mlprune.steps.evaluate.rescore import Change, Selection, rescore
from mlprune.steps.items.jobs import CHOICE_SCHEMA, PAIR_SCHEMA, ItemsJob
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.earlier_versions import to_version_4
from tests.tiny_recipes import COLOURS, CORPUS, N_FACTS, FinishedRun, copy_of, fact


def no_chain() -> NoReturn:
    raise AssertionError("no model is needed")


def record_of(run: FinishedRun, task: str, language: str) -> Record:
    rows = ((record, record.rows["tasks"][0]) for record in run.store.records("task_items"))
    return next(record for record, row in rows if (row["task"], row["language"]) == (task, language))


def columns_of(run: FinishedRun, task: str, language: str) -> dict[str, list[Any]]:
    return run.store.read_table(record_of(run, task, language).artefacts[0])


def test_every_candidate_of_every_item_is_a_row(tiny_run: FinishedRun) -> None:
    columns = columns_of(tiny_run, "facts", "sw")
    assert list(columns) == list(CHOICE_SCHEMA)
    rows = list(zip(*columns.values(), strict=True))
    expected = [
        (str(n), index, colour, fact("sw", n)["prompt"].replace("<mask>", colour), index == n % 3, str(n), "")
        for n in range(N_FACTS)
        for index, colour in enumerate(COLOURS["sw"])
    ]
    assert rows == expected


def test_sentences_and_their_references_are_stored(tiny_run: FinishedRun) -> None:
    columns = columns_of(tiny_run, "translation", "fr-en")
    assert list(columns) == list(PAIR_SCHEMA)
    for line, source, reference in zip(columns["example_id"], columns["source"], columns["reference"], strict=True):
        assert (source, reference) == tuple(CORPUS[language].format(n=line) for language in ("fr", "en"))
    sentences = columns_of(tiny_run, "perplexity", "fr")
    assert sentences["text"] == sentences["candidate"] == [CORPUS["fr"].format(n=n) for n in sentences["example_id"]]


def test_the_row_describes_the_items(tiny_run: FinishedRun, baseline_run: FinishedRun) -> None:
    record = record_of(tiny_run, "facts", "fr")
    common = {"example_limit": None, "limit_seed": 0, "profile": "corrected", "prompts": "en", "split": "test"}
    sizes = {"n": N_FACTS, "n_clusters": N_FACTS, "n_candidates": 3 * N_FACTS}
    candidates = {"least_candidates": 3, "most_candidates": 3, "chance": pytest.approx(1 / 3), "majority_share": None}
    names = {"items_id": record.id, "task": "facts", "language": "fr"}
    assert record.rows["tasks"] == [{**names, **common, **sizes, **candidates}]
    (mood,) = record_of(baseline_run, "mood", "en").rows["tasks"]
    assert (mood["n"], mood["n_clusters"], mood["chance"], mood["majority_share"]) == (4, 2, 0.5, 0.5)
    (pairs,) = record_of(baseline_run, "translation", "fr-en").rows["tasks"]
    assert (pairs["n"], pairs["example_limit"], pairs["chance"], pairs["n_candidates"]) == (1, 1, None, None)


@pytest.mark.parametrize("name", ["tiny_run", "baseline_run"])
def test_every_evaluation_refers_to_its_items(name: str, request: pytest.FixtureRequest) -> None:
    run: FinishedRun = request.getfixturevalue(name)
    tasks = {row["items_id"]: row for row in run.rows("tasks")}
    of_evaluations = run.rows("evaluations")
    assert {row["items_id"] for row in of_evaluations} == set(tasks)
    for row in of_evaluations:
        items = tasks[row["items_id"]]
        assert [row[key] for key in ("task", "language", "split")] == [
            items[key] for key in ("task", "language", "split")
        ]
        assert row["n_examples"] == items["n"]
    jobs = [job for job in run.plan.jobs if isinstance(job, ItemsJob)]
    assert {job.identity.id for job in jobs} == set(tasks)
    assert len(jobs) == len(tasks)


def test_a_rescored_part_refers_to_the_items_it_was_chosen_from(small_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    rescored = rescore(store, Change(examples=frozenset(["0", "1"])), Selection(language="fr"))
    for evaluation_id in rescored.evaluation_ids:
        (row,) = store.require("evaluations", evaluation_id).rows["evaluations"]
        assert row["items_id"] == record_of(small_run, "facts", "fr").id
        assert row["n_examples"] == 2


def test_missing_items_are_stored_before_the_first_evaluation(small_run: FinishedRun, tmp_path: Path) -> None:
    store = copy_of(small_run.store, tmp_path / "store")
    to_version_4(store)
    items = {record.path: store.read_file(record.path) for record in store.records("task_items")}
    files = {
        record.artefacts[0].path: store.read_file(record.artefacts[0].path) for record in store.records("task_items")
    }
    for path in (*items, *files):
        store.delete(path)
    job = next(job for job in small_run.plan.jobs if isinstance(job, EvaluateJob))
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_record", lambda self, record: written.append(record.kind))
        job.run(store, no_chain)
    assert written == ["task_items", "task_items", "evaluations", "evaluations"]
    pending = [one for one in pending_jobs(small_run.plan.jobs, store) if isinstance(one, ItemsJob)]
    assert len(pending) == len(items)
    for one in pending:
        one.run(store, no_chain)
    assert {path: store.read_file(path) for path in items} == items
    assert {path: store.read_file(path) for path in files} == files
