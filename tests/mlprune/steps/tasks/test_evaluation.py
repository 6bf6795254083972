"""Items of a task: which tasks share a run of the model, and which items profile paper keeps."""

from dataclasses import replace
from pathlib import Path

import pytest

from mlprune.evaluation.tasks.items import published_examples
from mlprune.recipe import CorpusConfig
from mlprune.steps.tasks.evaluation import (
    PUBLISHED_SHOT_LENGTH,
    as_run,
    item_contents,
    shot_contents,
    shot_lines,
    task_data,
)
from mlprune.steps.tasks.task_spec import ExampleSubset, TaskSpec, in_profile
from tests.published_text import TEXT_WRITERS, writer


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
