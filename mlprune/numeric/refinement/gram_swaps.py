"""Gram swaps: exchange a removed weight of a row for a kept one as long as the error of the layer's output falls.

SparseSwaps (Zimmer et al., arXiv:2512.10922). With r the removed part of a row w, and G the Gram matrix of the inputs,
the squared error of the row's output is r^T G r. Removing the kept weight p and restoring the removed weight u changes
it by

    (2 w_p (G r)_p + w_p^2 G_pp) + (-2 w_u (G r)_u + w_u^2 G_uu) - 2 w_p w_u G_pu

The best swap of the row is taken, r and G r are updated in O(in), and the next one is searched. The algebra is our own;
the paper's algorithm is the same local search with exact best swaps on accelerators. Difference: only swaps that remove
or restore one of the weights of two shortlists are compared, see `gram_swaps`.
"""

import torch
from torch import Tensor

from mlprune.errors import BadInputError
from mlprune.numeric.refinement.checks import check_mask, group_size, host_products
from mlprune.numeric.refinement.refined_layer import RefinedLayer
from mlprune.numeric.refinement.row_swaps import swap_in_rows
from mlprune.numeric.selection.sortable_bits import row_chunks
from mlprune.processes.parallel import parallel_map

_WEIGHTS_PER_CHUNK = 2**17
"""Approximate number of weights per piece of work: three float64 values of each are in memory."""


def gram_swaps(
    weight: Tensor, keep: Tensor, *, products: Tensor, structure: str = "row", swaps: int = 100, shortlist: int = 8
) -> RefinedLayer:
    """Refine a mask by swaps inside rows, or inside the groups of N:M.

    For each row, the `shortlist` kept weights that are cheapest to remove by themselves are combined with all removed
    weights, and the `shortlist` removed weights that lower the error most by themselves with all kept weights; the best
    of these swaps is made. If a shortlist has all kept or all removed weights of the row, this is the best swap of all.
    The groups of N:M always compare all. A row ends after `swaps` swaps, or if no swap lowers its error by more than
    1e-12 of the terms of the sum. Everything is float64. The tensors are copied to the CPU from an accelerator.

    Args:
        weight: [out, in], any float dtype.
        keep: [out, in], bool: the mask to start from.
        products: [in, in], any float dtype: G, symmetric.
        structure: `row`, `matrix`, `alpha` or `N:M`.
        swaps: most swaps of a row, >= 1.
        shortlist: >= 1.
    Returns: the mask, on the device of `keep`, and the swaps of each row. Every row, or group of N:M, keeps as many
        weights as before.
    Raises:
        ShapeError: the tensors do not fit together, or M does not divide `in`.
        StatisticsError: a weight or a product is not finite, or a sum of squares negative.
        BadInputError: an option is out of range, or the structure is unknown.
    """
    if swaps < 1 or shortlist < 1:
        got = f"swaps {swaps}, shortlist {shortlist}"
        raise BadInputError("an option of gram_swaps is out of range", expected="swaps >= 1, shortlist >= 1", got=got)
    check_mask(weight, keep)
    limits = (swaps, shortlist, group_size(structure, weight.shape[1]))
    gram = host_products(weight, products)
    removed = ~keep.cpu().contiguous()
    n_swaps = torch.zeros(len(keep), dtype=torch.int32)

    def swap(rows: slice) -> None:
        weights = weight[rows].detach().to(device="cpu", dtype=torch.float64, memory_format=torch.contiguous_format)
        gradients = (weights * removed[rows]) @ gram
        state = (weights.numpy(), removed[rows].numpy(), gradients.numpy())
        swap_in_rows(state, gram.numpy(), limits, n_swaps[rows].numpy())

    list(parallel_map(swap, row_chunks(removed.numpy(), _WEIGHTS_PER_CHUNK)))
    return RefinedLayer(keep=removed.logical_not_().to(keep.device), n_swaps=n_swaps)
