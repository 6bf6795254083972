"""Tiny recipes of variants that are made from other variants."""

from typing import Any

from tests.tiny_recipes import small_recipe, tiny_recipe

TOO_FAST = {"steps": 2, "learning_rate": 1e6, "batch": 2}
"""Settings whose steps improve no block."""


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


def reconstructed_recipe() -> dict[str, Any]:
    """Reconstructed variants: of masks of one set and of two, rounded, and with steps that improve nothing."""
    recipe = small_recipe()
    recipe["demonstrations"] += [tiny_recipe()["demonstrations"][1]]
    fit = {"steps": 12, "learning_rate": 1.5, "batch": 2}
    two = {**fit, "over": ["mt", "mono"], "shares": [1, 3], "propagation": "dense"}
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
    recipe["variants"] = [
        {"name": "wanda", **wanda, "sparsity": [0, 0.5]},
        {"name": "own", **wanda, "sparsity": [0, 0.5], "reconstruct": fit},
        {"name": "two", **wanda, "sparsity": 0.5, "reconstruct": two},
        {"name": "rounded", **wanda, "sparsity": 0.5, "reconstruct": fit, "bits": 4},
        {"name": "one-block", **wanda, "sparsity": 0.5, "scope": {"blocks": [1]}, "reconstruct": fit},
        {"name": "sparsegpt", "score": "sparsegpt", "demonstrations": "mt", "sparsity": 0.5, "reconstruct": fit},
        {"name": "too-fast", **wanda, "sparsity": 0.5, "reconstruct": TOO_FAST},
        {"name": "too-fast-rounded", **wanda, "sparsity": 0.5, "reconstruct": TOO_FAST, "bits": 4},
    ]
    return recipe


def coded_recipe() -> dict[str, Any]:
    """Variants with codes: of masks, dense, of changed weights, of two sets and of fewer units."""
    recipe = small_recipe()
    recipe["name"] = "coded"
    recipe["demonstrations"] += [tiny_recipe()["demonstrations"][1]]
    two = {"over": ["mt", "mono"], "shares": [1, 3], "propagation": "dense"}
    other = {"bits": 3, "group": "row", "symmetric": False, "order": "by_activation"}
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
    changed = {"score": "sparsegpt", "demonstrations": "mt", "sparsity": 0.5}
    units = {"score": "flap", "compensate": False}
    recipe["variants"] = [
        {"name": "wanda", **wanda, "sparsity": 0.5},
        {"name": "own", **wanda, "sparsity": [0, 0.5], "quantise": {}, "against": ["nearest"]},
        {"name": "nearest", **wanda, "sparsity": 0.5, "quantise": {"method": "nearest"}},
        {"name": "two", "sparsity": 0, "quantise": {**two, **other}},
        {"name": "changed", **changed, "quantise": {"bits": 8, "group": 32, "tokens": "source"}},
        {"name": "units", **wanda, **units, "sparsity": 0.3, "quantise": {"group": 32, "propagation": "dense"}},
    ]
    facts = {"task": "facts", "path": "facts", "languages": ["fr"]}
    recipe["evaluations"] = [{**facts, "variants": ["own", "nearest"]}]
    return recipe


def recovered_recipe() -> dict[str, Any]:
    """Recovered variants: of masks of one set and of two, of low rank, rounded, and without or with useless steps."""
    recipe = small_recipe()
    recipe["name"] = "recovered"
    recipe["demonstrations"] += [tiny_recipe()["demonstrations"][1]]
    fit = {"steps": 6, "learning_rate": 0.02, "batch": 2, "every": 2, "checkpoint": 2}
    two = {**fit, "over": ["mt", "mono"], "shares": [1, 3], "text_share": 0.5, "divergence": "reverse"}
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
    recipe["variants"] = [
        {"name": "wanda", **wanda, "sparsity": [0, 0.5]},
        {"name": "own", **wanda, "sparsity": [0, 0.5], "recover": fit, "against": ["wanda"]},
        {"name": "two", **wanda, "sparsity": 0.5, "recover": two},
        {"name": "low-rank", **wanda, "sparsity": 0.5, "recover": {**fit, "rank": 2, "tokens": "target"}},
        {"name": "rounded", **wanda, "sparsity": 0.5, "recover": fit, "bits": 4},
        {"name": "fitted", **wanda, "sparsity": 0.5, "reconstruct": {"steps": 2}, "recover": fit},
        {"name": "no-steps", **wanda, "sparsity": 0.5, "recover": {**fit, "steps": 0}},
        {"name": "too-fast", **wanda, "sparsity": 0.5, "recover": {**fit, "learning_rate": 30.0}},
    ]
    return recipe
