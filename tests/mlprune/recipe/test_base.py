"""Names and messages of recipes."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import parse_recipe

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
        ({"variants": [{"score": "magnitude", "structure": "rows"}]}, "['row', 'matrix', 'alpha', 'units', 'N:M']"),
        ({"model": {"path": ""}}, "a text of at least 1 characters"),
        ({"corpus": {"kind": 3}}, "'parallel_text' or 'cldr'"),
    ],
)
def test_messages_do_not_show_phrases_of_the_library(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**RECIPE, **changes}, folder=Path())
    assert str(caught.value.context["expected"]).startswith(expected)
    assert "should" not in str(caught.value)
