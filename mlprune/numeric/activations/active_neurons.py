"""Feed-forward neurons: count the tokens at which each fires, and the weights that a mask removes from each.

The catalog's query `language_specific_neurons` finds language-specific neurons from these counts (LAPE, Tang et al.,
arXiv:2402.16438).
"""

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError


def active_counts(activations: Tensor, token_mask: Tensor) -> Tensor:
    """Count the tokens at which each neuron fires.

    c[j] = number of counted tokens (n, t) with a[n, t, j] > 0

    Args:
        activations: [batch, seq, neurons], any float dtype, after the activation function; for a gated feed-forward
            layer the activated gate before the multiplication, as in the paper.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [neurons], int64.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: a counted activation is not finite.
    """
    if activations.ndim != 3 or activations.shape[:2] != token_mask.shape or token_mask.dtype != torch.bool:
        got = f"{token_mask.dtype} {tuple(token_mask.shape)}"
        raise ShapeError("token mask does not fit the activations", expected=tuple(activations.shape[:2]), got=got)
    counted = activations[token_mask.to(activations.device)]
    if not bool(torch.isfinite(counted).all()):
        raise StatisticsError("a counted activation is not finite")
    return (counted > 0).sum(dim=0)


def removed_before(removed: Tensor, n_neurons: int) -> Tensor:
    """Count the removed weights through which each neuron reads.

    Args:
        removed: bool [k * neurons, in]: row r belongs to neuron r mod neurons (k is 2 if the gate and the projection
            that it multiplies are one layer).
    Returns: [neurons], int64.
    Raises:
        ShapeError: the number of rows is not a multiple of the number of neurons.
    """
    if removed.ndim != 2 or removed.shape[0] % n_neurons:
        raise ShapeError("a mask does not fit the neurons", expected=f"k * {n_neurons} rows", got=tuple(removed.shape))
    return removed.sum(dim=1).reshape(-1, n_neurons).sum(dim=0)


def removed_after(removed: Tensor) -> Tensor:
    """Count the removed weights that read each neuron: bool [out, neurons] to [neurons], int64."""
    return removed.sum(dim=0)
