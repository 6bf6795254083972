"""Least squares: new values for the kept weights of a row, so that its output changes least.

With P the removed and K the kept weights of a row w, and G the Gram matrix of the inputs, the squared error of the
output is (w - w') G (w - w')^T. It is least if the kept weights change by

    (G_KK + ridge mean(diag G) I)^-1 G_KP w_P

where the ridge keeps weights of rarely active features near their values; without it this is ordinary least squares,
as in the update of the optimal brain surgeon (Hassibi, Stork, Wolff, 1993) for a given mask. One Cholesky factorisation
of each row in float64; the published methods that solve the same problem for all rows at once use iterations.
"""

import math

import torch
from torch import Tensor

from mlprune.errors import BadInputError, StatisticsError
from mlprune.numeric.refinement.checks import check_mask, host_products
from mlprune.numeric.selection.sortable_bits import row_chunks
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**16
_MAX_DAMPINGS = 10


def recovered_weights(weight: Tensor, keep: Tensor, *, products: Tensor, ridge: float = 0.01) -> Tensor:
    """Return the weights of a mask that change the layer's output least. Computed on the CPU.

    A row whose matrix is not positive definite gets a ridge 10 times larger, ten times at most.

    Args:
        weight: [out, in], any float dtype.
        keep: [out, in], bool.
        products: [in, in], any float dtype: G, symmetric.
        ridge: share of the mean diagonal of G, > 0.
    Returns: [out, in] float32, on the device of `weight`; exactly 0 where removed.
    Raises:
        ShapeError: the tensors do not fit together.
        StatisticsError: a weight or a product is not finite, a sum of squares negative, a matrix not positive definite
            with any ridge, or a new weight is beyond float32.
        BadInputError: `ridge` is out of range.
    """
    if not (math.isfinite(ridge) and ridge > 0):
        raise BadInputError("the ridge of least squares is out of range", expected="ridge > 0", got=ridge)
    check_mask(weight, keep)
    gram = host_products(weight, products)
    mean = float(gram.diagonal().mean()) if len(gram) else 0.0
    added = ridge * mean if mean > 0 else 1.0
    masks = keep.cpu()
    recovered = torch.zeros(weight.shape, dtype=torch.float32)

    @torch.inference_mode()
    def recover(rows: slice) -> None:
        weights = weight[rows].detach().to(device="cpu", dtype=torch.float64)
        slopes = (weights * ~masks[rows]) @ gram
        for row, (w, kept, slope) in enumerate(zip(weights, masks[rows], slopes, strict=True), start=rows.start):
            columns = kept.nonzero().flatten()
            change = _solved(gram[columns[:, None], columns], slope[columns], added)
            recovered[row, columns] = (w[columns] + change).to(torch.float32)

    list(parallel_map(recover, row_chunks(masks.numpy(), _WEIGHTS_PER_CHUNK)))
    if not bool(torch.isfinite(recovered).all()):
        raise StatisticsError("a recovered weight is beyond float32")
    return recovered.to(weight.device)


def _solved(matrix: Tensor, slopes: Tensor, added: float) -> Tensor:
    """Return (matrix + added I)^-1 slopes, [k]; the matrix is overwritten."""
    diagonal = matrix.diagonal().clone()
    for n_dampings in range(_MAX_DAMPINGS + 1):
        matrix.diagonal().copy_(diagonal + added * 10**n_dampings)
        lower, failed_at = torch.linalg.cholesky_ex(matrix)
        if int(failed_at) == 0:
            return torch.cholesky_solve(slopes[:, None], lower)[:, 0]
    raise StatisticsError("a Gram matrix is not positive definite with any ridge", added=added * 10**_MAX_DAMPINGS)
