"""A tiny recipe of variants that are made from other variants."""

from typing import Any

from tests.tiny_recipes import small_recipe


def derived_recipe() -> dict[str, Any]:
    """Quantised variants: dense, of masks, of changed weights and of a combination."""
    recipe = small_recipe()
    wanda = {"demonstrations": "mt", "score": "wanda", "sparsity": 0.5, "propagation": "dense"}
    changed = {"demonstrations": "mt", "score": "sparsegpt", "sparsity": 0.5}
    recipe["name"] = "derived"
    recipe["variants"] = [
        {"name": "wanda", **wanda},
        {"name": "magnitude", "score": "magnitude", "sparsity": 0.5},
        {"name": "wanda-bits", **wanda, "bits": [8, 4], "against": ["dense-bits", "magnitude-bits", "wanda-bits"]},
        {"name": "magnitude-bits", "score": "magnitude", "sparsity": 0.5, "bits": 4, "quantisation_group": 8},
        {"name": "changed-bits", **changed, "bits": 4, "quantisation_group": 8},
        {"name": "dense-bits", "sparsity": 0, "bits": [8, 4]},
        {"name": "union-bits", "combine": "union", "of": ["wanda", "magnitude"], "bits": 4},
    ]
    facts = {"task": "facts", "path": "facts"}
    recipe["evaluations"] = [
        {**facts, "languages": ["fr"], "variants": ["wanda-bits"]},
        {**facts, "languages": ["en"], "variants": ["dense-bits", "changed-bits"]},
    ]
    return recipe
