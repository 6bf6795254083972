"""Scores of weights: the importance of each weight of a layer.

Scores are [out, in], float32, >= 0; weights with higher scores are kept. Weights are oriented [out, in], so that
y = x @ weight.T; the weights of a `Conv1D` are transposed before.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from mlprune.errors import BadInputError, ShapeError, StatisticsError
from mlprune.methods import Parameters, RandomParameters, RiaParameters, WandaPlusPlusParameters, checked_parameters
from mlprune.numeric.sortable_bits import Array, compiled
from mlprune.numeric.weights.layer_inputs import LayerInputs

_WEIGHTS_TOGETHER = 2**16
"""Rows are scored in chunks of about this many weights, so that intermediate values stay in the cache."""
Chosen = TypeVar("Chosen", bound=Parameters)
ScoreFunction = Callable[[LayerInputs, Parameters], Tensor]
"""Returns the scores of a layer, [out, in] float32."""
ROW_WISE_SCORES = frozenset({"wanda", "contrast", "magnitude"})
"""Scores whose rows depend on the same rows of the weight only, so that a few rows can be scored at a time."""


def row_chunks(weight: Tensor) -> Iterator[slice]:
    """Yield slices that cover all rows of [out, in]; they depend on the shape only."""
    n_together = max(1, _WEIGHTS_TOGETHER // max(1, weight.shape[1]))
    return (slice(start, start + n_together) for start in range(0, weight.shape[0], n_together))


def check_norms(weight: Tensor, norms: Tensor) -> None:
    """Check a weight, [out, in], and the norms of the features that it reads, [in].

    Raises:
        ShapeError: they do not fit together.
        StatisticsError: a norm is negative or not finite.
    """
    if weight.ndim != 2 or norms.shape != weight.shape[1:]:
        raise ShapeError("statistics do not fit the weight", expected=tuple(weight.shape[1:]), got=tuple(norms.shape))
    check_non_negative(norms, "a feature norm is negative or not finite")


def check_non_negative(values: Tensor, message: str) -> None:
    """Check values of features, [in].

    Raises:
        StatisticsError: one is negative or not finite.
    """
    wrong = ~(torch.isfinite(values) & (values >= 0))
    if bool(wrong.any()):
        feature = int(wrong.nonzero()[0])
        raise StatisticsError(message, feature=feature, got=float(values[feature]))


def wanda_plus_plus_scores(weight: Tensor, norms: Tensor, gradients: Tensor, *, alpha: float = 100.0) -> Tensor:
    """Score each weight by its magnitude times the sum of a gradient and the norm of the feature it reads.

    S[i, j] = |W[i, j]| * (alpha * G[i, j] + ||X_j||_2)        (Yang et al., Wanda++, arXiv:2503.04992)

    Both G and the norm are roots of means over demonstrations, so that their balance does not depend on how many there
    are. Wanda's code, which the paper extends, takes this mean; the paper's own code is not public. Everything is
    float64 until the result is rounded once. The paper's regional optimiser, which changes weights, is not included.

    Args:
        weight: [out, in], any float dtype.
        norms: [in], float32 or wider.
        gradients: [out, in], float32, from `GradientSquares.root_means`.
        alpha: weight of the gradient, >= 0; the paper's is 100.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: the shapes differ.
        StatisticsError: `norms` holds a negative or non-finite value.
    """
    check_norms(weight, norms)
    _check_gradients(weight, gradients)
    scores = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
    factors = norms.to(device=weight.device, dtype=torch.float64)
    for rows in row_chunks(weight):
        sums = gradients[rows].to(device=weight.device, dtype=torch.float64).mul_(alpha).add_(factors)
        scores[rows] = weight.detach()[rows].to(torch.float64).abs().mul_(sums).to(torch.float32)
    return scores


def gradients_of(inputs: LayerInputs, gradients: Tensor | None) -> Tensor:
    """Return the gradients that a score reads.

    Raises:
        StatisticsError: there are none.
    """
    if gradients is None:
        raise StatisticsError("a score reads gradients, and there are none", block=inputs.block, layer=inputs.layer)
    return gradients


def _check_gradients(weight: Tensor, gradients: Tensor) -> None:
    if weight.ndim != 2 or gradients.shape != weight.shape:
        expected, got = tuple(weight.shape), tuple(gradients.shape)
        raise ShapeError("gradients do not fit the weight", expected=expected, got=got)


def wanda_scores(weight: Tensor, norms: Tensor) -> Tensor:
    """Score each weight by its magnitude times the norm of the feature it reads.

    S[i, j] = |W[i, j]| * ||X_j||_2        (Sun et al., arXiv:2306.11695)

    With the norms of `contrast_norms`, this is the contrast score. Each product is one multiplication in float32, or in
    float64 if an argument is float64, and is rounded once.

    Args:
        weight: [out, in], any float dtype.
        norms: [in], float32 or wider, from `feature_norms` or `contrast_norms`.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: `in` differs between the two.
        StatisticsError: `norms` holds a negative or non-finite value.
    """
    check_norms(weight, norms)
    wide = torch.promote_types(torch.promote_types(weight.dtype, norms.dtype), torch.float32)
    factors = norms.to(device=weight.device, dtype=wide)
    scores = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
    if weight.dtype == wide == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous():
        _multiply_magnitudes(weight.detach().numpy(), factors.numpy(), scores.numpy())
    else:
        for rows in row_chunks(weight):
            scores[rows] = weight.detach()[rows].to(wide).abs().mul_(factors)
    return scores


@compiled
def _multiply_magnitudes(weights: Array, factors: Array, products: Array) -> None:
    """Fill [rows, in] with |weight| * factor, all float32."""
    for row in range(len(weights)):
        for column in range(factors.size):
            products[row, column] = abs(weights[row, column]) * factors[column]


def ria_scores(weight: Tensor, norms: Tensor, *, power: float = 0.5) -> Tensor:
    """Score each weight by its share of the weights of its output and input, times a power of the feature norm.

    S[i, j] = (|W[i, j]| / sum over i' of |W[i', j]| + |W[i, j]| / sum over j' of |W[i, j']|) * ||X_j||_2 ** power

    Relative importance and activations (Zhang et al., Plug-and-Play, ICLR 2024). If a sum is zero, its weights get
    score 0 (NaN in the published code). Everything is float64 until the result is rounded once.

    Args:
        weight: [out, in], any float dtype.
        norms: [in], float32 or wider, from `feature_norms`.
        power: exponent of the norms, > 0; the published code's default is 0.5.
    Returns: [out, in], float32, >= 0.
    Raises:
        ShapeError: `in` differs between the two.
        StatisticsError: `norms` holds a negative or non-finite value.
        BadInputError: `power` is not a positive number.
    """
    check_norms(weight, norms)
    if not (math.isfinite(power) and power > 0):
        raise BadInputError("the exponent of ria is out of range", expected="power > 0", got=power)
    of_rows, of_columns = (_inverse(sums) for sums in _magnitude_sums(weight))
    factors = norms.to(device=weight.device, dtype=torch.float64) ** power
    scores = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
    for rows in row_chunks(weight):
        magnitudes = weight.detach()[rows].to(torch.float64).abs()
        scores[rows] = magnitudes * (of_columns + of_rows[rows, None]) * factors
    return scores


def contrast_norms(target_mean_sq: Tensor, contrast_mean_sq: Tensor) -> tuple[Tensor, int]:
    """Return norms that are large for features that are large in the target set and small in the contrast set.

    s = s_mt * (s_mt / s_code), norm = sqrt(s) = s_mt / sqrt(s_code), and the score is |W| * norm. The paper writes
    S_ij = |W_ij| * ||X_j^mt||_2^2 / ||X_j^code||_2 (Kim et al., arXiv:2409.16911) with sums over demonstrations. Means
    multiply every score by N_mt / sqrt(N_code), so the ordering is the same. If s_code = 0, s = s_mt. In the published
    code, the order of a Python set decides which set is the numerator; here it is the first argument.

    Args:
        target_mean_sq: [in], float64, `mean_squares` of the translation set (s_mt).
        contrast_mean_sq: [in], float64, `mean_squares` of the contrast set (s_code).
    Returns: [in], float32, >= 0, and the number of features with s_code = 0.
    Raises:
        ShapeError: the two differ in shape.
        StatisticsError: one holds a negative or non-finite value, or a quotient is beyond float32.
    """
    if target_mean_sq.ndim != 1 or target_mean_sq.shape != contrast_mean_sq.shape:
        raise ShapeError(
            "the statistics of the two sets differ in shape",
            expected=tuple(target_mean_sq.shape),
            got=tuple(contrast_mean_sq.shape),
        )
    for mean_sq in (target_mean_sq, contrast_mean_sq):
        check_non_negative(mean_sq, "a mean square is negative or not finite")
    target, contrast = target_mean_sq.to(torch.float64), contrast_mean_sq.to(torch.float64)
    silent = contrast == 0
    divisor = torch.where(silent, torch.ones_like(contrast), contrast.sqrt())
    norms = torch.where(silent, target.sqrt(), target / divisor).to(torch.float32)
    check_non_negative(norms, "a contrast norm is beyond float32")
    return norms, int(silent.sum())


def magnitude_scores(weight: Tensor) -> Tensor:
    """Score each weight by its magnitude: S[i, j] = |W[i, j]|.

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
    """Draw scores from U(0, 1) that depend on (seed, block, layer) only.

    The seed of the generator is the first 8 bytes of SHA-256 of "seed:block:layer". Layers may therefore be drawn in
    any order and in any process. torch's global generator is not used.

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


def _with(kind: type[Chosen], function: Callable[[LayerInputs, Chosen], Tensor]) -> ScoreFunction:
    """Return a score function that takes parameters of one type."""

    def scores(inputs: LayerInputs, parameters: Parameters) -> Tensor:
        return function(inputs, checked_parameters(parameters, kind))

    return scores


SCORE_FUNCTIONS: Mapping[str, ScoreFunction] = {
    "wanda": lambda inputs, _: wanda_scores(inputs.weight, inputs.norms),
    "contrast": lambda inputs, _: wanda_scores(inputs.weight, inputs.norms),
    "magnitude": lambda inputs, _: magnitude_scores(inputs.weight),
    "random": _with(
        RandomParameters,
        lambda inputs, parameters: random_scores(
            (inputs.weight.shape[0], inputs.weight.shape[1]), parameters.seed, inputs.block, inputs.layer
        ),
    ),
    "ria": _with(
        RiaParameters, lambda inputs, parameters: ria_scores(inputs.weight, inputs.norms, power=parameters.power)
    ),
    "wanda_plus_plus": _with(
        WandaPlusPlusParameters,
        lambda inputs, parameters: wanda_plus_plus_scores(
            inputs.weight, inputs.norms, gradients_of(inputs, inputs.gradients), alpha=parameters.alpha
        ),
    ),
}
"""Functions of the scores that do not change weights."""


def _magnitude_sums(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return float64 sums of |W| over each row, [out], and over each column, [in]."""
    of_rows = torch.empty(weight.shape[0], dtype=torch.float64, device=weight.device)
    of_columns = torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device)
    for rows in row_chunks(weight):
        magnitudes = weight.detach()[rows].to(torch.float64).abs()
        of_rows[rows] = magnitudes.sum(dim=1)
        of_columns += magnitudes.sum(dim=0)
    return of_rows, of_columns


def _inverse(sums: Tensor) -> Tensor:
    """Return 1 / sums, and 0 if a sum is 0."""
    return torch.where(sums == 0, torch.zeros_like(sums), 1 / sums)
