"""A recipe of variants without neurons."""

from typing import Any

from tests.tiny_recipes import small_recipe


def neuron_recipe() -> dict[str, Any]:
    """Every action on the neurons of a language, with two controls."""
    recipe = small_recipe()
    sizes = {"shots": 2, "samples": 4, "max_tokens": 48}
    recipe["demonstrations"].append({"name": "text", "kind": "monolingual", "language": ["fr", "sw"], **sizes})
    of_sw = {"of": "sw", "sets": "text", "share": 0.2, "quantile": 0.5, "seed": [0, 1]}
    recipe["variants"] = [{"name": "neurons", "neurons": {**of_sw, "action": ["remove", "only", "random"]}}]
    recipe["evaluations"] = [{"task": "facts", "path": "facts", "languages": ["fr"]}]
    return recipe
