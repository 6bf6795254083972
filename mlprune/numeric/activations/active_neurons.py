"""Feed-forward neurons: over how many tokens each fires, and how many of its weights a mask removes.

From these counts language-specific neurons are found (LAPE, Tang et al., arXiv:2402.16438). That is a question to the
catalog, with parameters of its own, and therefore a query: `catalog/sql/queries/language_specific_neurons.sql`.
"""

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError


def active_counts(activations: Tensor, token_mask: Tensor) -> Tensor:
    """Count the tokens at which each neuron fires.

    c[j] = number of counted tokens (n, t) with a[n, t, j] > 0

    Args:
        activations: [batch, seq, neurons], any float dtype, behind the activation function; of a gated feed-forward
            the activated gate, as in the paper, before it is multiplied.
        token_mask: bool [batch, seq], True where the token counts.
    Returns: [neurons], int64.
    Raises:
        ShapeError: the two do not belong together, or the mask is not boolean.
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
        removed: bool [k * neurons, in]: row r is one of neuron r mod neurons (k is 2 where gate and its partner are one
            layer).
    Returns: [neurons], int64.
    Raises:
        ShapeError: the rows are no multiple of the neurons.
    """
    if removed.ndim != 2 or removed.shape[0] % n_neurons:
        raise ShapeError("a mask does not fit the neurons", expected=f"k * {n_neurons} rows", got=tuple(removed.shape))
    return removed.sum(dim=1).reshape(-1, n_neurons).sum(dim=0)


def removed_behind(removed: Tensor) -> Tensor:
    """Count the removed weights through which each neuron is read: bool [out, neurons] to [neurons], int64."""
    return removed.sum(dim=0)
