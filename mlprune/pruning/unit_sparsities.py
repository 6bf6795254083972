"""Sparsities from losses: units whose removal costs more keep more weights, at the same total."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.errors import BadInputError, StatisticsError
from mlprune.pruning.spec import Scope

_DECIMALS = 12
MOST = 0.999
"""Largest sparsity that a shift gives a unit, unless the total is larger."""


@dataclass(frozen=True)
class UnitLoss:
    """Loss of a block, a layer in all blocks, or a layer of one block when only this part is pruned."""

    block: int | None
    """None: all blocks."""
    layer: str | None
    """None: all layers."""
    loss: float
    n_weights: int

    def includes(self, block: int, layer: str) -> bool:
        """Whether a layer of a block is part of the unit."""
        return self.block in (None, block) and self.layer in (None, layer)

    def is_in(self, scope: Scope) -> bool:
        """Whether a scope includes a part of the unit."""
        is_block_in = self.block is None or not scope.blocks or self.block in scope.blocks
        return is_block_in and (self.layer is None or not scope.layers or self.layer in scope.layers)


def unit_sparsities(units: Sequence[UnitLoss], sparsity: float, *, spread: float = 0.08) -> tuple[float, ...]:
    """Return the sparsity of every unit, lower for units with larger losses; OWL's formula with losses and weights.

    r_u = 2 * spread * (loss_u - min) / (max - min),  d_u = r_u - sum(n_u * r_u) / sum(n_u)
    sparsity_u = sparsity - k * d_u,  k = min(1, sparsity / max d, (0.999 - sparsity) / max(-d))

    with n_u, the number of weights of the unit. The mean of sparsity_u, weighted by n_u, is `sparsity`: instead of
    clipping single units, k makes all shifts smaller where a unit would leave [0, 0.999]. If all losses are equal, or
    `sparsity` is 0 or at least 0.999, every unit gets `sparsity`. Results are rounded to 12 decimals. A higher
    `sparsity` never gives a unit a lower one, so the masks of an ordering nest.

    Args:
        units: with finite losses and at least one weight each.
        sparsity: of all units together, in [0, 1).
        spread: in (0, 0.5). The lowest and the highest sparsity differ by twice the spread if k is 1.
    Raises:
        StatisticsError: there are no units, or a loss is not finite.
        BadInputError: sparsity or spread is out of range.
    """
    if not 0 <= sparsity < 1 or not 0 < spread < 0.5:
        expected = "0 <= sparsity < 1 and 0 < spread < 0.5"
        raise BadInputError("a sparsity or a spread is out of range", expected=expected, got=(sparsity, spread))
    losses = [unit.loss for unit in units]
    if not losses or not all(map(math.isfinite, losses)):
        raise StatisticsError("losses of units are missing or not finite", got=losses)
    lowest, highest = min(losses), max(losses)
    if lowest == highest or sparsity == 0 or sparsity >= MOST:
        return (sparsity,) * len(units)
    ratios = [2 * spread * ((loss - lowest) / (highest - lowest)) for loss in losses]
    n_weights = sum(unit.n_weights for unit in units)
    mean = math.fsum(unit.n_weights * ratio for unit, ratio in zip(units, ratios, strict=True)) / n_weights
    shifts = [ratio - mean for ratio in ratios]
    factor = min(1.0, sparsity / max(shifts), (MOST - sparsity) / -min(shifts))
    return tuple(min(max(round(sparsity - factor * shift, _DECIMALS), 0.0), MOST) for shift in shifts)


def layer_sparsity(units: Sequence[UnitLoss], sparsity: float, *, block: int, layer: str, spread: float) -> float:
    """Return the sparsity of a layer of a block: that of its unit, or `sparsity` if it belongs to none."""
    sparsities = unit_sparsities(units, sparsity, spread=spread)
    of_layer = (of_unit for unit, of_unit in zip(units, sparsities, strict=True) if unit.includes(block, layer))
    return next(of_layer, sparsity)
