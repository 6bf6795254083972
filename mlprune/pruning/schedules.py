"""Sparsity of each layer under a schedule. docs/scores.md has the formulas."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlprune.errors import StatisticsError
from mlprune.methods import (
    AlphaPruningParameters,
    DlpParameters,
    GivenParameters,
    OwlParameters,
    Parameters,
    SensitivityParameters,
    checked_parameters,
)
from mlprune.numeric.allocation.block_scores import dlp_sparsities
from mlprune.numeric.allocation.scaled import scaled_sparsities
from mlprune.numeric.allocation.shifted import shifted_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope
from mlprune.pruning.unit_sparsities import UnitLoss, layer_sparsity


@dataclass(frozen=True)
class BlockValue:
    """Value of a block of the dense model, for schedules that distribute a sparsity over blocks."""

    value: float
    n_weights: int = 1
    """Prunable weights of the block; their ratios count."""


@dataclass(frozen=True)
class LayerPosition:
    """Position of a layer in the model, and statistics that schedules read."""

    block: int
    layer: str
    block_values: Sequence[BlockValue] | None = None
    """One per block of the model; None if the schedule reads none."""
    losses: Sequence[UnitLoss] | None = None
    """Of the units of a sensitivity analysis; None if the schedule reads none."""


ScheduleFunction = Callable[[float, LayerPosition, Parameters, Scope], float]
"""Returns the sparsity of a layer in the scope for a sparsity of the whole model."""


def layer_sparsities(
    sparsities: Sequence[float], *, position: LayerPosition, schedule: ScheduleSpec, scope: Scope
) -> tuple[float, ...]:
    """Return the sparsity of one layer for each sparsity of the whole model; ascending if those are.

    Args:
        sparsities: of the whole model, each in [0, 1).
    Raises:
        StatisticsError: values of blocks or losses that the schedule reads are missing.
    """
    if not scope.includes(position.block, position.layer):
        return (0.0,) * len(sparsities)
    if schedule.plugin is not None:
        planned = {(block, layer): sparsity for block, layer, sparsity in schedule.layers}
        return (planned[position.block, position.layer],) * len(sparsities)
    function = SCHEDULE_FUNCTIONS[schedule.kind]
    return tuple(function(sparsity, position, schedule.schedule_parameters, scope) for sparsity in sparsities)


def _given(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    checked = checked_parameters(parameters, GivenParameters)
    of_layer = dict(checked.layers).get(position.layer, sparsity)
    of_block = dict(checked.blocks).get(position.block, of_layer)
    return dict(checked.block_layers).get(f"{position.block}.{position.layer}", of_block)


def _owl(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    checked = checked_parameters(parameters, OwlParameters)
    values = _values_in(scope, position, schedule="owl", what="outlier ratios")
    return _of_block(shifted_sparsities, values, sparsity, position=position, spread=checked.spread)


def _dlp(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    checked = checked_parameters(parameters, DlpParameters)
    values = _values_in(scope, position, schedule="dlp", what="scores")
    return _of_block(dlp_sparsities, values, sparsity, position=position, spread=checked.spread)


def _alpha_pruning(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    checked = checked_parameters(parameters, AlphaPruningParameters)
    values = _values_in(scope, position, schedule="alpha_pruning", what="exponents")
    return _of_block(scaled_sparsities, values, sparsity, position=position, spread=checked.spread)


def _search(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    raise StatisticsError("schedule search is replaced by the levels of its winner", block=position.block)


class _BlockFunction(Protocol):
    """Function of values of blocks, their sizes and a total sparsity."""

    def __call__(
        self, values: Sequence[float], sparsity: float, /, *, spread: float, n_weights: Sequence[int]
    ) -> tuple[float, ...]:
        """Return the sparsity of every block."""
        ...


def _of_block(
    function: _BlockFunction, values: dict[int, BlockValue], sparsity: float, *, position: LayerPosition, spread: float
) -> float:
    """Return the sparsity of one of the blocks."""
    numbers, sizes = [one.value for one in values.values()], [one.n_weights for one in values.values()]
    sparsities = function(numbers, sparsity, spread=spread, n_weights=sizes)
    return dict(zip(values, sparsities, strict=True))[position.block]


def _values_in(scope: Scope, position: LayerPosition, *, schedule: str, what: str) -> dict[int, BlockValue]:
    """Return block -> value of the blocks that a scope includes.

    Raises:
        StatisticsError: values are missing.
    """
    if position.block_values is None:
        raise StatisticsError(f"schedule {schedule} needs the {what} of all blocks", block=position.block)
    values = enumerate(position.block_values)
    return {block: value for block, value in values if not scope.blocks or block in scope.blocks}


def _sensitivity(sparsity: float, position: LayerPosition, parameters: Parameters, scope: Scope) -> float:
    checked = checked_parameters(parameters, SensitivityParameters)
    if position.losses is None:
        raise StatisticsError("schedule sensitivity needs the losses of units", block=position.block)
    units = [unit for unit in position.losses if unit.is_in(scope)]
    if not units:
        return sparsity
    return layer_sparsity(units, sparsity, block=position.block, layer=position.layer, spread=checked.spread)


SCHEDULE_FUNCTIONS: Mapping[str, ScheduleFunction] = {
    "uniform": lambda sparsity, _position, _parameters, _scope: sparsity,
    "given": _given,
    "owl": _owl,
    "dlp": _dlp,
    "alpha_pruning": _alpha_pruning,
    "sensitivity": _sensitivity,
    "search": _search,
}
