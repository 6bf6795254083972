"""What a search measures: tasks, metrics, and the evaluations of a split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe
from mlprune.recipe.searches.search_checks import evaluations_of_task, measured
from tests.search_recipes import BASE, SEARCH, search_recipe, sensitivity_recipe

FACTS: dict[str, Any] = {"task": "facts", "path": "corpus", "languages": ["en", "fr"]}
PAIRS: dict[str, Any] = {"task": "translation", "path": "corpus", "pairs": ["fr-en"]}


def parse(*evaluations: dict[str, Any], **changes: Any) -> Recipe:
    on_both = [{**entry, "split": split} for split in ("dev", "test") for entry in evaluations]
    return parse_recipe({**search_recipe(**{"minimise": None, **changes}), "evaluations": on_both}, folder=Path())


def test_measures_get_the_task_of_the_search_and_the_metric_of_their_task() -> None:
    recipe = parse(FACTS, PAIRS, maximise="all + translation.bleu(fr-en)", where="fr-en >= 1", task="translation")
    got = [(one.task, one.metric, str(one.group), one.key) for one in measured(recipe.searches[0], recipe.evaluations)]
    assert got == [
        ("translation", "chrf", "fr-en", "where"),
        ("translation", "chrf", "all", "maximise"),
        ("translation", "bleu", "fr-en", "maximise"),
    ]
    recipe = parse(FACTS, maximise="worst")
    assert [one.metric for one in measured(recipe.searches[0], recipe.evaluations)] == ["accuracy"]


def test_several_tasks_need_a_choice() -> None:
    with pytest.raises(RecipeError, match=r"several tasks: add task, one of \['facts', 'translation'\]"):
        parse(FACTS, PAIRS, maximise="all")
    assert parse(FACTS, PAIRS, maximise="facts.accuracy(all)").searches


def test_the_first_evaluation_of_a_task_counts_with_its_first_options_and_its_other_languages() -> None:
    both = {**FACTS, "rule": ["candidate_sum", "mean"], "limit": 20}
    recipe = parse(both, {**both, "languages": ["sw"], "rule": "candidate_sum"}, FACTS, maximise="sw")
    chosen = evaluations_of_task(recipe.evaluations, "facts", split="dev")
    assert [(one.languages, one.rule, one.limit) for one in chosen] == [
        (("en", "fr"), ("candidate_sum",), 20),
        (("sw",), ("candidate_sum",), 20),
    ]


@pytest.mark.parametrize("group", ["rank_consistency(all)", "rank_consistency(fr)"])
def test_rank_consistency_needs_english(group: str) -> None:
    assert parse(FACTS, maximise=group).searches
    with pytest.raises(RecipeError, match="no English"):
        parse({**FACTS, "languages": ["fr"]}, maximise=group)


def test_english_has_no_rank_consistency() -> None:
    with pytest.raises(RecipeError, match="English has no value"):
        parse(FACTS, maximise="rank_consistency(english)")


def test_scripts_and_classes_are_those_of_languages_outside_english() -> None:
    assert parse(PAIRS, maximise="script:Latn").searches
    assert parse(FACTS, maximise="class:5").searches
    with pytest.raises(RecipeError, match="no language of the group script:Latn"):
        parse({**FACTS, "languages": ["en", "zh"]}, maximise="script:Latn")


def error_of(recipe: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe, folder=Path())
    return str(caught.value)


@pytest.mark.parametrize("name", ["blocks", "blocks-uniform", "blocks-owl"])
def test_the_names_of_a_search_and_its_comparators_are_free(name: str) -> None:
    variant = {"name": name, "score": "magnitude", "sparsity": 0.5}
    assert repr(name) in error_of({**search_recipe(), "variants": [variant]})


def test_two_searches_have_different_names() -> None:
    assert "'blocks'" in error_of({**search_recipe(), "searches": [SEARCH, SEARCH]})


def test_a_search_and_an_analysis_have_different_names() -> None:
    analysis = sensitivity_recipe(name="blocks")["sensitivity"]
    assert "'blocks'" in error_of({**search_recipe(), "sensitivity": analysis})


def test_the_sets_of_a_space_are_known() -> None:
    base = {key: value for key, value in BASE.items() if key != "demonstrations"}
    space = {"demonstrations": ["mt", "nt"]}
    assert "searches.0.space.demonstrations" in error_of(search_recipe(base=base, space=space))
    over = {**base, "over": ["mt", "nt"], "aggregate": "mean"}
    assert "searches.0.base.over" in error_of(search_recipe(base=over))


@pytest.mark.parametrize("make", [search_recipe, sensitivity_recipe])
def test_a_name_that_stands_for_several_sets_is_refused(make: Callable[..., dict[str, Any]]) -> None:
    recipe = make()
    recipe["demonstrations"][0]["source"] = ["fr", "sw"]
    assert "base.demonstrations: every trial is one variant, which reads one set, got mt with 2 sets" in error_of(
        recipe
    )
    both = {**BASE, "over": ["mt", "code"], "aggregate": "mean"}
    del both["demonstrations"]
    together = make(base=both)
    together["demonstrations"].append({"name": "code", "kind": "code", "path": "code"})
    assert parse_recipe(together, folder=Path())
    together["demonstrations"][1]["seed"] = 1
    assert "reads sets of one seed, got mt and code with 2 seeds" in error_of(together)
