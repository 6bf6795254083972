"""What a search measures: tasks, metrics, and the evaluations of a split."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe
from mlprune.recipe.searches.measures import evaluations_of_task, measured
from tests.search_recipes import search_recipe

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
