"""Numbers, texts and truth values of a recipe are not converted to each other."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe

FRENCH = {"name": "fr", "kind": "monolingual", "language": "fr"}
WANDA = {"name": "w", "demonstrations": "fr", "score": "wanda", "sparsity": 0.5}
XNLI = {"task": "xnli", "path": "xnli", "languages": ["fr"]}


def parsed(**sections: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "demonstrations": [FRENCH]}
    return parse_recipe({**recipe, **sections}, folder=Path())


@pytest.mark.parametrize(
    ("sections", "key", "expected"),
    [
        ({"variants": [{**WANDA, "sparsity": "0.3"}]}, "variants.0.sparsity", "a number"),
        ({"demonstrations": [{**FRENCH, "samples": 4.0}]}, "demonstrations.0.samples", "a whole number"),
        ({"demonstrations": [{**FRENCH, "seed": True}]}, "demonstrations.0.seed", "a whole number"),
        ({"demonstrations": [{**FRENCH, "paired": "no"}]}, "demonstrations.0.paired", "true or false"),
        ({"demonstrations": [{**FRENCH, "paired": 1}]}, "demonstrations.0.paired", "true or false"),
        ({"evaluations": [{**XNLI, "limit": "10"}]}, "evaluations.0.limit", "a whole number"),
        ({"analyses": {"overlap_shares": [0.3, "0.5"]}}, "analyses.overlap_shares", "a number"),
    ],
)
def test_a_value_of_another_type_is_refused(sections: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(**sections)
    assert (caught.value.context["key"], caught.value.context["expected"]) == (key, expected)


def test_a_whole_number_is_a_number() -> None:
    recipe = parsed(variants=[{**WANDA, "sparsity": [0, 0.5]}], demonstrations=[{**FRENCH, "shots": 2}])
    assert [variant.sparsity for variant in recipe.variants] == [0.0, 0.5]


def test_a_language_that_yaml_reads_as_false_is_explained() -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(evaluations=[{**XNLI, "languages": ["en", False]}])
    assert "YAML reads no" in str(caught.value.context["expected"])
    assert caught.value.context["key"] == "evaluations.0.languages.1"


RECIPE: dict[str, Any] = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}}


@pytest.mark.parametrize("name", ["x" * 100_000, "a\x1b[31mb", "two\nlines", " ", "nul\0"])
@pytest.mark.parametrize("section", ["", "demonstrations", "variants", "baselines"])
def test_a_name_is_one_short_line(section: str, name: str) -> None:
    entry = {
        "demonstrations": {"name": name, "kind": "monolingual", "language": "fr"},
        "variants": {"name": name, "score": "magnitude", "sparsity": 0.5},
        "baselines": {"name": name, "kind": "model", "path": "m"},
    }
    changes = {section: [entry[section]]} if section else {"name": name}
    with pytest.raises(RecipeError, match="a name") as caught:
        parse_recipe({**RECIPE, **changes}, folder=Path())
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["variants", "baselines"])
def test_an_entry_is_not_named_like_the_dense_model(section: str) -> None:
    method = {"variants": {"score": "magnitude", "sparsity": 0.5}, "baselines": {"kind": "model", "path": "m"}}
    with pytest.raises(RecipeError, match="not pruned"):
        parse_recipe({**RECIPE, section: [{"name": "dense", **method[section]}]}, folder=Path())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"evaluations": [{"task": "xnli", "path": "p", "languages": "en"}]}, "a list"),
        ({"variants": {"score": "wanda"}}, "a list"),
        ({"model": "facebook/xglm-564M"}, "keys and values"),
        (
            {"variants": [{"score": "magnitude", "structure": "rows"}]},
            "['row', 'matrix', 'alpha', 'units', 'blocks', 'N:M']",
        ),
        ({"model": {"path": ""}}, "a text of at least 1 characters"),
        ({"corpus": {"kind": 3}}, "'parallel_text' or 'cldr'"),
    ],
)
def test_messages_do_not_show_phrases_of_the_library(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**RECIPE, **changes}, folder=Path())
    assert str(caught.value.context["expected"]).startswith(expected)
    assert "should" not in str(caught.value)
