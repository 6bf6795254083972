"""Sparsity of each layer under a schedule. docs/scores.md has the formulas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlprune.errors import StatisticsError
from mlprune.methods import GivenParameters, OwlParameters, Parameters, SensitivityParameters
from mlprune.numeric.activations.outlier_ratios import owl_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.pruning.unit_sparsities import UnitLoss, layer_sparsity


@dataclass(frozen=True)
class LayerPosition:
    """Position of a layer in the model, and statistics that schedules read."""

    block: int
    layer: str
    outlier_ratios: Sequence[float] | None = None
    """One per block; None if the schedule reads none."""
    losses: Sequence[UnitLoss] | None = None
    """Of the units of a sensitivity analysis; None if the schedule reads none."""


ScheduleFunction = Callable[[float, LayerPosition, Parameters], float]
"""Returns the sparsity of a layer for a sparsity of the whole model."""


def layer_sparsities(
    sparsities: Sequence[float], *, position: LayerPosition, schedule: ScheduleSpec, scope: Scope
) -> tuple[float, ...]:
    """Return the sparsity of one layer for each sparsity of the whole model; ascending if those are.

    Args:
        sparsities: of the whole model, each in [0, 1).
    Raises:
        StatisticsError: outlier ratios or losses that the schedule reads are missing.
    """
    if not scope.includes(position.block, position.layer):
        return (0.0,) * len(sparsities)
    if position.losses is not None:
        position = replace(position, losses=[unit for unit in position.losses if unit.is_in(scope)])
    function = SCHEDULE_FUNCTIONS[schedule.kind]
    return tuple(function(sparsity, position, schedule.schedule_parameters) for sparsity in sparsities)


def _given(sparsity: float, position: LayerPosition, parameters: Parameters) -> float:
    if not isinstance(parameters, GivenParameters):
        raise TypeError(f"expected GivenParameters, got {type(parameters).__name__}")
    of_layer = dict(parameters.layers).get(position.layer, sparsity)
    of_block = dict(parameters.blocks).get(position.block, of_layer)
    return dict(parameters.block_layers).get(f"{position.block}.{position.layer}", of_block)


def _owl(sparsity: float, position: LayerPosition, parameters: Parameters) -> float:
    if not isinstance(parameters, OwlParameters):
        raise TypeError(f"expected OwlParameters, got {type(parameters).__name__}")
    if position.outlier_ratios is None:
        raise StatisticsError("schedule owl needs the outlier ratios of all blocks", block=position.block)
    return owl_sparsities(position.outlier_ratios, sparsity, spread=parameters.spread)[position.block]


def _sensitivity(sparsity: float, position: LayerPosition, parameters: Parameters) -> float:
    if not isinstance(parameters, SensitivityParameters):
        raise TypeError(f"expected SensitivityParameters, got {type(parameters).__name__}")
    if position.losses is None:
        raise StatisticsError("schedule sensitivity needs the losses of units", block=position.block)
    if not position.losses:
        return sparsity
    return layer_sparsity(
        position.losses, sparsity, block=position.block, layer=position.layer, spread=parameters.spread
    )


SCHEDULE_FUNCTIONS: Mapping[str, ScheduleFunction] = {
    "uniform": lambda sparsity, _position, _parameters: sparsity,
    "given": _given,
    "owl": _owl,
    "sensitivity": _sensitivity,
}
