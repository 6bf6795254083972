"""Parameters and columns of a task spec, and its conversion to a record and back."""

import hashlib
import json
from dataclasses import replace

import pytest

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.template_tasks import TemplateTask
from mlprune.steps.evaluate.protocol import ExampleSubset
from mlprune.steps.evaluate.task_spec import TaskSpec, task_spec

XNLI = TaskSpec("xnli", "fr", "test", folder="xnli")
TRANSLATION = TaskSpec("translation", "zh-Hant-en", "dev", 5, 1, is_corpus_half=True, shots=4, max_new_tokens=64)
SUBSET = ExampleSubset.of(["1", "0", "4"])
MOOD = TemplateTask("mood", "{text} {candidate}", "label", labels=("0", "1"), words=("bad", "good"))


@pytest.mark.parametrize(
    "spec",
    [
        replace(XNLI, folder=""),
        replace(XNLI, folder="", rule="pmi", prompts="native", metrics=("ece",), subset=SUBSET),
        replace(TRANSLATION, shot_seed=2),
        replace(TRANSLATION, language="en-zh-Hant"),
        replace(XNLI, folder="", task="mood", template=MOOD),
    ],
)
def test_a_spec_is_restored_from_its_record_without_its_paths(spec: TaskSpec) -> None:
    stored = json.loads(json.dumps(spec.parameters))
    assert task_spec({**stored, "dtype": "float32", "batch_tokens": 512}) == spec


def test_paths_are_not_in_the_parameters_and_choices_are() -> None:
    assert replace(XNLI, folder="elsewhere").parameters == XNLI.parameters
    for change in ({"rule": "pmi"}, {"prompts": "native"}, {"metrics": ("ece",)}, {"subset": SUBSET}, {"split": "dev"}):
        assert replace(XNLI, **change).parameters != XNLI.parameters  # type: ignore[arg-type]


def test_parameters_at_their_defaults_are_not_part_of_an_id() -> None:
    assert XNLI.parameters == {"task": "xnli", "language": "fr", "split": "test"}
    assert replace(XNLI, task="mood", template=MOOD).parameters["template"] == {
        "name": "mood",
        "template": "{text} {candidate}",
        "answer": "label",
        "labels": ["0", "1"],
        "words": ["bad", "good"],
    }


def test_keys_of_clusters_and_categories_are_neither_in_ids_nor_in_protocols() -> None:
    plain = replace(XNLI, task="mood", template=MOOD)
    grouped = replace(plain, template=replace(MOOD, cluster="page", category="genre"))
    assert grouped.parameters == plain.parameters
    assert grouped.protocol.id == plain.protocol.id
    assert grouped.definition.cluster_key == "page"


def test_a_record_made_before_an_optional_parameter_existed_can_be_loaded() -> None:
    assert task_spec({"task": "xnli", "language": "fr", "split": "test"}) == replace(XNLI, folder="")


def test_evaluations_that_differ_in_language_split_rule_and_number_of_items_have_one_protocol() -> None:
    for change in ({"language": "de"}, {"split": "dev"}, {"rule": "pmi"}, {"limit": 9}, {"seed": 3}, {"folder": "x"}):
        assert replace(XNLI, **change).protocol.id == XNLI.protocol.id  # type: ignore[arg-type]


def test_every_other_choice_changes_the_protocol() -> None:
    changed = [
        replace(XNLI, task="xcopa"),
        replace(XNLI, prompts="native"),
        replace(XNLI, limit=9, seed=3),
        replace(XNLI, metrics=("ece",)),
        replace(XNLI, subset=SUBSET),
        replace(XNLI, task="mood", template=MOOD),
        replace(XNLI, task="mood", template=replace(MOOD, words=("sad", "glad"))),
        TRANSLATION,
        replace(TRANSLATION, shots=1),
        replace(TRANSLATION, shot_seed=1),
        replace(TRANSLATION, max_new_tokens=8),
        replace(TRANSLATION, split_by="clusters"),
        replace(TRANSLATION, longer="skip"),
        replace(TRANSLATION, longer="truncate_left"),
    ]
    assert len({spec.protocol.id for spec in [XNLI, *changed]}) == len(changed) + 1


def test_the_columns_of_a_protocol_are_null_for_what_it_does_not_have() -> None:
    empty = dict.fromkeys(("n_shots", "shot_seed", "max_new_tokens", "metric_names", "subset_n_asked", "subset_sha256"))
    assert XNLI.protocol.columns == {"prompts": "en", "limit_seed": 0, **empty}
    columns = replace(TRANSLATION, shot_seed=2, metrics=("bleu",), subset=SUBSET).protocol.columns
    assert columns == {
        "prompts": "en",
        "limit_seed": 1,
        "n_shots": 4,
        "shot_seed": 2,
        "max_new_tokens": 64,
        "metric_names": ["bleu"],
        "subset_n_asked": 3,
        "subset_sha256": hashlib.sha256(b"0\n1\n4").hexdigest(),
    }


def test_rules_and_prompt_languages_are_those_of_the_task() -> None:
    assert (XNLI.scoring_rule, XNLI.prompt_language) == ("mean", "en")
    native = replace(XNLI, prompts="native", rule="pmi")
    assert (native.scoring_rule, native.prompt_language) == ("pmi", "fr")
    assert (TRANSLATION.scoring_rule, replace(TRANSLATION, language="fr-en").target_language) == ("greedy", "en")
    assert replace(XNLI, task="perplexity").scoring_rule == "sum"
    with pytest.raises(TaskFileError, match="no native prompts"):
        _ = replace(XNLI, prompts="native", language="it").localized_task
