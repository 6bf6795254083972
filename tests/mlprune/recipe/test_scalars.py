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
