"""Items of a task: ids of stored items, tasks that share a run of the model, and the items that profile paper keeps."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mlprune.evaluation.tasks.items import ChoiceItem, TranslationItem, published_examples, sentence_item
from mlprune.planning import pending_jobs
from mlprune.recipe.models import CorpusConfig
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.rescore.rescore import Change, Selection, rescore
from mlprune.steps.tasks.evaluation import (
    PUBLISHED_SHOT_LENGTH,
    as_run,
    item_contents,
    shot_contents,
    shot_lines,
    task_data,
)
from mlprune.steps.tasks.stored_items import CHOICE_SCHEMA, PAIR_SCHEMA, Guessing, ItemsJob, guessing, items_identity
from mlprune.steps.tasks.task_spec import ExampleSubset, TaskSpec, in_profile
from mlprune.store.records import Record
from mlprune.store.store import Store
from tests.earlier_versions import to_version_4
from tests.published_text import TEXT_WRITERS, writer
from tests.tiny_recipes import COLOURS, CORPUS, N_FACTS, FinishedRun, copy_of, fact

XNLI = TaskSpec("xnli", "fr", "test", 5, 1, folder="xnli")
CONTENTS = {"items": "aa", "groups": "bb"}


def test_a_choice_of_items_or_prompts_changes_the_items_and_scoring_does_not() -> None:
    choices: list[dict[str, Any]] = [{"language": "en"}, {"split": "dev"}, {"limit": 6}, {"seed": 2}]
    for change in (*choices, {"prompts": "native"}, {"profile": "paper"}, {"is_corpus_half": True}):
        assert items_identity(replace(XNLI, **change), CONTENTS) != items_identity(XNLI, CONTENTS), change
    scoring: list[dict[str, Any]] = [{"rule": "pmi"}, {"metrics": ("ece",)}, {"subset": ExampleSubset.of(["1"])}]
    shots = {"shots": 3, "shot_seed": 2, "max_new_tokens": 9, "other_shots": True}
    for change in (*scoring, {"folder": "elsewhere"}, {"longer": "skip"}, shots):
        same = items_identity(replace(XNLI, **change), {**CONTENTS, "shots": "cc"})
        assert same == items_identity(XNLI, CONTENTS), change


def test_contents_and_their_clusters_do_and_a_seed_without_a_limit_does_not() -> None:
    ids = {items_identity(XNLI, contents).id for contents in (CONTENTS, {"items": "aa"}, {**CONTENTS, "items": "dd"})}
    assert len(ids) == 3
    whole = replace(XNLI, limit=None)
    assert items_identity(whole, CONTENTS) == items_identity(replace(whole, seed=7), CONTENTS)


def item(n_candidates: int, gold: int) -> ChoiceItem:
    names = tuple("abcdef"[:n_candidates])
    return ChoiceItem(f"{n_candidates}{gold}", names, names, gold)


def test_chance_is_the_mean_over_items_of_one_by_the_number_of_candidates() -> None:
    items = [item(2, 0), item(4, 3), item(4, 3), item(5, 1)]
    expected = Guessing(15, 2, 5, (1 / 2 + 1 / 4 + 1 / 4 + 1 / 5) / 4, None)
    assert guessing(items, has_labels=False) == expected
    assert expected.chance == pytest.approx(0.3)


def test_the_majority_is_the_most_frequent_label() -> None:
    items = [item(3, gold) for gold in (2, 0, 2, 2, 1)]
    assert guessing(items, has_labels=True) == Guessing(15, 3, 3, pytest.approx(1 / 3), 3 / 5)


def test_sentences_and_translations_have_nothing_to_guess() -> None:
    assert guessing([sentence_item("0", "Un.")], has_labels=False) == Guessing()
    assert guessing([TranslationItem("0", "un", "one")], has_labels=False) == Guessing(None, None, None, None, None)


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
        names = ("task", "language", "split")
        assert [row[key] for key in (*names, "n_examples")] == [items[key] for key in (*names, "n")]
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
    records = list(store.records("task_items"))
    files = {path: store.read_file(path) for one in records for path in (one.path, one.artefacts[0].path)}
    for path in files:
        store.delete(path)
    job = next(job for job in small_run.plan.jobs if isinstance(job, EvaluateJob))
    written: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_record", lambda self, record: written.append(record.kind))
        job.run(store, no_chain)
    assert written == ["task_items", "task_items", "evaluations", "evaluations"]
    pending = [one for one in pending_jobs(small_run.plan.jobs, store) if isinstance(one, ItemsJob)]
    assert len(pending) == len(records)
    for one in pending:
        one.run(store, no_chain)
    assert {path: store.read_file(path) for path in files} == files


def facts(folder: Path) -> TaskSpec:
    return TaskSpec("facts", "en", "test", folder=str(folder / "facts"))


def test_tasks_that_differ_in_rule_metrics_and_subset_share_a_run(tiny_inputs: Path) -> None:
    task = facts(tiny_inputs)
    assert as_run(replace(task, rule="pmi", metrics=("ece",), subset=ExampleSubset.of(["1"]))) == task
    assert as_run(replace(task, limit=3)) != task
    assert task_data(replace(task, rule="pmi")) is task_data(task)


def test_both_profiles_share_a_run_if_they_have_the_same_examples(tiny_inputs: Path) -> None:
    task = facts(tiny_inputs)
    assert as_run(in_profile(task, "paper")) == as_run(task)
    few = replace(task, limit=3, seed=5)
    paper = in_profile(few, "paper")
    assert as_run(few) != as_run(paper)
    ids = [item.example_id for item in task_data(task).items]
    assert [item.example_id for item in task_data(paper).items] == list(published_examples(ids, 3))


def test_sentences_of_one_page_are_a_cluster_in_every_language_and_pair(tmp_path: Path) -> None:
    TEXT_WRITERS["FLORES"](writer(tmp_path))
    corpus = CorpusConfig(kind="parallel_text", path=str(tmp_path), split="dev")
    for task, language in (("perplexity", "fr"), ("perplexity", "zh"), ("translation", "fr-en")):
        spec = TaskSpec(task, language, "dev", corpus=corpus, shots=1)
        items = task_data(spec).items
        assert [(item.cluster, item.category) for item in items] == [(url, "wikinews") for url in "uuv"]
        assert set(item_contents(spec)) == {"items", "groups"}
    plain = replace(spec, corpus=CorpusConfig(kind="cldr", lines=5), language="fr-en")
    assert [item.cluster for item in task_data(plain).items] == [""] * 5
    assert set(item_contents(plain)) == {"items"}


N_LINES = 6


def text(folder: Path, name: str) -> CorpusConfig:
    """A text whose third French sentence is long."""
    (folder / name).mkdir()
    for language in ("fr", "en"):
        lines = [f"{name} {language} {line}" for line in range(N_LINES)]
        lines[2] += "x" * PUBLISHED_SHOT_LENGTH if language == "fr" else ""
        (folder / name / f"{language}.txt").write_text("\n".join(lines) + "\n")
    return CorpusConfig(kind="parallel_text", path=str(folder / name))


@pytest.fixture
def task(tmp_path: Path) -> TaskSpec:
    return TaskSpec("translation", "fr-en", "test", limit=1, corpus=text(tmp_path, "own"), shots=N_LINES)


def test_all_lines_but_the_evaluated_one_are_shots_in_an_order_that_follows_the_seed(task: TaskSpec) -> None:
    orders = [shot_lines(TaskSpec(**{**vars(task), "shot_seed": seed})) for seed in range(4)]
    assert {len(order) for order in orders} == {N_LINES - 1}
    assert len({frozenset(order) for order in orders}) == 1
    assert len(set(orders)) > 1


def test_profile_paper_keeps_the_order_of_the_file_and_skips_long_sentences(task: TaskSpec) -> None:
    lines = shot_lines(in_profile(task, "paper"))
    assert list(lines) == sorted(lines)
    assert 2 not in lines


def test_lines_of_another_text_are_in_the_id_and_leave_out_evaluated_sentences(task: TaskSpec, tmp_path: Path) -> None:
    other = TaskSpec(**{**vars(task), "other_shots": True, "shot_corpus": text(tmp_path, "other")})
    assert len(shot_lines(other)) == N_LINES
    assert shot_contents(task) == {}
    assert set(shot_contents(other)) == {"shots"}
    same = TaskSpec(**{**vars(task), "other_shots": True, "shot_corpus": task.corpus})
    assert set(shot_lines(same)) == set(shot_lines(task))
