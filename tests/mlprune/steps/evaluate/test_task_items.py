"""Items of a task: which tasks share a run of the model, and which items profile paper keeps."""

from dataclasses import replace
from pathlib import Path

from mlprune.evaluation.tasks.published_examples import published_examples
from mlprune.steps.corpus_ref import CorpusRef
from mlprune.steps.evaluate.protocol import ExampleSubset
from mlprune.steps.evaluate.task_items import as_run, item_contents, task_data
from mlprune.steps.evaluate.task_spec import TaskSpec, in_profile
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
    corpus = CorpusRef("parallel_text", str(tmp_path), split="dev")
    for task, language in (("perplexity", "fr"), ("perplexity", "zh"), ("translation", "fr-en")):
        spec = TaskSpec(task, language, "dev", corpus=corpus, shots=1)
        items = task_data(spec).items
        assert [(item.cluster, item.category) for item in items] == [(url, "wikinews") for url in "uuv"]
        assert set(item_contents(spec)) == {"items", "groups"}
    plain = replace(spec, corpus=CorpusRef("cldr", lines=5), language="fr-en")
    assert [item.cluster for item in task_data(plain).items] == [""] * 5
    assert set(item_contents(plain)) == {"items"}
