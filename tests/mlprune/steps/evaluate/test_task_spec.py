"""What a spec says of itself, and its way into a record and back."""

import json
from dataclasses import replace

import pytest

from mlprune.errors import TaskFileError
from mlprune.evaluation.tasks.template_tasks import TemplateTask
from mlprune.steps.evaluate.task_spec import TaskSpec, task_spec

XNLI = TaskSpec("xnli", "fr", "test", None, 0, folder="xnli", corpus=None, halves=False)
TRANSLATION = TaskSpec(
    "translation", "zh-Hant-en", "dev", 5, 1, folder="", corpus=None, halves=True, shots=4, max_new_tokens=64
)
MOOD = TemplateTask("mood", "{text} {candidate}", "label", labels=("0", "1"), words=("bad", "good"))


@pytest.mark.parametrize(
    "spec",
    [
        replace(XNLI, folder=""),
        replace(XNLI, folder="", rule="pmi", prompts="native", metrics=("ece",), subset="3 abc"),
        replace(TRANSLATION, sides=("zh-Hant", "en"), shot_seed=2),
        replace(TRANSLATION, language="en-zh-Hant", sides=("en", "zh-Hant")),
        replace(XNLI, folder="", task="mood", own=MOOD),
    ],
)
def test_a_spec_comes_back_from_its_record_without_its_paths(spec: TaskSpec) -> None:
    stored = json.loads(json.dumps(spec.parameters))
    assert task_spec({**stored, "dtype": "float32", "batch_tokens": 512}) == spec


def test_paths_are_not_in_the_parameters_and_choices_are() -> None:
    assert replace(XNLI, folder="elsewhere").parameters == XNLI.parameters
    for change in ({"rule": "pmi"}, {"prompts": "native"}, {"metrics": ("ece",)}, {"subset": "x"}, {"split": "dev"}):
        assert replace(XNLI, **change).parameters != XNLI.parameters  # type: ignore[arg-type]
    assert replace(XNLI, rule="pmi", metrics=("ece",), subset="x").as_run == XNLI


def test_the_setup_is_empty_where_all_is_as_usual_and_in_words_elsewhere() -> None:
    assert (XNLI.setup, replace(XNLI, rule="pmi").setup, replace(TRANSLATION, seed=0).setup) == (None, None, None)
    assert replace(XNLI, prompts="native").setup == "native prompts"
    assert replace(XNLI, seed=3).setup is None
    assert replace(XNLI, seed=3, limit=9).setup == "limit of seed 3"
    found = replace(TRANSLATION, shots=1, shot_seed=2, max_new_tokens=8).setup
    assert found == "limit of seed 1, 1 shots, shots of seed 2, at most 8 new tokens"


def test_rules_and_prompt_languages_are_those_of_the_task() -> None:
    assert (XNLI.scoring_rule, XNLI.prompt_language) == ("mean", "en")
    native = replace(XNLI, prompts="native", rule="pmi")
    assert (native.scoring_rule, native.prompt_language) == ("pmi", "fr")
    assert (TRANSLATION.scoring_rule, replace(TRANSLATION, sides=("fr", "en")).target_language) == ("greedy", "en")
    assert replace(XNLI, task="perplexity").scoring_rule == "sum"
    with pytest.raises(TaskFileError, match="no native prompts"):
        _ = replace(XNLI, prompts="native", language="it").record
