"""Evaluations of a recipe: lists that multiply out, defined tasks, and options that do not apply."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import EvaluationConfig, Recipe, parse_recipe

MOOD = {"name": "mood", "template": "{text} {candidate}", "answer": "label", "labels": ["bad", "good"]}
XNLI = {"task": "xnli", "path": "xnli", "languages": ["fr"]}
FRENCH = {"name": "fr", "kind": "monolingual", "language": "fr"}
PAIR = {"name": "fr-en", "kind": "translation", "pair": "fr-en"}
MIXED = {"name": "all", "kind": "mixed", "parts": ["fr"]}
TRANSLATION = {"task": "translation", "path": "corpus", "pairs": ["fr-en"]}


def parsed(*evaluations: dict[str, Any], **sections: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "evaluations": list(evaluations)}
    return parse_recipe({**recipe, **sections}, folder=Path())


def one(**changes: Any) -> EvaluationConfig:
    return parsed({**XNLI, **changes}).evaluations[0]


def test_one_value_is_a_list_of_one() -> None:
    assert (one().rule, one().prompt_language, one().shot_seed) == (("mean",), ("en",), None)
    result = one(rule="pmi", prompt_language=["en", "native"])
    assert (result.rule, result.prompt_language) == (("pmi",), ("en", "native"))
    assert parsed({**TRANSLATION, "shot_seed": [0, 1]}).evaluations[0].shot_seed == (0, 1)


def test_evaluations_may_name_the_recipes_own_tasks() -> None:
    recipe = parsed({**XNLI, "task": "mood", "rule": ["mean", "pmi"]}, tasks=[MOOD])
    result = recipe.template_task(recipe.evaluations[0].task)
    assert result is not None
    assert result.labels == ("bad", "good")
    assert recipe.template_task("xnli") is None


def test_overlaps_have_the_papers_share_by_default() -> None:
    assert parsed().analyses.overlap_shares == (0.3,)
    assert parsed(analyses={"overlap_shares": [0.1, 0.5]}).analyses.overlap_shares == (0.1, 0.5)


def test_neurons_are_counted_over_sets_of_several_languages() -> None:
    assert parsed().analyses.neurons == ()
    several = {**FRENCH, "language": ["fr", "sw"]}
    assert parsed(analyses={"neurons": ["fr"]}, demonstrations=[several]).analyses.neurons == ("fr",)


@pytest.mark.parametrize(
    ("evaluation", "sections", "parts"),
    [
        ({**XNLI, "task": "moood"}, {"tasks": [MOOD]}, ["evaluations.0.task", "moood", "nearest='mood'"]),
        ({**XNLI, "task": "mood"}, {}, ["evaluations.0.task", "got='mood'"]),
        (XNLI, {"tasks": [MOOD, MOOD]}, ["the same name"]),
        (XNLI, {"tasks": [{**MOOD, "name": "xnli"}]}, ["is a built-in task"]),
        (XNLI, {"tasks": [{**MOOD, "name": "my mood"}]}, ["tasks.0.name"]),
        (XNLI, {"tasks": [{**MOOD, "lables": []}]}, ["tasks.0.lables", "nearest='labels'"]),
        ({**XNLI, "rule": "max"}, {}, ["evaluations.0.rule"]),
        ({**XNLI, "rule": []}, {}, ["evaluations.0.rule"]),
        ({**XNLI, "rule": ["mean", "mean"]}, {}, ["several different ones"]),
        ({**TRANSLATION, "rule": "pmi"}, {}, ["rule does not apply to task translation"]),
        ({**TRANSLATION, "prompt_language": "native"}, {}, ["prompt_language does not apply"]),
        ({**XNLI, "task": "marc", "prompt_language": "native"}, {}, ["only to xnli or xcopa"]),
        ({**XNLI, "shot_seed": 1}, {}, ["shot_seed does not apply to task xnli"]),
        ({**XNLI, "split_by": "clusters"}, {}, ["split_by applies to path corpus"]),
        ({**TRANSLATION, "split_by": "cluster"}, {}, ["evaluations.0.split_by"]),
        (XNLI, {"analyses": {"overlap_shares": [0]}}, ["analyses.overlap_shares"]),
        (XNLI, {"analyses": {"overlap_shares": []}}, ["several different ones"]),
        (XNLI, {"analyses": {"neuron_variants": ["w"]}}, ["key='analyses.neuron_variants'", "got='w'"]),
        (XNLI, {"analyses": {"neurons": ["fr"]}}, ["key='analyses.neurons'", "got='fr'"]),
        (
            XNLI,
            {"analyses": {"layer_errors": {"demonstrations": ["fr"]}}},
            ["key='analyses.layer_errors.demonstrations'", "got='fr'"],
        ),
        (
            XNLI,
            {"analyses": {"layer_errors": {"demonstrations": ["fr"], "variants": ["w"]}}, "demonstrations": [FRENCH]},
            ["key='analyses.layer_errors.variants'", "got='w'"],
        ),
        (XNLI, {"analyses": {"layer_errors": {"demonstrations": []}}}, ["analyses.layer_errors.demonstrations"]),
        (XNLI, {"analyses": {"neurons": ["fr"]}, "demonstrations": [FRENCH]}, ["compares languages"]),
        (XNLI, {"analyses": {"neurons": ["fr-en"]}, "demonstrations": [PAIR]}, ["one language", "fr-en"]),
        (XNLI, {"analyses": {"neurons": ["all"]}, "demonstrations": [FRENCH, MIXED]}, ["one language", "mixed"]),
        (XNLI, {"analyses": {"shares": [0.1]}}, ["analyses.shares", "overlap_shares"]),
    ],
)
def test_a_wrong_evaluation_is_one_line_with_key_and_value(
    evaluation: dict[str, Any], sections: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(evaluation, **sections)
    assert len(str(caught.value).splitlines()) == 1
    for part in parts:
        assert part in str(caught.value)


def test_the_paper_profile_is_for_tasks_and_rules_of_the_published_code() -> None:
    assert parsed({**XNLI, "profile": ["corrected", "paper"]}).evaluations[0].profile == ("corrected", "paper")
    assert parsed(XNLI).evaluations[0].profile == ("corrected",)
    perplexity = {"task": "perplexity", "path": "corpus", "languages": ["fr"], "profile": "paper"}
    for entry, words in (
        (perplexity, ["profile paper", "perplexity"]),
        ({**XNLI, "profile": "paper", "rule": ["mean", "pmi"]}, ["rule mean", "pmi"]),
        ({**XNLI, "profile": ["paper", "paper"]}, ["profile", "different"]),
        ({**XNLI, "profile": "published"}, ["profile", "published"]),
    ):
        with pytest.raises(RecipeError) as caught:
            parsed(entry)
        assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "evaluation",
    [
        {**XNLI, "languages": ["en", "en"]},
        {**XNLI, "languages": ["en", "eng_Latn"]},
        {**TRANSLATION, "pairs": ["fr-en", "fra_Latn-eng_Latn"]},
    ],
)
def test_a_language_is_evaluated_once(evaluation: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="different"):
        parsed(evaluation)
