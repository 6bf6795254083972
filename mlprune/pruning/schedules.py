"""How much is removed in each layer, from what a variant asks for over all. docs/scores.md."""

from collections.abc import Sequence

from mlprune.errors import StatisticsError
from mlprune.numeric.activations.outlier_ratios import owl_sparsities
from mlprune.pruning.spec import Schedule, Scope


def layer_sparsities(
    sparsities: Sequence[float],
    *,
    block: int,
    layer: str,
    schedule: Schedule,
    scope: Scope,
    outlier_ratios: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """The sparsity of one layer for each sparsity asked of the model; ascending where those are.

    Args:
        sparsities: asked of the model, each in [0, 1).
        outlier_ratios: one a block, for schedule owl.
    Raises:
        StatisticsError: the schedule is owl and there are no ratios.
    """
    if not scope.includes(block, layer):
        return (0.0,) * len(sparsities)
    if schedule.kind == "given":
        given = dict(schedule.blocks).get(block, dict(schedule.layers).get(layer))
        return tuple(one if given is None else given for one in sparsities)
    if schedule.kind == "owl":
        if outlier_ratios is None or schedule.spread is None:
            raise StatisticsError("schedule owl needs the outlier ratios of all blocks", block=block)
        return tuple(owl_sparsities(outlier_ratios, one, spread=schedule.spread)[block] for one in sparsities)
    return tuple(sparsities)
