"""Data sets of a hub in a recipe: paths that name them, and records that describe them."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import Recipe, parse_recipe

OWN: dict[str, Any] = {"name": "some/nli", "files": "{config}/{split}-*.parquet"}
XNLI = {"task": "xnli", "path": "hub:some/nli@v1", "languages": ["fr"]}


def parsed(*data_sets: dict[str, Any], **evaluation: Any) -> Recipe:
    recipe = {"name": "r", "model": {"path": "m"}, "corpus": {"kind": "cldr"}, "evaluations": [{**XNLI, **evaluation}]}
    return parse_recipe({**recipe, "data_sets": list(data_sets)}, folder=Path())


def test_one_file_or_column_is_a_list_of_one_and_mappings_are_pairs() -> None:
    (result,) = parsed({**OWN, "id": "doc", "columns": {"premise": "a"}, "configs": {"zho_Hant": "tw"}}).data_sets
    assert (result.files, result.id) == (("{config}/{split}-*.parquet",), ("doc",))
    assert (result.columns, result.configs) == ((("premise", "a"),), (("zh-Hant", "tw"),))
    assert result.splits == (("dev", "validation"), ("test", "test"))
    assert hash(result) == hash(
        parsed({**OWN, "id": ["doc"], "columns": {"premise": "a"}, "configs": {"zh-Hant": "tw"}}).data_sets[0]
    )


@pytest.mark.parametrize(
    ("own", "evaluation", "parts"),
    [
        ({"name": "some/nli"}, {}, ["data_sets.0.files"]),
        ({**OWN, "column": {}}, {}, ["data_sets.0.column", "nearest='columns'"]),
        ({**OWN, "splits": ["test"]}, {}, ["data_sets.0.splits"]),
        (OWN, {"task": "perplexity"}, ["parallel text from a folder", "hub:some/nli@v1"]),
        ({**OWN, "name": OWN["name"]}, {"task": "translation", "languages": [], "pairs": ["fr-en"]}, ["parallel text"]),
    ],
)
def test_a_wrong_data_set_is_one_line_with_key_and_value(
    own: dict[str, Any], evaluation: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        parsed(own, **evaluation)
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_data_set_is_described_once() -> None:
    with pytest.raises(RecipeError, match=r"two data sets have the same name.*some/nli"):
        parsed(OWN, {**OWN, "id": "doc"})
