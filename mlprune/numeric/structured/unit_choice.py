"""Choice of units to remove from a model: one order of all heads and neurons, cut where the total is nearest.

An et al., arXiv:2312.11983, structure AL-AM: units are removed by ascending score until the weights that remain are
nearest to the target; a unit counts as many weights as it has. (The published code has the ratio of LLaMA-7B as a
constant, 512/3 for a head against 1 for a neuron, which is the ratio of their weights.) Difference to the published
code: the best head and the best neuron of every block stay.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError


@dataclass(frozen=True)
class UnitGroup:
    """The units of one kind in one block."""

    block: int
    kind: str
    """`heads` or `neurons`."""
    scores: Tensor
    """[n_units] float64; the lowest are removed first."""
    unit_weights: int
    """Prunable weights of one unit."""

    @property
    def n_weights(self) -> int:
        """Prunable weights of all units."""
        return self.unit_weights * self.scores.numel()


@dataclass(frozen=True)
class _Step:
    """Units that are removed together."""

    score: float
    units: tuple[tuple[int, int], ...]
    """(index of the group, index of the unit)."""
    n_weights: int


def removed_units(groups: Sequence[UnitGroup], sparsity: float, *, equal_widths: bool = False) -> tuple[Tensor, ...]:
    """Choose the units to remove so that the share of removed weights is nearest to the sparsity.

    Units are removed by ascending score; of equal scores, the earlier group, then the lower index first. With
    `equal_widths`, all blocks lose the same number of heads and of neurons: a step removes the next unit of every
    block, and its score is the mean of theirs. The result differs from the target by at most half a step, unless too
    few units may be removed; of two totals that are equally near, the lower one is chosen. A higher sparsity never
    keeps a unit that a lower one removes.

    Args:
        groups: of all blocks.
        sparsity: share of the weights of all groups together, in [0, 1).
    Returns: for each group, [n_units] bool, True for units that are removed.
    Raises:
        StatisticsError: a score is not finite.
        ShapeError: `equal_widths`, and blocks have different numbers of units of one kind.
        BadInputError: the sparsity is out of range.
    """
    for group in groups:
        if not bool(torch.isfinite(group.scores).all()):
            raise StatisticsError("a score of a unit is not finite", block=group.block, kind=group.kind)
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    target = float(Fraction(str(sparsity)) * sum(group.n_weights for group in groups))
    steps = sorted(_equal_steps(groups) if equal_widths else _single_steps(groups), key=lambda step: step.score)
    totals = np.concatenate([[0], np.cumsum([step.n_weights for step in steps], dtype=np.int64)])
    n_steps = int(np.argmin(np.abs(totals - target)))
    removed = tuple(torch.zeros(group.scores.numel(), dtype=torch.bool) for group in groups)
    for step in steps[:n_steps]:
        for group_index, unit in step.units:
            removed[group_index][unit] = True
    return removed


def _ascending(group: UnitGroup) -> Tensor:
    """Return the units of a group by ascending score, without the best one, which stays."""
    return torch.argsort(group.scores, stable=True)[:-1]


def _single_steps(groups: Sequence[UnitGroup]) -> Iterator[_Step]:
    for index, group in enumerate(groups):
        scores = group.scores.tolist()
        for unit in sorted(_ascending(group).tolist()):
            yield _Step(scores[unit], ((index, unit),), group.unit_weights)


def _equal_steps(groups: Sequence[UnitGroup]) -> Iterator[_Step]:
    by_kind: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        by_kind[group.kind].append(index)
    for kind, indices in by_kind.items():
        sizes = [groups[index].scores.numel() for index in indices]
        if len(set(sizes)) > 1:
            raise ShapeError("blocks have different numbers of units: leave equal_widths out", kind=kind, got=sizes)
        orders = [_ascending(groups[index]).tolist() for index in indices]
        n_weights = sum(groups[index].unit_weights for index in indices)
        for units in zip(*orders, strict=True):
            pairs = tuple(zip(indices, units, strict=True))
            score = sum(float(groups[index].scores[unit]) for index, unit in pairs) / len(pairs)
            yield _Step(score, pairs, n_weights)
