"""Sparsities from losses: units whose removal costs more keep more weights, at the same total."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.numeric.allocation.shifted import check_arguments, shifted_sparsities
from mlprune.pruning.spec import Scope

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
    """Corrected over the units of the analysis; None if there is no test."""

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
        StatisticsError: there are no units, or a loss is not finite.
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
