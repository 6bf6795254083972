"""A good recipe as a mapping, and how a test spoils it."""

import copy
from pathlib import Path
from typing import Any

from mlprune.recipe import Recipe, parse_recipe

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
"""A value for `changed` that takes the key away."""


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good recipe with another value at a place such as `variants.0.sparsity`; DELETED takes the key away."""
    recipe: Any = copy.deepcopy(GOOD)
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    entry = recipe
    for step in way:
        entry = entry[step]
    if value is DELETED:
        del entry[last]
    else:
        entry[last] = value
    return dict(recipe)


def with_keys(place: str, **keys: Any) -> dict[str, Any]:
    """The good recipe with more keys, or other values of them, in the entry at a place such as `variants.0`."""
    section, index = place.split(".")
    return changed(place, {**GOOD[section][int(index)], **keys})


def parse(value: dict[str, Any]) -> Recipe:
    """Check a mapping as a recipe in a folder that need not exist."""
    return parse_recipe(value, folder=Path("/recipes"))
