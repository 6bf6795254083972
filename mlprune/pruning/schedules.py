"""Sparsity of each layer under a schedule, also from losses. docs/definitions.md has the formulas."""

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
from mlprune.numeric.allocation import check_arguments, dlp_sparsities, scaled_sparsities, shifted_sparsities
from mlprune.pruning.spec import ScheduleSpec, Scope

SIGNIFICANCE = 0.05
"""A loss differs from zero if its p-value, corrected over the units of its analysis, is below this."""


@dataclass(frozen=True)
class UnitLoss:
    """Loss of a block, a layer in all blocks, or a layer of one block when only this part is pruned."""

    block: int | None
    """None: all blocks."""
    layer: str | None
    """None: all layers."""
    loss: float
    n_weights: int
    p_value: float | None = None
    """Corrected over the units of the analysis; None without a test."""

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer of a block is part of the unit."""
        return self.block in (None, block) and self.layer in (None, layer)

    def is_in(self, scope: Scope) -> bool:
        """Whether a scope includes a part of the unit."""
        is_block_in = self.block is None or not scope.blocks or self.block in scope.blocks
        return is_block_in and (self.layer is None or not scope.layers or self.layer in scope.layers)


def unit_sparsities(units: Sequence[UnitLoss], sparsity: float, *, spread: float = 0.08) -> tuple[float, ...]:
    """Return the sparsity of every unit, lower for units with larger losses; OWL's formula with losses and weights.

    See `shifted_sparsities`: the mean, weighted by the units' numbers of weights, is `sparsity`. If no loss differs
    from zero, all units get `sparsity`: differences between the losses are then noise, which the scale of the formula
    would stretch to the whole spread.

    Args:
        units: with finite losses and at least one weight each.
        sparsity: of all units together, in [0, 1).
        spread: in (0, 0.5).
    Raises:
        StatisticsError: units are missing, or a loss is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    n_weights = [unit.n_weights for unit in units]
    if units and not has_effects(units):
        check_arguments([unit.loss for unit in units], sparsity, spread, below=0.5)
        return (sparsity,) * len(units)
    return shifted_sparsities([unit.loss for unit in units], sparsity, spread=spread, n_weights=n_weights)


def has_effects(units: Sequence[UnitLoss]) -> bool:
    """Whether a loss differs from zero by its own test, or has none."""
    return any(unit.p_value is None or unit.p_value < SIGNIFICANCE for unit in units)


def layer_sparsity(units: Sequence[UnitLoss], sparsity: float, *, block: int, layer: str, spread: float) -> float:
    """Return the sparsity of a layer of a block: that of its unit, or `sparsity` if it belongs to none."""
    sparsities = unit_sparsities(units, sparsity, spread=spread)
    of_layer = (of_unit for unit, of_unit in zip(units, sparsities, strict=True) if unit.includes(block, layer))
    return next(of_layer, sparsity)


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
