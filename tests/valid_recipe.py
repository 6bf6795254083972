"""A valid recipe as a mapping, and helpers to change single values."""

import copy
from pathlib import Path
from typing import Any

from mlprune.recipe.loading import parse_recipe
from mlprune.recipe.models import Recipe

GOOD: dict[str, Any] = {
    "name": "good",
    "model": {"path": "model"},
    "corpus": {"kind": "cldr"},
    "demonstrations": [
        {"name": "mt", "kind": "translation", "source": "fr", "target": "en"},
        {"name": "mono", "kind": "monolingual", "language": "fr"},
        {"name": "code", "kind": "code", "path": "src"},
        {"name": "mixed", "kind": "mixed", "parts": ["mt", "code"]},
    ],
    "variants": [
        {"name": "wanda", "demonstrations": "mt", "score": "wanda", "sparsity": 0.5},
        {"name": "contrast", "demonstrations": "mt", "contrast": "code", "score": "contrast", "sparsity": 0.5},
        {"name": "random", "score": "random", "sparsity": 0.5, "against": ["wanda"]},
        {"name": "both", "combine": "union", "of": ["wanda", "contrast"]},
        {"name": "means", "score": "wanda", "sparsity": 0.5, "over": ["mt", "mono"], "aggregate": "mean"},
    ],
    "evaluations": [
        {"task": "facts", "path": "corpus", "languages": ["en", "fr"]},
        {"task": "translation", "path": "corpus", "pairs": ["fr-en"], "variants": ["wanda"]},
    ],
    "compute": {},
}

DELETED = "(deleted)"
"""A value for `changed` that removes the key."""


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid recipe with another value at a path such as `variants.0.sparsity`. DELETED removes the key."""
    recipe: Any = copy.deepcopy(GOOD)
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    entry = recipe
    for step in parents:
        entry = entry[step]
    if value is DELETED:
        del entry[last]
    else:
        entry[last] = value
    return dict(recipe)


def with_keys(path: str, **keys: Any) -> dict[str, Any]:
    """The valid recipe with added or changed keys in the entry at a path such as `variants.0`."""
    section, index = path.split(".")
    return changed(path, {**GOOD[section][int(index)], **keys})


def parse(value: dict[str, Any]) -> Recipe:
    """Parse a mapping as a recipe. Its folder does not have to exist."""
    return parse_recipe(value, folder=Path("/recipes"))
