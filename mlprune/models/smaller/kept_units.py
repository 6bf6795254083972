"""Heads and neurons that a variant keeps in each block, and the rows and columns that remain of every layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlprune.models.families.units import UnitLayout


@dataclass(frozen=True)
class LayerSlice:
    """The rows and columns of a layer that remain."""

    rows: Tensor | None = None
    """[n] int64, ascending; None: all."""
    columns: Tensor | None = None
    """[n] int64, ascending; None: all."""

    def of_weight(self, weight: Tensor) -> Tensor:
        """Return what remains of a weight [out, in]."""
        weight = weight if self.rows is None else weight.index_select(0, self.rows)
        return weight if self.columns is None else weight.index_select(1, self.columns)

    def of_bias(self, bias: Tensor) -> Tensor:
        """Return what remains of a bias [out]."""
        return bias if self.rows is None else bias.index_select(0, self.rows)


@dataclass(frozen=True)
class KeptUnits:
    """The units of one kind in a block that remain."""

    layout: UnitLayout
    kept: Tensor
    """[n_units] bool, True for units that remain."""

    @property
    def n_kept(self) -> int:
        """Number of units that remain."""
        return int(self.kept.sum())

    @property
    def indices(self) -> tuple[int, ...]:
        """The units that remain, ascending."""
        return tuple(_where(self.kept).tolist())

    @property
    def slices(self) -> dict[str, LayerSlice]:
        """Layer -> what remains of it; empty if all units remain."""
        if bool(self.kept.all()):
            return {}
        rows = {layer: LayerSlice(rows=_where(self.kept[owner])) for layer, owner in self.layout.rows.items()}
        return rows | {self.layout.output: LayerSlice(columns=_where(self.kept[self.layout.columns]))}


BlockUnits = Sequence[KeptUnits]
"""The units of a block: heads (unless single heads of the family cannot be removed), and neurons."""


def kept_units(layouts: Sequence[UnitLayout], masks: Mapping[str, Tensor]) -> BlockUnits:
    """Return the units that remain: those of whose outputs a mask keeps a weight. One unit of each kind always remains.

    Args:
        layouts: of the block.
        masks: layer -> keep mask [out, in]; a layer without a mask keeps all weights.
    """
    units = []
    for layout in layouts:
        mask = masks.get(layout.output)
        is_kept = torch.ones(layout.n_units, dtype=torch.bool) if mask is None else ~layout.without_outputs(mask)
        if not bool(is_kept.any()):
            is_kept[0] = True
        units.append(KeptUnits(layout, is_kept))
    return tuple(units)


def _where(kept: Tensor) -> Tensor:
    return kept.nonzero().flatten()
