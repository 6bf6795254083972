"""Baselines of a recipe: planned, evaluated and compared like other variants, without changing other jobs."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.baselines.lrp2 import TrialJob
from mlprune.capabilities.baselines.self_translation import SelfTranslateJob
from mlprune.errors import ModelError, RecipeError, TaskFileError
from mlprune.planning import Plan, build_plan
from mlprune.planning.resources.estimate import needs_of
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.compare.differences import CompareJob
from mlprune.steps.evaluate.model_evaluation import EvaluateJob
from tests.tiny_models import save_tiny_model
from tests.tiny_recipes import small_recipe, write_baseline_inputs

SMALL: dict[str, Any] = {"name": "small", "kind": "model", "path": "small"}
LRP2: dict[str, Any] = {"name": "lrp2", "kind": "lrp2", "demonstrations": "mono"}
TRANSLATE: dict[str, Any] = {"name": "translate", "kind": "self_translate", "shots": 1, "max_new_tokens": 4}
MONO: dict[str, Any] = {"name": "mono", "kind": "monolingual", "shots": 2, "samples": 4, "max_tokens": 48}
LANGUAGES = ["en", "fr", "sw"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_inputs: Path) -> Path:
    """The tiny inputs, with a smaller and a larger model in addition to the recipe's."""
    folder_copy = write_baseline_inputs(tiny_inputs, tmp_path_factory.mktemp("baselines") / "inputs")
    save_tiny_model(folder_copy / "large", blocks=4, seed=5)
    return folder_copy


def plan_of(folder: Path, *baselines: dict[str, Any], **sections: Any) -> Plan:
    recipe = {**small_recipe(), "baselines": list(baselines), **sections}
    return build_plan(parse_recipe(recipe, folder=folder))


def evaluated(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Label -> (model, language) of its evaluations."""
    return {
        plan.variants[job.variant_id].label: [(Path(job.model.path).name, one.task.language) for one in job.evaluations]
        for job in plan.jobs
        if isinstance(job, EvaluateJob)
    }


def compared(plan: Plan) -> set[tuple[str, str]]:
    jobs = [job for job in plan.jobs if isinstance(job, CompareJob)]
    return {(plan.variants[job.variant_id].label, plan.variants[job.baseline_id].label) for job in jobs}


@pytest.mark.thorough("runs a model for every case")
def test_baselines_change_no_other_job(folder: Path) -> None:
    without, with_them = plan_of(folder), plan_of(folder, SMALL)
    of_both = [{key for job in plan.jobs for key in job.makes} for plan in (without, with_them)]
    jobs, with_baselines = ({key for key in keys if key[0] != "answers"} for keys in of_both)  # over all variants
    assert jobs < with_baselines
    assert list(with_them.variants)[: len(without.variants)] == list(without.variants)
    assert without.models == (without.model,)


def test_another_model_is_evaluated_on_the_same_items_and_compared_with_dense(folder: Path) -> None:
    plan = plan_of(folder, SMALL)
    by_label = evaluated(plan)
    assert by_label["dense small"] == [("small", "en"), ("small", "fr")]
    assert by_label["dense"] == [("model", "en"), ("model", "fr")]
    assert ("dense small", "dense") in compared(plan)
    assert [Path(model.path).name for model in plan.models] == ["model", "small"]
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    items = {evaluation.task.language: {evaluation.identity.contents["items"]} for evaluation in jobs[0].evaluations}
    for job in jobs:
        for evaluation in job.evaluations:
            assert items[evaluation.task.language] == {evaluation.identity.contents["items"]}


def test_ids_of_another_model_equal_those_of_its_own_recipe(folder: Path) -> None:
    planned = {key for job in plan_of(folder, SMALL).jobs for key in job.makes}
    alone = plan_of(folder, model={"path": "small"}, variants=[])
    needed = {key for job in alone.jobs if job.step in ("prune", "evaluate") for key in job.makes}
    assert needed <= planned


def test_a_variant_of_any_sparsity_is_compared_with_the_baselines_it_names(folder: Path) -> None:
    variants = [{"name": "m", "score": "magnitude", "sparsity": [0.25, 0.5], "against": ["small"]}]
    pairs = compared(plan_of(folder, SMALL, variants=variants))
    assert {("magnitude 0.25 row", "dense small"), ("magnitude 0.5 row", "dense small")} <= pairs
    variants[0].pop("against")
    assert compared(plan_of(folder, SMALL, variants=variants)) == {
        *((f"magnitude {sparsity} row", "dense") for sparsity in (0.25, 0.5)),
        ("dense small", "dense"),
    }


def test_a_baseline_is_evaluated_unless_only_others_are_named(folder: Path) -> None:
    entries = [{"name": "m", "score": "magnitude", "sparsity": 0.5}]
    facts = {"task": "facts", "path": "facts", "languages": ["fr"]}
    for names, labels in ((["m"], {"dense", "magnitude 0.5 row"}), (["small"], {"dense", "dense small"})):
        plan = plan_of(folder, SMALL, variants=entries, evaluations=[{**facts, "variants": names}])
        assert set(evaluated(plan)) == labels


def test_the_cost_of_another_model_depends_on_its_size(folder: Path) -> None:
    plan = plan_of(folder, SMALL, variants=[])
    jobs = [job for job in plan.jobs if isinstance(job, EvaluateJob)]
    big, small = needs_of(plan, jobs).costs
    assert 0 < small.flops < big.flops


HALF = {**SMALL, "name": "half", "dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("baselines", "languages", "error", "words"),
    [
        ([{"kind": "model", "path": "large"}], LANGUAGES, RecipeError, "baseline='large'"),
        ([{"kind": "model", "path": "model"}], LANGUAGES, RecipeError, "'model'"),
        ([{"kind": "model", "path": "nowhere"}], LANGUAGES, ModelError, "nowhere"),
        ([SMALL, HALF], LANGUAGES, RecipeError, "bfloat16"),
        ([{**LRP2, "layers": [1, 3]}], LANGUAGES, RecipeError, "expected='0 to 2', got=3"),
        ([LRP2], ["fr", "sw"], RecipeError, "lrp2"),
        ([LRP2], ["en", "sw"], RecipeError, "got='fr'"),
        ([{**LRP2, "split": "validation"}], LANGUAGES, (RecipeError, TaskFileError), "split='validation'"),
        ([{**TRANSLATE, "shots": 41}], LANGUAGES, RecipeError, "41"),
        ([{**TRANSLATE, "max_new_tokens": 100_000}], LANGUAGES, TaskFileError, "max_new_tokens"),
    ],
)
def test_an_impossible_baseline_is_refused_in_one_line(
    folder: Path, baselines: list[dict[str, Any]], languages: list[str], error: Any, words: str
) -> None:
    def planned_and_sized() -> None:
        plan = projected(folder, *baselines, languages=languages)
        needs_of(plan, plan.jobs)

    with pytest.raises(error) as caught:
        planned_and_sized()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lrp2_reads_sets_of_one_language(folder: Path) -> None:
    with pytest.raises(RecipeError):
        plan_of(folder, {**LRP2, "demonstrations": "mt"})


def projected(folder: Path, *baselines: dict[str, Any], languages: Any = LANGUAGES, **sections: Any) -> Plan:
    """The plan of some entries of kind lrp2, with monolingual sets."""
    sets = [{**MONO, "language": languages, "seed": sections.pop("seed", 0)}]
    return plan_of(folder, *baselines, demonstrations=sets, variants=[], **sections)


def keys(plan: Plan, *kinds: str) -> set[tuple[str, str]]:
    return {key for job in plan.jobs for key in job.makes if key[0] in kinds}


def test_every_job_of_a_search_is_planned_after_those_it_needs(folder: Path) -> None:
    made: set[tuple[str, str]] = set()
    plan = projected(folder, LRP2, SMALL, {**LRP2, "name": "fixed", "layers": [0, 2]})
    for job in plan.jobs:
        assert set(job.needs) <= made, job
        made |= set(job.makes)
    names = [variant.label for variant in plan.variants.values()]
    assert names == ["dense", "lrp2", "dense small", "lrp2 layers 0-2"]


def test_each_pair_is_one_job_for_all_evaluations(folder: Path) -> None:
    facts = {"task": "facts", "path": "facts", "languages": LANGUAGES, "rule": ["mean", "candidate_sum"]}
    plan = projected(folder, LRP2, evaluations=[facts])
    jobs = [job for job in plan.jobs if isinstance(job, TrialJob)]
    assert [job.pair for job in jobs] == [(0, 1), (0, 2), (1, 2)]
    for job in jobs:
        tried = {(one.task.language, one.task.rule, one.task.split) for one in job.evaluations}
        assert tried == {(language, rule, "dev") for language in ("fr", "sw") for rule in ("mean", "candidate_sum")}
    few = projected(folder, {**LRP2, "layers": [[0, 1], [1, 2]]}, evaluations=[facts])
    assert [job.pair for job in few.jobs if isinstance(job, TrialJob)] == [(0, 1), (1, 2)]
    assert keys(few, "lrp2_trials") < keys(plan, "lrp2_trials")
    assert not keys(few, "lrp2_choices") & keys(plan, "lrp2_choices")


def test_another_language_or_task_changes_neither_variant_nor_choices(folder: Path) -> None:
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}
    kinds = ("variants", "hidden_means", "lrp2_trials", "lrp2_choices", "evaluations")
    less = projected(folder, LRP2, languages=["en", "fr"], evaluations=[facts])
    more = projected(folder, LRP2, evaluations=[{**facts, "languages": LANGUAGES, "rule": ["mean", "pmi"]}])
    assert keys(less, *kinds) < keys(more, *kinds)
    assert set(less.variants) == set(more.variants)


@pytest.mark.parametrize("change", [{"limit": 4}, {"layers": [[0, 1], [0, 2]]}, {"layers": [0, 1]}])
def test_the_inputs_of_a_choice_are_part_of_the_variant(folder: Path, change: dict[str, Any]) -> None:
    assert len(projected(folder, LRP2, {**LRP2, "name": "other", **change}).variants) == 3


def test_defaults_written_out_give_the_same_variant(folder: Path) -> None:
    written = {"layers": [[1, 2], [0, 2], [0, 1]], "split": "dev", "limit": None, "seed": 0}
    plan = projected(folder, LRP2, {**LRP2, "name": "other", **written})
    assert len(plan.variants) == 2
    (lrp2,) = (variant for variant in plan.variants.values() if variant.is_baseline)
    assert [entry.name for entry in lrp2.entries] == ["lrp2", "other"]


def test_every_seed_of_the_sets_is_a_variant(folder: Path) -> None:
    labels = [variant.label for variant in projected(folder, {**LRP2, "layers": [0, 1]}, seed=[0, 1]).variants.values()]
    assert labels == ["dense", "lrp2 layers 0-1", "lrp2 layers 0-1 seed 1"]


def test_translation_is_skipped_unless_it_was_asked_for(folder: Path) -> None:
    pairs = {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "limit": 1, "shots": 1, "max_new_tokens": 2}
    corpus = {"kind": "parallel_text", "path": "corpus", "leave_out_evaluated": True}
    plan = projected(folder, LRP2, evaluations=[pairs], corpus=corpus)
    assert set(evaluated(plan)) == {"dense"}
    with pytest.raises(RecipeError):
        projected(folder, LRP2, evaluations=[{**pairs, "variants": ["lrp2"]}], corpus=corpus)


def test_the_cost_of_a_search_is_that_of_evaluating_every_pair(folder: Path) -> None:
    plan = projected(folder, LRP2)
    costs = needs_of(plan, plan.jobs).costs
    searched, observed = ([cost.flops for cost in costs if cost.step == step] for step in ("search", "observe"))
    searched = [flops for flops in searched if flops]
    assert len(searched) == 3
    assert len(set(searched)) == 1
    assert any(observed)


def test_a_task_is_translated_once_per_language_for_all_rules(folder: Path) -> None:
    facts = {"task": "facts", "path": "facts", "languages": LANGUAGES, "rule": ["mean", "candidate_sum"]}
    plan = plan_of(folder, TRANSLATE, variants=[], evaluations=[facts, {**facts, "split": "dev"}])
    jobs = [job for job in plan.jobs if isinstance(job, SelfTranslateJob)]
    tasks = [(job.task.language, job.task.split) for job in jobs]
    assert sorted(tasks) == [(language, split) for language in ("fr", "sw") for split in ("dev", "test")]
    made: set[tuple[str, str]] = set()
    for job in plan.jobs:
        assert set(job.needs) <= made, job
        made |= set(job.makes)
    assert len(evaluated(plan)["self-translate shots 1 max new tokens 4"]) == 2 * 2 * len(LANGUAGES)


def test_another_task_or_language_changes_no_translation(folder: Path) -> None:
    facts = {"task": "facts", "path": "facts", "languages": ["en", "fr"]}
    kinds = ("variants", "self_translations", "evaluations")
    less = plan_of(folder, TRANSLATE, variants=[], evaluations=[facts])
    more = plan_of(folder, TRANSLATE, variants=[], evaluations=[{**facts, "languages": LANGUAGES}])
    assert keys(less, *kinds) < keys(more, *kinds)
    assert set(less.variants) == set(more.variants)
    for change in ({"shots": 2}, {"seed": 1}, {"max_new_tokens": 5}):
        other = plan_of(folder, {**TRANSLATE, **change}, variants=[], evaluations=[facts])
        assert not keys(other, "self_translations") & keys(less, "self_translations")
        assert set(other.variants) != set(less.variants)


def test_tasks_without_candidates_are_not_asked_in_english(folder: Path) -> None:
    corpus = {"kind": "parallel_text", "path": "corpus", "leave_out_evaluated": True}
    perplexity = {"task": "perplexity", "path": "corpus", "languages": ["fr"], "limit": 2}
    plan = plan_of(folder, TRANSLATE, variants=[], evaluations=[perplexity], corpus=corpus)
    assert set(evaluated(plan)) == {"dense"}
    named = [{**perplexity, "variants": ["translate"]}]
    with pytest.raises(RecipeError):
        plan_of(folder, TRANSLATE, variants=[], evaluations=named, corpus=corpus)
