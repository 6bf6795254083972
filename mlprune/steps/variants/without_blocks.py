"""Rows of variants without whole blocks, which have no masks, and what recipes cannot ask of them."""

from collections.abc import Collection, Iterator, Sequence
from math import prod
from pathlib import Path

from mlprune.errors import RecipeError
from mlprune.json_values import JsonValue, Row, as_int
from mlprune.models.checkpoint.weight_files import WeightFiles, architecture_at
from mlprune.recipe.base import NamedEntry
from mlprune.recipe.models import Recipe
from mlprune.steps.variants.variant import VariantSpec, variant_row


def require_no_masks_of(recipe: Recipe, entry: NamedEntry) -> None:
    """Refuse an entry whose masks are combined or analysed.

    Raises:
        RecipeError: they are.
    """
    errors = recipe.analyses.layer_errors
    uses = {
        "combine": [name for other in recipe.variants for name in other.of],
        "analyses.neuron_variants": recipe.analyses.neuron_variants,
        "analyses.layer_errors": (errors.variants or [entry.name]) if errors else (),
    }
    for use, names in uses.items():
        if entry.name in names:
            message = "a variant without whole blocks has no masks"
            raise RecipeError(message, variant=entry.name, key=use, expected="names of other variants")


def rows_without_blocks(variant: VariantSpec, removed: Sequence[int]) -> dict[str, list[Row]]:
    """Return table -> rows of a variant that lacks whole blocks."""
    layers = list(_layers_without(variant, removed))
    weights = sum(as_int(row["n_removed"]) for row in layers) / sum(as_int(row["n_weights"]) for row in layers)
    columns: Row = {"n_removed_blocks": len(removed), "removed_blocks": list[JsonValue](removed)}
    links: list[Row] = [
        {"variant_id": variant.id, "demonstration_set_id": set_id, "role": role, "weight": weight}
        for set_id, role, weight in variant.set_links()
    ]
    tables: dict[str, list[Row]] = {
        "variants": [variant_row(variant, achieved=weights) | columns],
        "variant_layers": layers,
        "variant_demonstrations": links,
    }
    return {name: rows for name, rows in tables.items() if rows}


def _layers_without(variant: VariantSpec, removed: Collection[int]) -> Iterator[Row]:
    """Yield the number of removed weights in each layer: all weights of a removed block."""
    files = WeightFiles(Path(variant.model.path), architecture_at(variant.model.path))
    for block in range(variant.model.n_blocks):
        for layer, shape in files.layer_shapes(block).items():
            row: Row = {"variant_id": variant.id, "block": block, "layer": layer, "n_weights": prod(shape)}
            row |= {"n_removed": prod(shape) if block in removed else 0}
            yield row | {"n_silent_features": 0, "n_dampings": None}
