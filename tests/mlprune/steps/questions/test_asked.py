"""Planned questions: their comparisons, languages, seeds and ids."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.planning import Plan, build_plan
from mlprune.recipe.loading import parse_recipe
from mlprune.steps.job import make_identity
from mlprune.steps.questions.asked import PlannedQuestion
from tests.tiny_recipes import tiny_recipe

FACTS: dict[str, Any] = {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"]}
QUESTION: dict[str, Any] = {"name": "q", "variants": "wanda-mt", "task": "facts", "languages": "outside_english"}


def plan_of(folder: Path, *questions: dict[str, Any], **sections: Any) -> Plan:
    recipe = {**tiny_recipe(), "evaluations": [FACTS], "questions": list(questions), **sections}
    return build_plan(parse_recipe(recipe, folder=folder))


def labels(plan: Plan, question: PlannedQuestion) -> set[tuple[str, str]]:
    return {tuple(plan.variants[one].label for one in pair) for pair in question.pairs}  # type: ignore[misc]


def test_every_task_gets_three_exploratory_questions_about_all_variants(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs)
    asked = [(question.criterion.group.text, question.languages) for question in plan.questions]
    assert asked == [("outside_english", ("fr", "sw")), ("worst", ("en", "fr", "sw")), ("en", ("en",))]
    for question in plan.questions:
        assert (question.config, question.n_tests) == (None, len(plan.variants) - 1)
        assert {baseline for _, baseline in question.pairs} == {next(iter(plan.variants))}


def test_dev_is_asked_about_only_without_a_test_split(tiny_inputs: Path) -> None:
    corpus = [
        {**FACTS, "task": "perplexity", "path": "corpus", "split": split, "limit": 4} for split in ("dev", "test")
    ]
    both, dev = (plan_of(tiny_inputs, evaluations=evaluations).questions for evaluations in (corpus, corpus[:1]))
    assert {question.family.split for question in both} == {"test"}
    assert {question.family.split for question in dev} == {"dev"}


def test_a_question_compares_comparable_variants_that_nothing_else_compares(tiny_inputs: Path) -> None:
    question = {**QUESTION, "variants": "contrast", "against": "wanda-mono"}
    plan = plan_of(tiny_inputs, question)
    declared = plan.questions[0]
    assert declared.config is not None
    assert all("contrast" in variant and "wanda fr " in baseline for variant, baseline in labels(plan, declared))
    assert len(declared.pairs) == 2
    assert declared.pairs[0] not in plan_of(tiny_inputs).questions[0].pairs


def test_an_ignored_aspect_is_named_and_changes_no_other_question(tiny_inputs: Path) -> None:
    strict = {**QUESTION, "against": "wanda-mono"}
    ignoring = {**strict, "name": "other", "against": {"name": "wanda-mono", "ignore": ["language", "propagation"]}}
    alone = plan_of(tiny_inputs, strict).questions[0]
    first, second = plan_of(tiny_inputs, strict, ignoring).questions[:2]
    assert (first.id, first.pairs, first.differs_in) == (alone.id, alone.pairs, ())
    assert set(first.pairs) < set(second.pairs)
    assert second.differs_in == ("language", "propagation")
    plan = plan_of(tiny_inputs, ignoring)
    assert any("sw-en" in variant and "wanda fr " in baseline for variant, baseline in labels(plan, second))
    assert all(plan.variants[one].spec.sparsity == plan.variants[other].spec.sparsity for one, other in second.pairs)


def test_variants_name_what_a_comparison_ignores(tiny_inputs: Path) -> None:
    mono = {"name": "mono", "score": "wanda", "demonstrations": "mono", "sparsity": 0.5}
    numbers = []
    for ignore in ([], ["sparsity"]):
        against = [{"name": "mono", "ignore": ignore}]
        other = {**mono, "name": "other", "sparsity": 0.25, "against": against}
        comparisons = plan_of(tiny_inputs, variants=[mono, other]).jobs
        numbers.append(sum(key[0] == "comparisons" for job in comparisons for key in job.makes))
    assert numbers == [2, 3]


@pytest.mark.parametrize("language", ["en", "sw"])
def test_the_first_evaluation_with_the_language_of_a_question_counts(tiny_inputs: Path, language: str) -> None:
    evaluations = [{**FACTS, "languages": ["en"]}, {**FACTS, "languages": ["sw"], "rule": "pmi"}]
    plan = plan_of(tiny_inputs, {**QUESTION, "languages": language}, evaluations=evaluations)
    asked = plan.questions[0]
    assert asked.languages == (language,)
    alone = plan_of(tiny_inputs, {**QUESTION, "languages": language}, evaluations=evaluations[language == "sw" :][:1])
    assert asked.id == alone.questions[0].id


def test_names_and_flags_of_a_question_are_not_part_of_its_id(tiny_inputs: Path) -> None:
    renamed = {**QUESTION, "name": "other", "primary": False}
    ids = [plan_of(tiny_inputs, question).questions[0].id for question in (QUESTION, renamed)]
    assert ids[0] == ids[1]
    margins = [{**QUESTION, "claim": "noninferior", "margin": margin} for margin in (0.01, 0.02)]
    assert len({ids[0], *(plan_of(tiny_inputs, question).questions[0].id for question in margins)}) == 3


def test_questions_change_no_id_of_other_work(tiny_inputs: Path) -> None:
    kinds = ("masks", "variants", "evaluations", "comparisons")
    keys = [
        {key for job in plan_of(tiny_inputs, *questions).jobs for key in job.makes if key[0] in kinds}
        for questions in ([], [QUESTION])
    ]
    assert keys[0] == keys[1]


def test_a_default_question_that_a_recipe_declares_is_asked_once(tiny_inputs: Path) -> None:
    question = {**QUESTION, "variants": "magnitude", "languages": "worst"}
    magnitude = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
    plan = plan_of(tiny_inputs, question, variants=[magnitude])
    assert [(one.name, one.criterion.group.text) for one in plan.questions] == [
        ("q", "worst"),
        ("", "outside_english"),
        ("", "en"),
    ]


def test_the_mean_is_one_test_and_knows_its_seeds(tiny_inputs: Path) -> None:
    random = {"name": "random", "score": "random", "sparsity": 0.5, "seed": [0, 1]}
    magnitude = {"name": "magnitude", "score": "magnitude", "sparsity": 0.5}
    asked = [{**QUESTION, "variants": name, "over": "mean"} for name in ("random", "magnitude")]
    plans = [plan_of(tiny_inputs, question, variants=[random, magnitude]).questions[0] for question in asked]
    assert [(question.n_tests, question.n_seeds) for question in plans] == [(1, 2), (1, 0)]


def test_scripts_and_pairs_of_languages_are_groups(tiny_inputs: Path) -> None:
    latin = plan_of(tiny_inputs, {**QUESTION, "languages": "script:Latn"}).questions[0]
    assert latin.languages == ("fr", "sw")
    translation = {"task": "translation", "path": "corpus", "pairs": ["fr-en", "sw-en"], "limit": 2, "shots": 1}
    pairs = plan_of(tiny_inputs, evaluations=[translation]).questions
    assert {question.criterion.group.kind: question.languages for question in pairs} == {
        "outside_english": ("fr-en", "sw-en"),
        "worst": ("fr-en", "sw-en"),
    }


def test_comparisons_without_a_language_of_the_group_are_left_out(tiny_inputs: Path) -> None:
    some = {**FACTS, "languages": ["sw"], "variants": ["magnitude"]}
    question = {**QUESTION, "variants": "random", "languages": "all"}
    plan = plan_of(tiny_inputs, question, evaluations=[{**FACTS, "languages": ["en", "fr"]}, some])
    declared, *defaults = plan.questions
    assert (declared.languages, declared.n_left_out) == (("en", "fr"), 0)
    assert defaults[0].languages == ("fr", "sw")
    assert {plan.variants[variant].label for variant, _ in defaults[0].pairs} == {"magnitude 0.5 row"}
    assert defaults[0].n_left_out == len(plan.variants) - 2


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"variants": "n-m", "against": "random"}, ["comparable", "n-m against random"]),
        ({"metric": "f1_macro"}, ["no such metric", "accuracy", "f1_macro"]),
        ({"metric": "ece"}, ["no such metric", "accuracy", "ece"]),
        ({"languages": "script:Arab"}, ["no evaluated language", "script:Arab"]),
    ],
)
def test_a_question_without_an_answer_is_refused(tiny_inputs: Path, changes: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tiny_inputs, {**QUESTION, **changes})
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_recipe_without_questions_has_the_record_of_its_names(tiny_inputs: Path) -> None:
    plan = plan_of(tiny_inputs, evaluations=[])
    names = plan.record.parameters["names"]
    expected = make_identity("recipes", {"name": plan.recipe.name, "names": names})
    assert (plan.record.id, set(plan.record.rows)) == (expected.id, {"names"})
