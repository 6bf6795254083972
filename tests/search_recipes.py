"""Recipes with a search or a sensitivity analysis, as mappings, on the inputs of `tests.tiny_recipes`."""

from typing import Any

from tests.tiny_recipes import small_recipe

N_SEARCHED = 10
"""Sentences per language on either split; the other sentences of the corpus are for demonstrations."""
BASE: dict[str, Any] = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
SEARCH: dict[str, Any] = {
    "name": "blocks",
    "base": BASE,
    "levels": {"per": "block", "values": [0.25, 0.5, 0.75], "total": 0.5},
    "minimise": "log(perplexity(all))",
    "budget": {"variants": 6},
}
REMOVAL: dict[str, Any] = {
    "name": "depth",
    "base": {"structure": "blocks"},
    "minimise": "perplexity(fr)",
    "method": {"kind": "one_by_one", "units": 2},
}
SENSITIVITY: dict[str, Any] = {"name": "where", "base": BASE, "sparsity": 0.5}


def search_recipe(**changes: Any) -> dict[str, Any]:
    """The small recipe with a search for the perplexity of the corpus; a value of None removes a key of the search."""
    search = {key: value for key, value in {**SEARCH, **changes}.items() if value is not None}
    sentences = {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": N_SEARCHED}
    evaluations = [{**sentences, "split": split} for split in ("dev", "test")]
    return {**small_recipe(), "variants": [], "evaluations": evaluations, "searches": [search]}


def sensitivity_recipe(**changes: Any) -> dict[str, Any]:
    """The small recipe with a sensitivity analysis; a value of None removes a key of the analysis."""
    recipe = search_recipe()
    del recipe["searches"]
    analysis = {key: value for key, value in {**SENSITIVITY, **changes}.items() if value is not None}
    return {**recipe, "sensitivity": [analysis]}
