"""Recipes whose lists multiply out to too many variants are refused before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from mlprune.errors import RecipeError
from mlprune.recipe import parse_recipe
from mlprune.recipe.loading import loader
from mlprune.recipe.loading.counts import MOST, count_evaluations, count_variants
from tests.valid_recipe import GOOD

SEEDS = list(range(300))
SPARSITIES = [n / 1000 for n in range(1, 301)]
SET = {"name": "mt", "kind": "translation", "source": "fr", "target": "en"}
VARIANT = {"name": "v", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5}


def recipe(**sections: Any) -> dict[str, Any]:
    empty = ("demonstrations", "variants", "evaluations")
    return {**{key: value for key, value in GOOD.items() if key not in empty}, "demonstrations": [SET], **sections}


def parse(**sections: Any) -> Any:
    return parse_recipe(recipe(**sections), folder=Path())


TOO_MANY = {
    "sets times sparsities": (
        {"demonstrations": [{**SET, "seed": SEEDS}], "variants": [{**VARIANT, "sparsity": SPARSITIES}]},
        ("90,001", "demonstrations.0.seed: 300", "variants.0.sparsity: 300"),
    ),
    "lists of an entry": (
        {"variants": [{**VARIANT, "sparsity": SPARSITIES, "samples": SEEDS[1:], "max": SEEDS, "min": SEEDS * 400}]},
        (f"{300 * 299 * 300 * 120_000:,}", "variants.0.min: 120,000"),
    ),
    "sets alone": (
        {"demonstrations": [{**SET, "seed": SEEDS, "max_tokens": SEEDS[2:]}]},
        (f"{300 * 298:,}", "demonstrations.0.seed: 300"),
    ),
    "lists of plug-ins": (
        {"variants": [{**VARIANT, "parameters": dict.fromkeys("abcde", SEEDS)}]},
        (f"{300**5:,}", "variants.0.parameters.a: 300"),
    ),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_too_many_are_refused_with_their_number_and_the_longest_lists(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections, (count, *lists) = TOO_MANY[name]
    expanded: list[int] = []
    original = loader.expand_entry

    def expand(entry: Any) -> Any:
        result = original(entry)
        expanded.append(len(result))
        return result

    monkeypatch.setattr(loader, "expand_entry", expand)
    with pytest.raises(RecipeError) as error:
        parse(**sections)
    context = error.value.context
    assert context["got"] == count
    assert all(text in str(context["longest_lists"]) for text in lists)
    assert "--yes" in str(context["next"])
    assert sum(expanded) <= 4 * 300


def test_a_recipe_with_many_is_read_if_the_user_allows_it() -> None:
    sections = recipe(demonstrations=[{**SET, "seed": SEEDS}], variants=[{**VARIANT, "sparsity": SPARSITIES[:70]}])
    with pytest.raises(RecipeError):
        parse_recipe(sections, folder=Path())
    assert count_variants(parse_recipe(sections, folder=Path(), allow_many=True)) == 300 * 70 + 1 > MOST


def test_too_many_evaluations_are_refused() -> None:
    languages = ["en", "fr"]
    many = {"task": "translation", "path": "corpus", "pairs": ["fr-en", "en-fr"], "shot_seed": list(range(MOST))}
    few = {"task": "facts", "path": "corpus", "languages": languages, "rule": ["mean", "pmi"]}
    assert count_evaluations(parse(evaluations=[few, {**many, "shot_seed": [1, 2, 3]}])) == 4 + 6
    with pytest.raises(RecipeError) as error:
        parse(evaluations=[few, many])
    assert "evaluations.1.shot_seed" in str(error.value.context["longest_lists"])


TWO = [{**SET, "seed": [0, 1]}, {**SET, "name": "other", "source": "es", "seed": [1, 2, 2**40]}]


@pytest.mark.parametrize(
    ("variants", "count"),
    [
        ([VARIANT], 2),
        ([{**VARIANT, "score": "magnitude"}], 1),
        ([{**VARIANT, "sparsity": 0}], 1),
        ([{**VARIANT, "bits": 8}], 4),
        ([{**VARIANT, "demonstrations": ["mt", "other"]}], 5),
        ([{**VARIANT, "score": "contrast", "contrast": "other", "demonstrations": "mt"}], 1),
        ([VARIANT, {"name": "c", "combine": "union", "of": ["v", "w"]}, {**VARIANT, "name": "w"}], 6),
        ([VARIANT, {"combine": "union", "of": ["c", "v"]}, {"name": "c", "combine": "union", "of": ["v"]}], 6),
        ([{"name": "n", "neurons": {"of": ["en", "fr"], "sets": ["a", "b"], "share": [0.1, 0.2, 0.3]}}], 6),
    ],
)
def test_variants_are_counted_without_building_them(variants: list[Any], count: int) -> None:
    languages = [{"name": name, "kind": "monolingual", "language": code} for name, code in (("a", "en"), ("b", "fr"))]
    assert count_variants(parse(demonstrations=[*TWO, *languages], variants=variants)) == count + 1


def test_variants_over_several_sets_are_counted_by_seed() -> None:
    over = {"score": "wanda", "sparsity": 0.5, "over": ["mt", "other"], "aggregate": "mean"}
    assert count_variants(parse(demonstrations=TWO, variants=[over])) == 4 + 1
