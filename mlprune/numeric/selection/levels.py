"""Levels of weights from the scores of their comparison groups, and Wanda's alpha variant.

Numbers of weights that Wanda's alpha variant removes from each row.

A row loses its lowest scores, as many as sum to at most a share alpha of the row's sum. All rows of a matrix have one
alpha, which is searched for the given sparsity.

Levels of weights from the scores of their comparison groups.

A level is the index of the first sparsity (of an ascending list) that removes the weight; the number of sparsities if
none does. One ordering of the scores gives the masks of all sparsities, and these masks nest. Compiled kernels find the
levels on the CPU; a stable sort in torch finds them on other devices.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError, unknown
from mlprune.methods import pattern_of
from mlprune.numeric.masks.packing import MAX_LEVELS
from mlprune.numeric.selection.matrix import select_in_matrix
from mlprune.numeric.selection.permutation import column_order
from mlprune.numeric.selection.rows import select_in_rows
from mlprune.numeric.sortable_bits import Array, check_finite, check_matrix, compiled, row_chunks
from mlprune.processes.parallel import parallel_map

_TOLERANCE = 0.001
_MOST_HALVINGS = 60
_WEIGHTS_PER_CHUNK = 2**19
_WEIGHTS_PER_SORT = 2**22
"""Weights that are sorted at once on accelerators: their int64 order takes 32 MiB."""
LevelFunction = Callable[[Tensor, Sequence[float], str, str], Tensor]
"""Returns levels from scores, sparsities, rounding, and whether the lowest or the highest are removed."""
LEVEL_FUNCTIONS: Mapping[str, LevelFunction] = {
    "row": lambda scores, sparsities, rounding, removes: row_levels(
        scores, sparsities, rounding=rounding, removes=removes
    ),
    "matrix": lambda scores, sparsities, rounding, removes: matrix_levels(
        scores, sparsities, rounding=rounding, removes=removes
    ),
    "alpha": lambda scores, sparsities, _rounding, removes: alpha_levels(scores, sparsities, removes=removes),
}
"""Functions of the structures without a pattern; `levels_of` also takes N:M."""


def alpha_counts(scores: Array, sparsities: Sequence[float], *, highest: bool = False) -> Array:
    """Count the weights that each sparsity removes from each row: the most whose scores sum to at most alpha * row sum.

    Wanda's alpha variant (Sun et al. 2024, arXiv:2306.11695). The search bisects [0, 1] until the matrix is within
    0.001 of the sparsity, at most 60 times, and takes the nearest alpha it has seen, the first of equally near ones.
    (The published code searches [0, 0.8] in steps of at least 0.001.) Scores of 0 are removed at any alpha, so a matrix
    with many of them can become sparser than requested. Sparsity 0 removes nothing. Counts ascend with the sparsities
    even if two sparsities are closer than the tolerance. Sums are float64, in ascending order of the scores (descending
    if the highest are removed); the sum of a row is the last of them.

    Args:
        scores: [rows, d], float32, finite, >= 0.
        sparsities: ascending, each in [0, 1).
        highest: add the scores from the highest downwards instead.
    Returns: [rows, n], int64.
    Raises:
        ShapeError: `scores` is not a float32 matrix.
        StatisticsError: a score is not finite or is negative.
    """
    check_matrix(scores)
    sums = _cumulative_sums(scores, highest=highest)
    counts = np.zeros((len(scores), len(sparsities)), dtype=np.int64)
    for index, sparsity in enumerate(sparsities):
        if sparsity > 0 and sums.size:
            counts[:, index] = _counts_near(sums, sparsity)
    return np.maximum.accumulate(counts, axis=1)


def _cumulative_sums(scores: Array, *, highest: bool) -> Array:
    """Return the sums over the 1, 2, ... lowest (or highest) scores of each row, [rows, d] float64."""
    sums = np.empty(scores.shape, dtype=np.float64)

    def fill(rows: slice) -> tuple[np.float32, np.float32]:
        ordered = np.sort(scores[rows], axis=1)
        np.cumsum(ordered[:, ::-1] if highest else ordered, axis=1, dtype=np.float64, out=sums[rows])
        return ordered[:, 0].min(), np.abs(ordered[:, -1]).max()

    extremes = list(parallel_map(fill, row_chunks(scores, _WEIGHTS_PER_CHUNK)))
    if extremes:
        least, greatest = np.array(extremes, dtype=np.float32).T
        check_finite(scores, np.abs(np.append(least, greatest)).view(np.uint32).max())
        if least.min() < 0:
            raise StatisticsError("a score is negative", expected=">= 0", got=float(least.min()))
    return sums


def _counts_near(sums: Array, sparsity: float) -> Array:
    """Return the counts of the alpha nearest to the sparsity, [rows]; stops at the first within the tolerance."""
    low, high = 0.0, 1.0
    nearest, nearest_distance = np.zeros(len(sums), np.int64), np.inf
    for _ in range(_MOST_HALVINGS):
        alpha = (low + high) / 2
        counts = np.empty(len(sums), np.int64)
        _count_within(sums, alpha, counts)
        achieved = int(counts.sum()) / sums.size
        if abs(achieved - sparsity) < nearest_distance:
            nearest, nearest_distance = counts, abs(achieved - sparsity)
        if nearest_distance <= _TOLERANCE:
            break
        low, high = (alpha, high) if achieved < sparsity else (low, alpha)
    return nearest


@compiled
def _count_within(sums: Array, alpha: float, counts: Array) -> None:
    """Count, for each row, its ascending sums that are at most alpha times the last."""
    for row in range(len(sums)):
        counts[row] = np.searchsorted(sums[row], alpha * sums[row, -1], side="right")


def n_removed(sparsity: float, size: int, *, rounding: str = "decimal") -> int:
    """Return the number of weights that a sparsity removes from a comparison group.

    Args:
        sparsity: in [0, 1).
        size: number of weights of the group.
        rounding: `decimal` is floor(Decimal(str(sparsity)) * size), which uses the decimal number as it was written:
            0.29 of 100 is 29. `binary` is int(size * sparsity) as in published code, 28 in this example.
    Raises:
        BadInputError: the sparsity is outside [0, 1), or the rounding is unknown.
    """
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    if rounding not in ("decimal", "binary"):
        raise unknown("rounding", rounding, ["decimal", "binary"], error=BadInputError)
    return int(Decimal(str(sparsity)) * size) if rounding == "decimal" else int(size * float(sparsity))


def row_levels(
    scores: Tensor, sparsities: Sequence[float], *, rounding: str = "decimal", removes: str = "lowest"
) -> Tensor:
    """Find, for each weight, the first sparsity that removes it from its output row.

    Sparsity s removes the `n_removed(s, in)` lowest scores of a row. Of equal scores, the lower column index is removed
    first, also if the highest scores are removed.

    Args:
        scores: [out, in], float32 or narrower, finite.
        sparsities: ascending, each in [0, 1), 1 to 255 of them.
        rounding: see `n_removed`.
        removes: `lowest` or `highest` scores.
    Returns: [out, in], uint8: index into `sparsities`, or their number if the weight always stays.
    Raises:
        ShapeError: `scores` is not a matrix, or wider than float32.
        StatisticsError: a score is not finite.
        BadInputError: sparsities are missing or too many, they are out of range or not ascending, or a name is
            unknown.
    """
    counts = _removed_counts(sparsities, scores.shape[-1] if scores.ndim else 0, rounding)
    return _select_in_rows(_checked(scores), counts, highest=_is_highest(removes))


def matrix_levels(
    scores: Tensor, sparsities: Sequence[float], *, rounding: str = "decimal", removes: str = "lowest"
) -> Tensor:
    """Find, for each weight, the first sparsity that removes it from the whole matrix.

    As `row_levels`, with one group of size out * in. Of equal scores, the upper row, then the lower column is first.
    """
    counts = _removed_counts(sparsities, scores.numel(), rounding)
    scores, highest = _checked(scores), _is_highest(removes)
    if scores.device.type == "cpu":
        return torch.from_numpy(select_in_matrix(scores.numpy(), np.array(counts), highest=highest))
    return _levels_by_sorting(scores.reshape(1, -1), counts, highest=highest).reshape(scores.shape)


def n_m_levels(scores: Tensor, n: int, m: int, *, removes: str = "lowest") -> Tensor:
    """Remove the n lowest of every m consecutive inputs of a row; of equal scores, the lower index first.

    Args:
        scores: [out, in], float32 or narrower, finite.
        n: weights removed in each group, 0 < n < m.
        m: size of a group.
        removes: `lowest` or `highest` scores.
    Returns: [out, in], uint8: 0 removed, 1 kept.
    Raises:
        ShapeError: `scores` is not a matrix, is wider than float32, or m does not divide `in`.
        StatisticsError: a score is not finite.
        BadInputError: n and m are not a pattern, or `removes` is unknown.
    """
    if not 0 < n < m:
        raise BadInputError("not an N:M pattern", expected="0 < n < m", got=f"{n}:{m}")
    scores = _checked(scores)
    if scores.shape[1] % m:
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {m}", got=scores.shape[1])
    return _select_in_rows(scores.reshape(-1, m), [n], highest=_is_highest(removes)).reshape(scores.shape)


def alpha_levels(scores: Tensor, sparsities: Sequence[float], *, removes: str = "lowest") -> Tensor:
    """Find, for each weight, the first sparsity that removes it in Wanda's alpha variant; see `alpha_counts`.

    Each row loses its lowest scores, as many as sum to at most a share of the row's sum. The share is searched so that
    the matrix has the sparsity, to 0.001. Computed on the CPU.

    Args:
        scores: [out, in], float32 or narrower, finite, >= 0.
        sparsities: ascending, each in [0, 1), 1 to 255 of them.
        removes: `lowest` or `highest` scores.
    Returns: [out, in], uint8, on the device of the scores: index into `sparsities`, or their number.
    Raises: as `row_levels`, and
        StatisticsError: a score is negative.
    """
    _removed_counts(sparsities, 0, "decimal")
    highest, array = _is_highest(removes), _checked(scores).cpu().numpy()
    counts = alpha_counts(array, sparsities, highest=highest)
    return torch.from_numpy(select_in_rows(array, counts, highest=highest)).to(scores.device)


def levels_of(
    scores: Tensor, structure: str, *, sparsities: Sequence[float], rounding: str = "decimal", removes: str = "lowest"
) -> Tensor:
    """Return the levels of a structure by its name: `row`, `matrix`, `alpha` or `N:M`.

    N:M removes N of M at every sparsity except 0, which removes nothing.

    Returns: [out, in], uint8: index into `sparsities`, or their number if the weight always stays.
    Raises: as the structure's function, and
        BadInputError: the structure is unknown.
    """
    pattern = pattern_of(structure)
    if pattern is None:
        if structure not in (*LEVEL_FUNCTIONS, "N:M"):
            raise unknown("structure", structure, [*LEVEL_FUNCTIONS, "N:M"], error=BadInputError)
        if structure == "N:M":
            raise BadInputError("a structure's N and M are missing", expected="2:4, say", got=structure)
        return LEVEL_FUNCTIONS[structure](scores, sparsities, rounding, removes)
    n_without = sum(sparsity == 0 for sparsity in sparsities)
    _removed_counts(sparsities, 0, rounding)
    kept = n_m_levels(scores, *pattern, removes=removes)
    return kept.mul_(len(sparsities) - n_without).add_(n_without)


def permuted_levels(scores: Tensor, structure: str, *, sparsities: Sequence[float]) -> Tensor:
    """Return the levels of N:M in the order of the inputs that `column_order` finds, mapped back.

    Args:
        structure: N:M, as in `2:4`.
    Returns: [out, in], uint8: index into `sparsities`, or their number if the weight always stays.
    Raises: as `levels_of`, and
        BadInputError: the structure has no pattern.
    """
    pattern = pattern_of(structure)
    if pattern is None:
        raise BadInputError("inputs are permuted for N:M only", expected="2:4, say", got=structure)
    scores = _checked(scores)
    order = torch.from_numpy(column_order(scores.cpu(), *pattern)).to(scores.device)
    in_order = levels_of(scores[:, order], structure, sparsities=sparsities)
    return torch.empty_like(in_order).index_copy_(1, order, in_order)


def selects_within_rows(structure: str) -> bool:
    """Whether the levels of a row depend on the scores of this row only."""
    return structure == "row" or pattern_of(structure) is not None


def _select_in_rows(scores: Tensor, counts: Sequence[int], *, highest: bool) -> Tensor:
    """Return the index of the first count that removes the entry from its row, [rows, d] uint8."""
    if scores.device.type == "cpu":
        return torch.from_numpy(select_in_rows(scores.numpy(), np.array([counts]), highest=highest))
    return _levels_by_sorting(scores, counts, highest=highest)


def _levels_by_sorting(scores: Tensor, counts: Sequence[int], *, highest: bool) -> Tensor:
    """Return the same by a stable sort of a few rows at once, on any device."""
    n_rows, d = scores.shape
    positions = torch.arange(d, device=scores.device)
    level_at = torch.searchsorted(torch.tensor(counts, device=scores.device), positions, right=True).to(torch.uint8)
    levels = torch.empty(n_rows, d, dtype=torch.uint8, device=scores.device)
    n_together = max(1, _WEIGHTS_PER_SORT // max(1, d))
    for start in range(0, n_rows, n_together):
        without_minus_zero = scores[start : start + n_together] + 0.0
        order = torch.argsort(without_minus_zero, dim=1, stable=True, descending=highest)
        levels[start : start + n_together].scatter_(1, order, level_at.expand_as(order))
    return levels


def _checked(scores: Tensor) -> Tensor:
    """Return the scores as float32, exact for narrower dtypes. The CPU kernels check that scores are finite."""
    if scores.ndim != 2:
        raise ShapeError("scores are not a matrix", expected="[out, in]", got=tuple(scores.shape))
    if scores.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ShapeError("scores have a wide dtype", expected="float32", got=str(scores.dtype))
    if scores.device.type != "cpu" and not bool(torch.isfinite(scores).all()):
        raise StatisticsError("a score is not finite", n_wrong=int((~torch.isfinite(scores)).sum()))
    return scores.detach().float()


def _removed_counts(sparsities: Sequence[float], size: int, rounding: str) -> list[int]:
    """Check the sparsities, and return the number of weights that each removes from a group."""
    if not 1 <= len(sparsities) <= MAX_LEVELS:
        raise BadInputError("wrong number of sparsities", expected=f"1 to {MAX_LEVELS}", got=len(sparsities))
    if any(low > high for low, high in pairwise(sparsities)):
        raise BadInputError("sparsities are not ascending", got=list(sparsities))
    return [n_removed(sparsity, size, rounding=rounding) for sparsity in sparsities]


def _is_highest(removes: str) -> bool:
    if removes not in ("lowest", "highest"):
        raise unknown("choice of scores to remove", removes, ["lowest", "highest"], error=BadInputError)
    return removes == "highest"
