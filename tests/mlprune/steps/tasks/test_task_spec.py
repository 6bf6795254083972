"""Recipes with data sets of a hub, from the path to the plan."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlprune.descriptions import TemplateTask
from mlprune.errors import RecipeError, TaskFileError
from mlprune.evaluation.tasks.hub_datasets import HubSource, pinned
from mlprune.evaluation.tasks.registry import HUB_SETS
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from mlprune.steps.tasks.task_spec import ExampleSubset, TaskSpec, task_source, task_spec
from tests.hub import Hub, json_lines, serving, use_hub
from tests.refusals import refused
from tests.tiny_recipes import tiny_recipe

OWN = {"name": "some/nli", "files": "{config}.{split}.jsonl", "splits": {"test": "test", "dev": "test"}}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as server:
        use_hub(monkeypatch, server.url, tmp_path / "cache")
        pinned.cache_clear()
        rows = [{"premise": f"p {n}", "hypothesis": f"h {n}", "label": n % 3} for n in range(12)]
        server.push("some/nli", {f"{language}.test.jsonl": json_lines(rows) for language in ("fr", "sw")})
        yield server


def recipe_of(folder: Path, *, path: str = "hub:some/nli", **changes: Any) -> Recipe:
    evaluation = {"task": "xnli", "path": path, "languages": ["fr", "sw"], "limit": 2}
    recipe = {**tiny_recipe(), "demonstrations": [], "variants": [], "evaluations": [evaluation], "data_sets": [OWN]}
    return parse_recipe({**recipe, **changes}, folder=folder)


def evaluations(plan: Plan) -> list[tuple[str, str]]:
    """(language, id) of all evaluations."""
    jobs = (job for job in plan.jobs if isinstance(job, EvaluateJob))
    return [(evaluation.task.language, evaluation.identity.id) for job in jobs for evaluation in job.evaluations]


def test_ids_equal_those_of_local_files_with_the_same_rows(hub: Hub, tiny_inputs: Path, tmp_path: Path) -> None:
    plan = build_plan(recipe_of(tiny_inputs))
    commit = hub.references["some/nli", "main"]
    for language in ("fr", "sw"):
        rows = [{"id": n, "premise": f"p {n}", "hypothesis": f"h {n}", "label": n % 3} for n in range(12)]
        (tmp_path / f"{language}.test.jsonl").write_bytes(json_lines(rows))
    local = build_plan(recipe_of(tiny_inputs, path=str(tmp_path)))
    assert evaluations(plan) == evaluations(local)
    named = [row for row in plan.record.rows["names"] if row["kind"] == "data_set"]
    assert [(row["name"], row["id"]) for row in named] == [("some/nli@main", commit)]
    assert not [row for row in local.record.rows["names"] if row["kind"] == "data_set"]
    assert len([request for request in hub.requests if "/revision/" in request]) == 1


def test_a_repository_per_language_is_named_with_its_commit(hub: Hub, tiny_inputs: Path) -> None:
    rows = [{"id": n, "review": f"r {n}", "label": n} for n in range(2)]
    commits = {name: hub.push(f"some/marc-{name}", {"test.jsonl": json_lines(rows)}) for name in ("fr", "swahili")}
    described = {"name": "some/marc-{config}", "files": "{split}.jsonl", "splits": {"test": "test"}, "id": "id"}
    described |= {"configs": {"sw": "swahili"}, "columns": {"text": "review"}, "labels": {0: 1, 1: 5}}
    evaluation = {"task": "marc", "path": "hub:some/marc-{config}", "languages": ["fr", "sw"]}
    plan = build_plan(recipe_of(tiny_inputs, data_sets=[described], evaluations=[evaluation]))
    named = {row["name"]: row["id"] for row in plan.record.rows["names"] if row["kind"] == "data_set"}
    assert named == {f"some/marc-{name}@main": commit for name, commit in commits.items()}


def test_a_commit_in_the_path_and_other_content_at_the_branch(hub: Hub, tiny_inputs: Path) -> None:
    commit = hub.references["some/nli", "main"]
    first = evaluations(build_plan(recipe_of(tiny_inputs)))
    rows = [{"premise": "new", "hypothesis": "new", "label": 0}]
    hub.push("some/nli", {f"{language}.test.jsonl": json_lines(rows) for language in ("fr", "sw")})
    pinned.cache_clear()
    assert evaluations(build_plan(recipe_of(tiny_inputs, path=f"hub:some/nli@{commit}"))) == first
    assert {evaluation_id for _, evaluation_id in evaluations(build_plan(recipe_of(tiny_inputs)))}.isdisjoint(
        evaluation_id for _, evaluation_id in first
    )


def task_set(**changes: Any) -> dict[str, Any]:
    entry = {"name": "shown", "kind": "task", "task": "xnli", "path": "hub:some/nli", "language": "fr", "split": "test"}
    return {**entry, "shots": 1, "samples": 4, "max_tokens": 48, **changes}


def test_demonstrations_of_a_hub_contain_no_evaluated_item(hub: Hub, tiny_inputs: Path) -> None:
    corpus = {**tiny_recipe()["corpus"], "leave_out_evaluated": False}
    with refused(RecipeError, demonstrations="shown"):
        build_plan(recipe_of(tiny_inputs, demonstrations=[task_set(samples=11)], corpus=corpus))
    plan = build_plan(recipe_of(tiny_inputs, demonstrations=[task_set(samples=10)]))
    assert [row for row in plan.record.rows["names"] if row["name"] == "shown"]
    build_plan(recipe_of(tiny_inputs, demonstrations=[task_set(samples=12, split="dev")]))


def test_a_data_set_of_the_recipe_replaces_the_built_in_one(tiny_inputs: Path) -> None:
    described = {**OWN, "name": "facebook/xnli", "revision": "v2"}
    recipe = recipe_of(tiny_inputs, data_sets=[described])
    source = task_source(recipe, "hub:facebook/xnli")
    assert isinstance(source, HubSource)
    assert (source.revision, source.data.files) == ("v2", ("{config}.{split}.jsonl",))
    assert task_source(recipe, "hub:facebook/belebele") == HubSource(HUB_SETS["facebook/belebele"], "main")
    assert task_source(recipe, "facts") == tiny_inputs / "facts"
    with pytest.raises(RecipeError, match="data_sets"):
        task_source(recipe, "hub:some/nli")


XNLI = TaskSpec("xnli", "fr", "test", folder="xnli")
TRANSLATION = TaskSpec("translation", "zh-Hant-en", "dev", 5, 1, is_corpus_half=True, shots=4, max_new_tokens=64)
SUBSET = ExampleSubset.of(["1", "0", "4"])
MOOD = TemplateTask(
    name="mood", template="{text} {candidate}", answer="label", labels=("0", "1"), words=("bad", "good")
)


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
    labels = {"labels": ["0", "1"], "words": ["bad", "good"]}
    expected = {"name": "mood", "template": "{text} {candidate}", "answer": "label", **labels}
    assert replace(XNLI, task="mood", template=MOOD).parameters["template"] == expected


def test_keys_of_clusters_and_categories_are_neither_in_ids_nor_in_protocols() -> None:
    plain = replace(XNLI, task="mood", template=MOOD)
    grouped = replace(plain, template=MOOD.model_copy(update={"cluster": "page", "category": "genre"}))
    assert grouped.parameters == plain.parameters
    assert grouped.protocol.id == plain.protocol.id
    assert grouped.definition.cluster_key == "page"


def test_evaluations_that_differ_in_language_split_rule_and_number_of_items_have_one_protocol() -> None:
    for change in ({"language": "de"}, {"split": "dev"}, {"rule": "pmi"}, {"limit": 9}, {"seed": 3}, {"folder": "x"}):
        assert replace(XNLI, **change).protocol.id == XNLI.protocol.id  # type: ignore[arg-type]


def test_every_other_choice_changes_the_protocol() -> None:
    of_xnli: list[dict[str, Any]] = [{"task": "xcopa"}, {"prompts": "native"}, {"limit": 9, "seed": 3}]
    of_xnli += [{"metrics": ("ece",)}, {"subset": SUBSET}, {"task": "mood", "template": MOOD}]
    of_xnli += [{"task": "mood", "template": MOOD.model_copy(update={"words": ("sad", "glad")})}]
    of_translation: list[dict[str, Any]] = [{}, {"shots": 1}, {"shot_seed": 1}, {"max_new_tokens": 8}]
    of_translation += [{"split_by": "clusters"}, {"longer": "skip"}, {"longer": "truncate_left"}]
    changed = [replace(XNLI, **change) for change in of_xnli]
    changed += [replace(TRANSLATION, **change) for change in of_translation]
    assert len({spec.protocol.id for spec in [XNLI, *changed]}) == len(changed) + 1


def test_the_columns_of_a_protocol_are_null_for_what_it_does_not_have() -> None:
    empty = dict.fromkeys(("n_shots", "shot_seed", "max_new_tokens", "metric_names", "subset_n_asked", "subset_sha256"))
    assert XNLI.protocol.columns == {"prompts": "en", "limit_seed": 0, **empty}
    columns = replace(TRANSLATION, shot_seed=2, metrics=("bleu",), subset=SUBSET).protocol.columns
    prompts = {"prompts": "en", "limit_seed": 1, "n_shots": 4, "shot_seed": 2, "max_new_tokens": 64}
    subset = {"subset_n_asked": 3, "subset_sha256": hashlib.sha256(b"0\n1\n4").hexdigest()}
    assert columns == {**prompts, "metric_names": ["bleu"], **subset}


def test_rules_and_prompt_languages_are_those_of_the_task() -> None:
    assert (XNLI.scoring_rule, XNLI.prompt_language) == ("mean", "en")
    native = replace(XNLI, prompts="native", rule="pmi")
    assert (native.scoring_rule, native.prompt_language) == ("pmi", "fr")
    assert (TRANSLATION.scoring_rule, replace(TRANSLATION, language="fr-en").target_language) == ("greedy", "en")
    assert replace(XNLI, task="perplexity").scoring_rule == "sum"
    with pytest.raises(TaskFileError):
        _ = replace(XNLI, prompts="native", language="it").localized_task
