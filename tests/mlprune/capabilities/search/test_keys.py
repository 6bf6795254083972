"""Searches of a recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlprune.capabilities.search import points
from mlprune.capabilities.search.keys import measured
from mlprune.capabilities.search.points import check_points, with_keys
from mlprune.capabilities.search.strategy.registry import SEARCH_METHODS
from mlprune.errors import RecipeError
from mlprune.recipe.evaluations import evaluations_of_task
from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe
from mlprune.vocabulary import computable_metrics
from tests.refusals import refused
from tests.search_recipes import BASE, SEARCH, search_recipe, sensitivity_recipe

LEVELS = {"per": "block", "values": [0.3, 0.5, 0.7]}
WITH_RUNGS = [name for name, method in SEARCH_METHODS.items() if method.uses_rungs]


def parse(**changes: Any) -> Recipe:
    return parse_recipe(search_recipe(**changes), folder=Path())


def error_of(**changes: Any) -> RecipeError:
    with refused(RecipeError) as caught:
        parse(**changes)
    return caught.value


def test_a_search_has_defaults_and_the_canonical_text_of_its_objective() -> None:
    search = parse(minimise="log( perplexity(all) )+0.10*kept", where="english<=dense").searches[0]
    assert (search.minimise, search.direction) == ("log(perplexity(all)) + 0.1 * kept", "minimise")
    assert search.where == ("english <= dense",)
    assert (search.split, search.report_on, search.batch, search.seed) == ("dev", "test", 8, 0)
    assert search.compare == ("uniform", "owl")
    assert (search.method.kind, search.rungs) == ("random", ())


def test_lists_of_a_search_do_not_multiply_out() -> None:
    space = {"sparsity": [0.3, 0.5], "score": ["wanda", "ria"], "scope.blocks": [[0, 1], ["2-3"]]}
    base = {key: value for key, value in BASE.items() if key != "score"}
    (search,) = parse(base=base, levels=None, space=space).searches
    assert {key: list(values) for key, values in search.space.items()} == space


@pytest.mark.parametrize(
    ("changes", "key", "context"),
    [
        ({"base": {**BASE, "scor": 1}}, "searches.0.base.scor", {"nearest": "score"}),
        ({"base": {**BASE, "name": "x"}}, "searches.0.base.name", {}),
        ({"base": {**BASE, "score": "wandaa"}}, "searches.0.base.score", {"nearest": "wanda"}),
        ({"base": {**BASE, "demonstrations": "mtt"}}, "searches.0.base.demonstrations", {"nearest": "mt"}),
        ({"base": {**BASE, "demonstrations": ["mt"]}}, "searches.0.base.demonstrations", {"expected": "a text"}),
        ({"base": {**BASE, "scope": {"blokcs": [1]}}}, "searches.0.base.scope.blokcs", {"nearest": "blocks"}),
        ({"levels": None, "space": {"sparsty": [0.3]}}, "searches.0.space.sparsty", {"nearest": "sparsity"}),
        ({"levels": None, "space": {"sparsity": 0.3}}, "searches.0.space.sparsity", {"expected": "a list"}),
        ({"levels": None, "space": {"sparsity": [0.3, 1.5]}}, "searches.0.space.sparsity", {"got": 1.5}),
        ({"levels": None, "space": {"sparsity": ["0.3"]}}, "searches.0.space.sparsity", {"expected": "a number"}),
        ({"minimise": "perplexity(all"}, "searches.0.minimise", {"position": 11}),
        ({"where": ["english < 3"]}, "searches.0.where.0", {"position": 9}),
        ({"minimise": "accuracy(all)"}, "searches.0.minimise", {"expected": list(computable_metrics("perplexity"))}),
        ({"minimise": "facts.accuracy(all)"}, "searches.0.minimise", {"expected": ["perplexity"]}),
        ({"minimise": "de"}, "searches.0.minimise", {"expected": ["en", "fr"]}),
        ({"where": "facts.accuracy(en) >= 0"}, "searches.0.where", {"expected": ["perplexity"]}),
        ({"task": "facts"}, "searches.0.task", {"expected": ["perplexity"]}),
        ({"split": "dv"}, "searches.0.split", {"nearest": "dev"}),
        ({"report_on": "tst"}, "searches.0.report_on", {"nearest": "test"}),
        ({"method": "randm"}, "searches.0.method.kind", {"nearest": "random"}),
        ({"method": {"kind": "random", "etaa": 3}}, "searches.0.method.etaa", {}),
        ({"compare": ["dpl"]}, "searches.0.compare.0", {"got": "dpl"}),
        ({"name": "dense"}, "searches.0.name", {}),
    ],
)
def test_a_mistake_is_named_with_its_key(changes: dict[str, Any], key: str, context: dict[str, Any]) -> None:
    error = error_of(**changes)
    assert error.context["key"] == key
    assert {name: error.context.get(name) for name in context} == context


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": None}, "nothing to vary"),
        ({"levels": None, "space": {"score": ["ria"], "sparsity": [0.5]}}, "score is both in base and in space"),
        ({"levels": None, "space": {"sparsity": [0.3], "scope": [{}], "scope.blocks": [[0]]}}, "cannot both vary"),
        ({"levels": None, "space": {"sparsity": [0.3, 0.3]}}, "different values"),
        ({"levels": None, "space": {"sparsity": [0.3, 0.5], "structure": ["row", "2:4"]}}, "sparsity: 0.3, structure"),
        ({"levels": None, "space": {"sparsity": [0.5], "power": [1.0]}}, "power does not apply to "),
        ({"space": {"sparsity": [0.3]}}, "levels set the sparsity"),
        ({"base": {**BASE, "schedule": "owl"}}, "levels set the schedule"),
        ({"levels": {**LEVELS, "layers": ["fc1"]}, "base": {**BASE, "scope": {"blocks": [0]}}}, "scope out of base"),
        ({"base": {**BASE, "structure": "2:4"}}, "structure 2:4"),
        ({"base": {**BASE, "propagation": "sequential"}}, "need propagation: dense"),
        ({"base": {"score": "wanda", "demonstrations": "mt"}}, "need propagation: dense"),
        ({"levels": {**LEVELS, "values": [0.5, 0.3]}}, "ascend"),
        ({"levels": {"values": [0.3, 0.5, 0.8], "total": 0.5}}, "equally spaced"),
        ({"levels": {**LEVELS, "total": 0.8}}, "no levels from 0.3 to 0.7 have the total 0.8"),
        ({"maximise": "kept"}, "got both"),
        ({"minimise": None}, "got none"),
        ({"minimise": None, "maximise": "perplexity(all)"}, "lower values of perplexity are better"),
        ({"minimise": "kept"}, "measures a group of languages"),
        ({"minimise": "script:Cyrl"}, "no language of the group script:Cyrl"),
        ({"budget": None}, "needs a budget"),
        ({"budget": {}}, "one of both"),
        ({"budget": {"variants": 3, "items": 100}}, "one of both"),
        ({"report_on": "dev"}, "'dev' for both"),
        ({"rungs": [8]}, "has no rungs"),
        ({"compare": ["random"]}, "compare random"),
        ({"compare": ["owl", "owl"]}, "different ones"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    assert message in error_of(**changes).message


def test_levels_of_a_score_without_statistics_need_no_propagation() -> None:
    assert parse(base={"score": "magnitude"}, compare=["uniform"]).searches[0].levels is not None


def test_an_exhaustive_search_needs_no_budget() -> None:
    assert parse(method="exhaustive", budget=None).searches[0].budget is None


@pytest.mark.skipif(not WITH_RUNGS, reason="no method has rungs")
def test_rungs_ascend_and_are_needed_by_the_methods_that_use_them() -> None:
    method = {"method": WITH_RUNGS[0]}
    assert parse(**method, rungs=[4, 8]).searches[0].rungs == (4, 8)
    assert "ascend" in error_of(**method, rungs=[8, 4]).message
    assert "needs rungs" in error_of(**method).message


FACTS: dict[str, Any] = {"task": "facts", "path": "corpus", "languages": ["en", "fr"]}
PAIRS: dict[str, Any] = {"task": "translation", "path": "corpus", "pairs": ["fr-en"]}


def parse_evaluated(*evaluations: dict[str, Any], **changes: Any) -> Recipe:
    on_both = [{**entry, "split": split} for split in ("dev", "test") for entry in evaluations]
    return parse_recipe({**search_recipe(**{"minimise": None, **changes}), "evaluations": on_both}, folder=Path())


def test_measures_get_the_task_of_the_search_and_the_metric_of_their_task() -> None:
    recipe = parse_evaluated(
        FACTS, PAIRS, maximise="all + translation.bleu(fr-en)", where="fr-en >= 1", task="translation"
    )
    got = [(one.task, one.metric, str(one.group), one.key) for one in measured(recipe.searches[0], recipe.evaluations)]
    assert got == [
        ("translation", "chrf", "fr-en", "where"),
        ("translation", "chrf", "all", "maximise"),
        ("translation", "bleu", "fr-en", "maximise"),
    ]
    recipe = parse_evaluated(FACTS, maximise="worst")
    assert [one.metric for one in measured(recipe.searches[0], recipe.evaluations)] == ["accuracy"]


def test_several_tasks_need_a_choice() -> None:
    with pytest.raises(RecipeError, match=r"several tasks: add task, one of \['facts', 'translation'\]"):
        parse_evaluated(FACTS, PAIRS, maximise="all")
    assert parse_evaluated(FACTS, PAIRS, maximise="facts.accuracy(all)").searches


def test_the_first_evaluation_of_a_task_counts_with_its_first_options_and_its_other_languages() -> None:
    both = {**FACTS, "rule": ["candidate_sum", "mean"], "limit": 20}
    recipe = parse_evaluated(both, {**both, "languages": ["sw"], "rule": "candidate_sum"}, FACTS, maximise="sw")
    chosen = evaluations_of_task(recipe.evaluations, "facts", split="dev")
    assert [(one.languages, one.rule, one.limit) for one in chosen] == [
        (("en", "fr"), ("candidate_sum",), 20),
        (("sw",), ("candidate_sum",), 20),
    ]


@pytest.mark.parametrize("group", ["rank_consistency(all)", "rank_consistency(fr)"])
def test_rank_consistency_needs_english(group: str) -> None:
    assert parse_evaluated(FACTS, maximise=group).searches
    with pytest.raises(RecipeError, match="no English"):
        parse_evaluated({**FACTS, "languages": ["fr"]}, maximise=group)


def test_english_has_no_rank_consistency() -> None:
    with pytest.raises(RecipeError, match="English has no value"):
        parse_evaluated(FACTS, maximise="rank_consistency(english)")


def test_scripts_and_classes_are_those_of_languages_outside_english() -> None:
    assert parse_evaluated(PAIRS, maximise="script:Latn").searches
    assert parse_evaluated(FACTS, maximise="class:5").searches
    with pytest.raises(RecipeError, match="no language of the group script:Latn"):
        parse_evaluated({**FACTS, "languages": ["en", "zh"]}, maximise="script:Latn")


def text_of_error(recipe: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(recipe, folder=Path())
    return str(caught.value)


@pytest.mark.parametrize("name", ["blocks", "blocks-uniform", "blocks-owl"])
def test_the_names_of_a_search_and_its_comparators_are_free(name: str) -> None:
    variant = {"name": name, "score": "magnitude", "sparsity": 0.5}
    assert repr(name) in text_of_error({**search_recipe(), "variants": [variant]})


def test_two_searches_have_different_names() -> None:
    assert "'blocks'" in text_of_error({**search_recipe(), "searches": [SEARCH, SEARCH]})


def test_a_search_and_an_analysis_have_different_names() -> None:
    analysis = sensitivity_recipe(name="blocks")["sensitivity"]
    assert "'blocks'" in text_of_error({**search_recipe(), "sensitivity": analysis})


def test_the_sets_of_a_space_are_known() -> None:
    base = {key: value for key, value in BASE.items() if key != "demonstrations"}
    space = {"demonstrations": ["mt", "nt"]}
    assert "searches.0.space.demonstrations" in text_of_error(search_recipe(base=base, space=space))
    over = {**base, "over": ["mt", "nt"], "aggregate": "mean"}
    assert "searches.0.base.over" in text_of_error(search_recipe(base=over))


@pytest.mark.parametrize("make", [search_recipe, sensitivity_recipe])
def test_a_name_that_stands_for_several_sets_is_refused(make: Callable[..., dict[str, Any]]) -> None:
    recipe = make()
    recipe["demonstrations"][0]["source"] = ["fr", "sw"]
    assert "base.demonstrations: every trial is one variant, which reads one set, got mt with 2 sets" in text_of_error(
        recipe
    )
    both = {**BASE, "over": ["mt", "code"], "aggregate": "mean"}
    del both["demonstrations"]
    together = make(base=both)
    together["demonstrations"].append({"name": "code", "kind": "code", "path": "code"})
    assert parse_recipe(together, folder=Path())
    together["demonstrations"][1]["seed"] = 1
    assert "reads sets of one seed, got mt and code with 2 seeds" in text_of_error(together)


def test_a_key_with_a_dot_is_set_in_its_section_and_the_entry_is_not_changed() -> None:
    entry = {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}
    changed = with_keys(entry, {"schedule.spread": 0.1, "score": "ria", "scope.blocks": [1]})
    expected = {"score": "ria", "schedule": {"kind": "owl", "m": 3, "spread": 0.1}, "scope": {"blocks": [1]}}
    assert changed == expected
    assert entry == {"score": "wanda", "schedule": {"kind": "owl", "m": 3}}


def test_a_section_that_is_one_word_is_its_kind() -> None:
    assert with_keys({"schedule": "owl"}, {"schedule.m": 4})["schedule"] == {"kind": "owl", "m": 4}


def test_of_a_large_space_every_pair_of_values_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"sparsity": [0.1, 0.2, 0.5], "score": ["magnitude", "random"], "structure": ["row", "matrix", "2:4"]}
    monkeypatch.setattr(points, "MAX_CHECKED", 10)
    with pytest.raises(ValueError, match=r"structure 2:4 has sparsity 0.5, got 0.1 \(with sparsity: 0.1"):
        check_points({}, space, None)
    check_points({}, {**space, "structure": ["row", "matrix", "alpha"]}, None)


def test_of_a_large_axis_every_value_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MAX_CHECKED", 2)
    with pytest.raises(ValueError, match="less than 1"):
        check_points({"score": "magnitude"}, {"sparsity": [0.1, 0.2, 1.0]}, None)
