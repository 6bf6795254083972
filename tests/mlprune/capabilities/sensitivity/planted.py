"""A tiny model with a block that does nothing, and a recipe that measures the sensitivity of its parts."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from tests.tiny_recipes import copied_inputs, tiny_recipe

HARMLESS = 1
"""Block whose output projections are zero: its states leave it as they enter it."""


def write_planted_inputs(tiny: Path, folder: Path) -> Path:
    """Copy the tiny inputs and make one block of the model harmless."""
    copied_inputs(tiny, folder)
    path = folder / "model" / "model.safetensors"
    tensors = load_file(path)
    for layer in ("self_attn.out_proj", "fc2"):
        for part in ("weight", "bias"):
            tensors[f"model.layers.{HARMLESS}.{layer}.{part}"].zero_()
    path.unlink()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    return folder


def planted_recipe() -> dict[str, Any]:
    """Probes by block, block influence, and a variant whose schedule reads the losses."""
    recipe = tiny_recipe()
    wanda = {"score": "wanda", "demonstrations": "mt", "propagation": "dense"}
    mt, mono = recipe["demonstrations"][:2]
    recipe["demonstrations"] = [{**mt, "source": "fr"}, mono]
    recipe["sensitivity"] = [{"name": "where", "base": wanda, "sparsity": 0.75, "split": "test", "influence": "mono"}]
    schedule = {"from": "where", "spread": 0.125, "group": "all", "task": "perplexity"}
    recipe["variants"] = [{"name": "by-need", **wanda, "sparsity": 0.5, "schedule": schedule}]
    recipe["evaluations"] = [
        {"task": "facts", "path": "facts", "languages": ["en", "fr", "sw"]},
        {"task": "perplexity", "path": "corpus", "languages": ["en", "fr"], "limit": 16},
    ]
    return recipe
