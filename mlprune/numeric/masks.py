"""Keep masks: which weights a sparsity removes, kept as one level per weight.

A level is the index of the first sparsity (of an ascending list) that removes the weight; their number
means that none does. One ordering of the scores therefore serves every sparsity, and the masks are nested by
construction. Setting weights to zero belongs to the models, compressing and storing packed levels to the storage.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError

_MAX_LEVELS = 255
_WEIGHTS_PER_SORT = 2**22
"""Rows are ordered in chunks of about this many weights, which bounds the int64 order to 32 MiB."""


def n_removed(sparsity: float, d_in: int) -> int:
    """Number of weights that a sparsity removes from a row: floor(Decimal(str(sparsity)) * d_in).

    The decimal the user wrote counts, not its binary neighbour: 0.29 of 100 is 29.

    Raises:
        BadInputError: the sparsity is outside [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise BadInputError("a sparsity is out of range", expected="0 <= sparsity < 1", got=sparsity)
    return int(Decimal(str(sparsity)) * d_in)


def row_levels(scores: Tensor, sparsities: Sequence[float]) -> Tensor:
    """Order every output row once and find, for each weight, the first sparsity that removes it.

    Sparsity s removes the `n_removed(s, in)` lowest scores of a row; of equal scores the lower column index goes first.

    Args:
        scores: [out, in], float, finite.
        sparsities: ascending, each in [0, 1), 1 to 255 of them.
    Returns: [out, in], uint8: index into `sparsities`, or their number where the weight always stays.
    Raises:
        ShapeError: `scores` is not a matrix.
        StatisticsError: a score is not finite.
        BadInputError: the sparsities are none, too many, out of range or not ascending.
    """
    _check_scores(scores)
    _check_sparsities(sparsities)
    n_rows, d_in = scores.shape
    counts = torch.tensor([n_removed(sparsity, d_in) for sparsity in sparsities], device=scores.device)
    positions = torch.arange(d_in, device=scores.device)
    level_at = torch.searchsorted(counts, positions, right=True).to(torch.uint8)
    levels = torch.empty(n_rows, d_in, dtype=torch.uint8, device=scores.device)
    n_together = max(1, _WEIGHTS_PER_SORT // max(1, d_in))
    for start in range(0, n_rows, n_together):
        order = torch.argsort(scores[start : start + n_together], dim=1, stable=True)
        levels[start : start + n_together].scatter_(1, order, level_at.expand_as(order))
    return levels


def n_m_levels(scores: Tensor, n: int, m: int) -> Tensor:
    """Remove the n lowest of every m consecutive inputs of a row; of equal scores the lower index goes first.

    Args:
        scores: [out, in], float, finite.
        n: weights removed in each group, 0 < n < m.
        m: size of a group.
    Returns: [out, in], uint8: 0 removed, 1 kept.
    Raises:
        ShapeError: `scores` is not a matrix, or m does not divide `in`.
        StatisticsError: a score is not finite.
        BadInputError: n and m are no pattern.
    """
    if not 0 < n < m:
        raise BadInputError("not an N:M pattern", expected="0 < n < m", got=f"{n}:{m}")
    _check_scores(scores)
    if scores.shape[1] % m:
        raise ShapeError("a row does not divide into groups", expected=f"a multiple of {m}", got=scores.shape[1])
    groups = scores.reshape(-1, m)
    levels = torch.empty(groups.shape, dtype=torch.uint8, device=scores.device)
    level_at = (torch.arange(m, device=scores.device) >= n).to(torch.uint8)
    n_together = max(1, _WEIGHTS_PER_SORT // m)
    for start in range(0, groups.shape[0], n_together):
        order = torch.argsort(groups[start : start + n_together], dim=1, stable=True)
        levels[start : start + n_together].scatter_(1, order, level_at.expand_as(order))
    return levels.reshape(scores.shape)


def keep_mask(levels: Tensor, level: int) -> Tensor:
    """Keep mask of one sparsity: True where the weight survives the sparsity of index `level`.

    Args:
        levels: [out, in], uint8.
        level: index of the sparsity, 0 to 254.
    Returns: [out, in], bool, True means the weight stays.
    Raises:
        ShapeError: no uint8 level can lie above `level`, or it is negative.
    """
    if not 0 <= level < _MAX_LEVELS:
        raise ShapeError("no such level", expected=f"0 <= level < {_MAX_LEVELS}", got=level)
    return levels > level


def pack_levels(levels: Tensor, n_levels: int) -> bytes:
    """Pack levels into ceil(log2(n_levels + 1)) bits a weight.

    Bit planes follow one another, the least significant bit first. A plane holds one bit for every weight, row-major
    over [out, in], eight to a byte with the first weight in the least significant bit (`bitorder="little"`); its last
    byte is filled up with zeros. With one sparsity there is one plane, and its bit is 1 where the weight stays.

    Args:
        levels: [out, in], uint8, each <= n_levels.
        n_levels: number of sparsities, 1 to 255.
    Returns: n_planes * ceil(out * in / 8) bytes.
    Raises:
        ShapeError: a level is above `n_levels`, or `n_levels` is out of range.
    """
    _check_n_levels(n_levels)
    flat = levels.detach().cpu().contiguous().numpy().reshape(-1)
    _check_highest(flat, n_levels)
    planes = [np.packbits((flat >> bit) & 1, bitorder="little") for bit in range(n_levels.bit_length())]
    return b"".join(plane.tobytes() for plane in planes)


def unpack_levels(data: bytes, shape: tuple[int, int], n_levels: int) -> Tensor:
    """Undo `pack_levels`.

    Args:
        data: what `pack_levels` returned.
        shape: (out, in).
        n_levels: number of sparsities, 1 to 255.
    Returns: [out, in], uint8, on the CPU.
    Raises:
        ShapeError: `data` has another length than shape and `n_levels` ask for, or holds a level above `n_levels`.
    """
    _check_n_levels(n_levels)
    n_weights, n_planes = shape[0] * shape[1], n_levels.bit_length()
    plane_bytes = (n_weights + 7) // 8
    if len(data) != n_planes * plane_bytes:
        raise ShapeError("packed levels do not fit the weight", expected=n_planes * plane_bytes, got=len(data))
    planes = np.frombuffer(data, dtype=np.uint8).reshape(n_planes, plane_bytes)
    flat = np.zeros(n_weights, dtype=np.uint8)
    for bit in range(n_planes):
        flat |= np.unpackbits(planes[bit], count=n_weights, bitorder="little") << np.uint8(bit)
    _check_highest(flat, n_levels)
    return torch.from_numpy(flat).reshape(shape)


def removed_counts(levels: Tensor, n_levels: int) -> list[int]:
    """Count the weights that each sparsity removes; a weight that one sparsity removes counts for all higher ones.

    Args:
        levels: [out, in], uint8.
        n_levels: number of sparsities, 1 to 255.
    Returns: one count for each sparsity, ascending.
    Raises:
        ShapeError: a level is above `n_levels`, or `n_levels` is out of range.
    """
    _check_n_levels(n_levels)
    counts = torch.bincount(levels.reshape(-1), minlength=n_levels + 1)
    if counts.numel() > n_levels + 1:
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got=counts.numel() - 1)
    return [int(count) for count in counts.cumsum(0)[:n_levels].tolist()]


def jaccard_removed(removed_a: Tensor, removed_b: Tensor) -> float:
    """Jaccard index of two sets of removed weights: |A and B| / |A or B|, 1 where both are empty.

    Args:
        removed_a: bool, any shape, True where the weight is removed (the negation of a keep mask).
        removed_b: bool, the same shape.
    Raises:
        ShapeError: the two differ in shape, or are not boolean.
    """
    if removed_a.shape != removed_b.shape or {removed_a.dtype, removed_b.dtype} != {torch.bool}:
        expected, got = (f"{mask.dtype} {tuple(mask.shape)}" for mask in (removed_a, removed_b))
        raise ShapeError("masks do not fit each other", expected=expected, got=got)
    n_union = int((removed_a | removed_b).sum())
    return int((removed_a & removed_b).sum()) / n_union if n_union else 1.0


def _check_scores(scores: Tensor) -> None:
    if scores.ndim != 2:
        raise ShapeError("scores are not a matrix", expected="[out, in]", got=tuple(scores.shape))
    if not bool(torch.isfinite(scores).all()):
        raise StatisticsError("a score is not finite", n_wrong=int((~torch.isfinite(scores)).sum()))


def _check_sparsities(sparsities: Sequence[float]) -> None:
    if not 1 <= len(sparsities) <= _MAX_LEVELS:
        raise BadInputError("wrong number of sparsities", expected=f"1 to {_MAX_LEVELS}", got=len(sparsities))
    if any(low > high for low, high in pairwise(sparsities)):
        raise BadInputError("sparsities are not ascending", got=list(sparsities))


def _check_n_levels(n_levels: int) -> None:
    if not 1 <= n_levels <= _MAX_LEVELS:
        raise ShapeError("wrong number of levels", expected=f"1 to {_MAX_LEVELS}", got=n_levels)


def _check_highest(flat: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]", n_levels: int) -> None:
    if flat.size and int(flat.max()) > n_levels:
        raise ShapeError("a level does not exist", expected=f"at most {n_levels}", got=int(flat.max()))
