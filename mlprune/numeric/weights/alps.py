"""ALPS: choose a mask by operator splitting (ADMM), then fit the remaining weights; and all reconstructions by name.

The remaining weights are fitted by conjugate gradients.

Meng, Behdin, Wang & Mazumder, ALPS, arXiv:2406.07831; compared with the published code (mazumder-lab/ALPS). The layer
is reconstructed as a whole: minimise the sum of (w - w') H (w - w')^T over rows over all w' with the sparsity of the
structure. Results are bit-identical for one number of threads. With n = `in`, an iteration takes 2 * out * n^2
multiplications and every third one n^3 / 6 more; memory is about 8 * (4 * n^2 + 9 * out * n) bytes.

Differences to the published code: exactly floor(sparsity * weights) weights are removed (there: rounded), of equal
magnitudes the first in row-major order; supports are compared as masks (there: a kept weight that is exactly 0 counts
as removed); 1e-8 is not added to the scales; if the last iteration ends with a restart, its B counts (there: B0); a
Hessian that is not positive definite is damped more; conjugate gradients make all their steps (there: fewer if no
residual is left, those of removed weights included); a Cholesky factor for each rho (there: one eigendecomposition, and
an inverse for each rho); everything is float64 (there: float32). `row` is another set to project on, which the paper
does not have.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.methods import AlpsParameters, Parameters, SparseGptParameters, checked_parameters
from mlprune.numeric.selection.levels import n_removed
from mlprune.numeric.weights.layer_inputs import LayerInputs
from mlprune.numeric.weights.sparsegpt import Reconstruction, check_tensors, checked_pattern, float32_weight, sparsegpt

_MAX_DAMPINGS = 10
_ITERATIONS_PER_CHECK = 3
_ITERATIONS_BEFORE_STABLE = 30
_STABLE_SHARE = 0.0003
_MAX_PENALTY = 1e6
_DEFAULTS = AlpsParameters()
Chosen = TypeVar("Chosen", bound=Parameters)
ReconstructionFunction = Callable[[LayerInputs, float, str, Parameters], Reconstruction]
"""Returns the mask and the new weights of a layer, from its inputs, sparsity, structure and parameters.

Raises:
    StatisticsError: the inputs have no Gram matrix, or the function cannot use it.
"""


@dataclass(frozen=True)
class _Problem:
    """A layer in units in which the diagonal of the Hessian is 1."""

    start: Tensor
    """[out, in], the scaled weights, B0 = W * d."""
    target: Tensor
    """[out, in], B0 H."""
    hessian: Tensor
    """[in, in], H = (G + damping) / (d d^T), positive definite."""
    group_size: int
    """Weights of a comparison group, which are consecutive."""
    n_removed: int
    """Weights removed from every group."""

    def factor(self, penalty: float) -> Tensor:
        """Return the lower Cholesky factor of H + penalty * I, [in, in]."""
        penalised = self.hessian.clone()
        penalised.diagonal().add_(penalty)
        factor: Tensor = torch.linalg.cholesky(penalised)
        return factor

    def kept(self, candidate: Tensor) -> Tensor:
        """Return the weights of largest magnitude of every group, [out, in] bool; of equal ones, the last."""
        groups = candidate.abs().reshape(-1, self.group_size)
        threshold = groups.kthvalue(self.n_removed, dim=1, keepdim=True).values
        below, equal = groups < threshold, groups == threshold
        missing = self.n_removed - below.sum(dim=1, keepdim=True)
        removed = below | (equal & (equal.cumsum(dim=1, dtype=torch.int64) <= missing))
        return ~removed.reshape(candidate.shape)


def alps(
    weight: Tensor,
    products: Tensor,
    *,
    sparsity: float,
    structure: str = "matrix",
    parameters: AlpsParameters = _DEFAULTS,
) -> Reconstruction:
    """Remove weights and give the remaining ones new values, so that the outputs of the layer change little.

    H is `products` plus `damping` times its mean diagonal on the diagonal; d is the root of its diagonal. With H / (d
    d^T) in the place of H and B0 = W * d, iterate from D = the largest of B0 and V = 0:

        B = (B0 H - V + rho D) (H + rho I)^-1;   D = the largest of B + V / rho;   V += rho (B - D)

    "The largest" sets all but the largest magnitudes of each comparison group to 0. rho is `penalty` at first. Every
    third iteration, c is the number of places in which the support of D changed, k the number of kept weights. c > 0.1
    k multiplies rho by 1.3, c > 0.005 k by 1.2, and rho counts as grown. Fewer changes multiply a grown rho by 1.1;
    otherwise rho is divided by 5, and D and V start again. No change ends the search if rho has grown; otherwise rho is
    divided by 5. From iteration 31 on, c < 0.0003 k ends it, too. The mask is the support of the largest of B.

    Then `gradient_steps` steps of conjugate gradients fit the kept weights of every row, which never raises the error
    under H. The result is divided by d. Features that are never active have `damping` times the mean on the diagonal:
    their weights compete with this scale and keep their value if they stay.

    Args:
        weight: [out, in], any float dtype, finite.
        products: [in, in], Gram matrix of the layer's input.
        sparsity: in [0, 1); N / M for N:M. Nothing changes if no group loses a weight.
        structure: "matrix", "row" or "N:M".
        parameters: damping > 0, penalty (the first rho) > 0, max_iterations >= 1, gradient_steps >= 0.
    Raises:
        ShapeError: `weight` is not a matrix, `products` does not fit it, or M does not divide `in`.
        StatisticsError: `products` or `weight` contains an impossible value, the Hessian is not positive definite after
            the damping was multiplied by 10 ten times, or a new weight is beyond float32.
        BadInputError: a parameter is out of range, or structure and sparsity contradict each other.
    """
    check_tensors(weight, products)
    pattern = checked_pattern(structure, sparsity, weight.shape[1], score="alps")
    damping, penalty = parameters.damping, parameters.penalty
    max_iterations, gradient_steps = parameters.max_iterations, parameters.gradient_steps
    positive = all(math.isfinite(value) and value > 0 for value in (damping, penalty))
    if not positive or max_iterations < 1 or gradient_steps < 0:
        expected = "damping > 0, penalty > 0, max_iterations >= 1, gradient_steps >= 0"
        got = f"{damping}, {penalty}, {max_iterations}, {gradient_steps}"
        raise BadInputError("an option of alps is out of range", expected=expected, got=got)
    size = pattern[1] if pattern else {"matrix": weight.numel(), "row": weight.shape[1]}[structure]
    count = pattern[0] if pattern else n_removed(sparsity, size)
    wide = weight.detach().to(torch.float64)
    if count == 0:
        return Reconstruction(torch.ones_like(wide, dtype=torch.bool), float32_weight(wide), 0)
    scales, hessian, n_dampings = _scaled_hessian(products, damping)
    start = wide * scales
    problem = _Problem(start, start @ hessian, hessian, group_size=size, n_removed=count)
    candidate = _split(problem, penalty, max_iterations)
    keep = problem.kept(candidate)
    fitted = conjugate_gradients(candidate * keep, keep, problem.target, hessian, steps=gradient_steps)
    return Reconstruction(keep, float32_weight(fitted / scales), n_dampings)


def conjugate_gradients(start: Tensor, keep: Tensor, target: Tensor, hessian: Tensor, *, steps: int) -> Tensor:
    """Fit the kept weights of every row: reduce b H b^T / 2 - target b^T over the rows b whose removed weights are 0.

    Args:
        start: [out, in] float64, 0 where removed.
        keep: [out, in] bool.
        target: [out, in] float64.
        hessian: [in, in] float64, positive definite.
        steps: number of steps; a row that is solved does not move any more.
    Returns: [out, in] float64, 0 where removed. No step raises the objective of a row.
    """
    solution = start.clone()
    residual = (target - solution @ hessian) * keep
    direction, square = residual.clone(), residual.square().sum(dim=1, keepdim=True)
    for _ in range(steps):
        image = direction @ hessian
        length = _quotient(square, (direction * image).sum(dim=1, keepdim=True))
        solution.add_(length * direction)
        residual.sub_(length * image).mul_(keep)
        following = residual.square().sum(dim=1, keepdim=True)
        direction = residual + _quotient(following, square) * direction
        square = following
    return solution


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, 0 where the denominator is not positive."""
    positive = denominator > 0
    return torch.where(positive, numerator / denominator.masked_fill(~positive, 1), 0.0)


def _split(problem: _Problem, penalty: float, max_iterations: int) -> Tensor:
    """Return B, [out, in], after the last iteration of the operator splitting."""
    keep = checked = problem.kept(problem.start)
    sparse, dual = problem.start * keep, torch.zeros_like(problem.start)
    first, n_kept = sparse, int(keep.sum())
    candidate, factor, has_grown = problem.start, problem.factor(penalty), False
    for iteration in range(1, max_iterations + 1):
        candidate = torch.cholesky_solve((problem.target - dual + penalty * sparse).t(), factor).t()
        shifted = candidate + dual / penalty
        keep = problem.kept(shifted)
        sparse = shifted * keep
        dual = penalty * (shifted - sparse)
        if iteration % _ITERATIONS_PER_CHECK:
            continue
        n_changed = int((keep ^ checked).sum())
        checked = keep
        if (n_changed == 0 and has_grown) or (
            iteration > _ITERATIONS_BEFORE_STABLE and n_changed < _STABLE_SHARE * n_kept
        ):
            break
        growth = _growth(n_changed / n_kept, has_grown=has_grown)
        if growth < 1 and n_changed:
            sparse, dual = first, torch.zeros_like(dual)
        has_grown = has_grown or growth > 1
        penalty = min(penalty * growth, _MAX_PENALTY)
        factor = problem.factor(penalty)
    return candidate


def _growth(share_changed: float, *, has_grown: bool) -> float:
    """Return the factor of the penalty, from the changes of the support as a share of the kept weights."""
    if share_changed > 0.1:
        return 1.3
    if share_changed > 0.005:
        return 1.2
    return 1.1 if has_grown else 1 / 5


def _scaled_hessian(products: Tensor, damping: float) -> tuple[Tensor, Tensor, int]:
    """Return the scales d, [in], H / (d d^T), [in, in], and the number of times that the damping was raised."""
    wide = products.detach().to(torch.float64)
    mean = float(wide.diagonal().mean()) or 1.0
    for n_dampings in range(_MAX_DAMPINGS + 1):
        scales = (wide.diagonal() + damping * 10**n_dampings * mean).sqrt()
        hessian = wide / scales / scales[:, None]
        hessian.diagonal().fill_(1)
        if int(torch.linalg.cholesky_ex(hessian).info) == 0:
            return scales, hessian, n_dampings
    raise StatisticsError("a Hessian is not positive definite with any damping", damping=damping * 10**_MAX_DAMPINGS)


def _with(
    kind: type[Chosen], function: Callable[[Tensor, Tensor, float, str, Chosen], Reconstruction]
) -> ReconstructionFunction:
    """Return a reconstruction that takes parameters of one type, from a function of a weight and a Gram matrix."""

    def reconstruction(inputs: LayerInputs, sparsity: float, structure: str, parameters: Parameters) -> Reconstruction:
        checked = checked_parameters(parameters, kind)
        if inputs.products is None:
            message = "a score reads Gram matrices, and there are none"
            raise StatisticsError(message, block=inputs.block, layer=inputs.layer)
        return function(inputs.weight, inputs.products, sparsity, structure, checked)

    return reconstruction


RECONSTRUCTION_FUNCTIONS: Mapping[str, ReconstructionFunction] = {
    "sparsegpt": _with(
        SparseGptParameters,
        lambda weight, products, sparsity, structure, parameters: sparsegpt(
            weight, products, sparsity=sparsity, structure=structure, damping=parameters.damping
        ),
    ),
    "alps": _with(
        AlpsParameters,
        lambda weight, products, sparsity, structure, parameters: alps(
            weight, products, sparsity=sparsity, structure=structure, parameters=parameters
        ),
    ),
}
"""Functions of the scores that change weights."""
