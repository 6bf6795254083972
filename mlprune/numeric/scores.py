"""Scores: how much each weight is worth keeping.

A score is [out, in], float32, >= 0, higher means more worth keeping. Weights arrive oriented [out, in], so that
y = x @ weight.T; turning a `Conv1D` around is the models' concern, turning scores into masks that of `masks`.
"""

import hashlib

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError

SCORES: tuple[str, ...] = ("wanda", "contrast", "magnitude", "random")
"""Every score by its name in a recipe."""

SCORES_READING_STATISTICS: frozenset[str] = frozenset({"wanda", "contrast"})
"""The scores that need activation statistics; the others ignore demonstrations."""


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """Score each weight by its magnitude times the norm of the feature it reads.

    S[i, j] = |W[i, j]| * ||X_j||_2        (Sun et al., arXiv:2306.11695)

    With the norms of `contrast_norms` this is the contrast score. Each product is one multiplication in float32, or in
    float64 where an argument is float64, and is rounded once.

    Args:
        weight: [out, in], any float dtype.
        norms: [in], float32 or wider, from `feature_norms` or `contrast_norms`.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: `in` differs between the two.
        StatisticsError: `norms` holds a negative or non-finite value.
    """
    if weight.ndim != 2 or norms.shape != weight.shape[1:]:
        raise ShapeError("statistics do not fit the weight", expected=tuple(weight.shape[1:]), got=tuple(norms.shape))
    _check_non_negative(norms, "a feature norm is negative or not finite")
    wide = torch.promote_types(torch.promote_types(weight.dtype, norms.dtype), torch.float32)
    factors = norms.to(device=weight.device, dtype=wide)
    return weight.detach().to(wide).abs().mul_(factors).to(torch.float32)


def contrast_norms(target_mean_sq: Tensor, contrast_mean_sq: Tensor) -> tuple[Tensor, int]:
    """Norms that are large where the target set (translation) is large and the contrast set (code) is small.

    s = s_mt * (s_mt / s_code), norm = sqrt(s) = s_mt / sqrt(s_code), and the score is |W| * norm. The paper writes
    S_ij = |W_ij| * ||X_j^mt||_2^2 / ||X_j^code||_2 (Kim et al., arXiv:2409.16911) with sums over demonstrations; means
    change every score by the one factor N_mt / sqrt(N_code), so the ordering is the same. Where s_code = 0 the quotient
    does not exist and s = s_mt is used. In the published code the order of a Python set decides which set is the
    numerator; here it is the first argument.

    Args:
        target_mean_sq: [in], float64, `mean_squares` of the translation set (s_mt).
        contrast_mean_sq: [in], float64, `mean_squares` of the contrast set (s_code).
    Returns: [in], float32, >= 0, and the number of features with s_code = 0, to be recorded.
    Raises:
        ShapeError: the two differ in shape.
        StatisticsError: one holds a negative or non-finite value, or a quotient is beyond float32.
    """
    if target_mean_sq.ndim != 1 or target_mean_sq.shape != contrast_mean_sq.shape:
        raise ShapeError(
            "the two sets' statistics do not fit",
            expected=tuple(target_mean_sq.shape),
            got=tuple(contrast_mean_sq.shape),
        )
    for mean_sq in (target_mean_sq, contrast_mean_sq):
        _check_non_negative(mean_sq, "a mean square is negative or not finite")
    target, contrast = target_mean_sq.to(torch.float64), contrast_mean_sq.to(torch.float64)
    silent = contrast == 0
    divisor = torch.where(silent, torch.ones_like(contrast), contrast.sqrt())
    norms = torch.where(silent, target.sqrt(), target / divisor).to(torch.float32)
    _check_non_negative(norms, "a contrast norm is beyond float32")
    return norms, int(silent.sum())


def magnitude_scores(weight: Tensor) -> Tensor:
    """Score each weight by its magnitude alone: S[i, j] = |W[i, j]|.

    Args:
        weight: [out, in], any float dtype.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: `weight` is not a matrix.
    """
    if weight.ndim != 2:
        raise ShapeError("a weight is not a matrix", expected="[out, in]", got=tuple(weight.shape))
    return weight.detach().abs().to(torch.float32)


def random_scores(shape: tuple[int, int], seed: int, block: int, layer: str) -> Tensor:
    """Draw scores from U(0, 1) that depend on (seed, block, layer) and nothing else.

    The generator is keyed by the first 8 bytes of SHA-256 of "seed:block:layer" and lives on the CPU, so layers may be
    drawn in any order, in any process, and torch's global generator is neither read nor moved.

    Args:
        shape: (out, in).
        seed: the variant's seed.
        block: index of the block in the model.
        layer: module path of the layer inside the block.
    Returns: [out, in], float32, in [0, 1), on the CPU.
    """
    digest = hashlib.sha256(f"{seed}:{block}:{layer}".encode()).digest()
    generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")


def _check_non_negative(values: Tensor, message: str) -> None:
    wrong = ~(torch.isfinite(values) & (values >= 0))
    if bool(wrong.any()):
        feature = int(wrong.nonzero()[0])
        raise StatisticsError(message, feature=feature, got=float(values[feature]))
