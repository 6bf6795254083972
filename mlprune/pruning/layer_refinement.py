"""Effect of a refiner on the layers of a block: errors of their outputs before and after, and numbers of swaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.json_values import JsonValue
from mlprune.models.families.records import Family
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.weights.layer_errors import layer_errors
from mlprune.pruning.block_inputs import BlockInputs


@dataclass(frozen=True)
class LayerRefinement:
    """Effect of a refiner on one layer."""

    errors: tuple[tuple[float, float], ...]
    """Relative error of the output before and after on the tokens of each set; empty without Gram matrices."""
    n_swaps: int | None
    """None if the refiner does not swap."""
    n_rows_changed: int
    """Rows with another mask, or with new values of kept weights."""


@dataclass(frozen=True)
class RefinedVariant:
    """What the rows of a refined variant name."""

    id: str
    set_ids: tuple[str, ...]
    """Ids of the demonstration sets, in the order of their Gram matrices."""


def layer_refinements(
    weights: Mapping[str, Tensor],
    keeps: Mapping[str, Tensor],
    refined: Mapping[str, RefinedLayer],
    *,
    inputs: BlockInputs,
    family: Family,
) -> dict[str, LayerRefinement]:
    """Return the effect of a refiner on each refined layer.

    Args:
        weights: layer -> [out, in], of the base model.
        keeps: layer -> [out, in] bool, the mask of the score.
        refined: layer -> result of the refiner.
        inputs: has the Gram matrices of each set, if the refiner or the score reads them.
        family: maps layers to their inputs.
    """
    return {
        layer: _of_layer(
            weights[layer],
            keeps[layer],
            result,
            [products[family.input_of(layer)] for products in inputs.products_of_sets],
        )
        for layer, result in refined.items()
    }


def _of_layer(
    weight: Tensor, keep: Tensor, result: RefinedLayer, products_of_sets: Sequence[Tensor]
) -> LayerRefinement:
    keep = keep.to(weight.device)
    before = weight * keep
    new = weight if result.weight is None else result.weight.to(device=weight.device, dtype=weight.dtype)
    after = new * result.keep.to(weight.device)
    errors = (layer_errors(weight, [before, after], products=products) for products in products_of_sets)
    is_changed = (keep != result.keep.to(weight.device)) | (before != after)
    return LayerRefinement(
        errors=tuple((first, second) for first, second in errors),
        n_swaps=None if result.n_swaps is None else int(result.n_swaps.sum(dtype=torch.int64)),
        n_rows_changed=int(is_changed.any(dim=1).sum()),
    )


def refinement_tables(
    refinements: Mapping[str, LayerRefinement], variant: RefinedVariant | None, *, block: int
) -> dict[str, list[dict[str, JsonValue]]]:
    """Return the rows that the record of a block adds to the catalog; nothing if the variant is not refined.

    Table `refined_layers` has one row per refined layer and demonstration set.
    """
    if variant is None or not refinements:
        return {}
    rows: list[dict[str, JsonValue]] = [
        {
            "variant_id": variant.id,
            "block": block,
            "layer": layer,
            "demonstration_set_id": set_id,
            "error_before": before,
            "error_after": after,
            "n_swaps": refinement.n_swaps,
            "n_rows_changed": refinement.n_rows_changed,
        }
        for layer, refinement in refinements.items()
        for set_id, (before, after) in zip(
            variant.set_ids, refinement.errors or [(None, None)] * len(variant.set_ids), strict=True
        )
    ]
    return {"refined_layers": rows}
