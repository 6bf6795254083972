"""Block influence: how much a block turns the hidden states that pass through it.

i(t) = 1 - <x_t, y_t> / sqrt(<x_t, x_t> * <y_t, y_t>)        (Men et al., ShortGPT, arXiv:2403.03853)

with x_t and y_t, the hidden state of token t before and after the block. The influence of a block is the mean over
tokens. It is between 0 (no direction changes) and 2. It ignores lengths: a block that only rescales states has
influence 0, and so has one that does not change them, exactly. A state of zeros keeps its direction if the other one is
zeros too; otherwise its cosine is 0.
"""

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.numeric.activations.statistics import CountedTokens, check_mask

CPU_ENTRIES, ACCELERATOR_ENTRIES = 2**18, 2**23
"""Entries of the states that are widened at once: about 10 and 320 MiB with all products. Results do not depend on
them."""


def influence_sums(before: Tensor, after: Tensor, *, counted: CountedTokens) -> Tensor:
    """Sum i(t) over the counted tokens of each demonstration, in float64.

    The values of other tokens have no effect. Nothing waits for an accelerator, and nothing is checked there: see
    `check_influence`.

    Args:
        before: [b, s, d], any float dtype.
        after: [b, s, d], on the same device.
        counted: tokens of the batch that count.
    Returns: [b], float64, >= 0; not finite where a counted state is not finite.
    Raises:
        ShapeError: the shapes do not match, or the mask is not boolean.
        StatisticsError: on the CPU, a counted state is not finite.
    """
    check_mask(before, counted.mask)
    if after.shape != before.shape:
        raise ShapeError("states after a block differ in shape", expected=tuple(before.shape), got=tuple(after.shape))
    n_rows, n_tokens, n_features = before.shape
    is_on_cpu = before.device.type == "cpu"
    n_together = max(1, (CPU_ENTRIES if is_on_cpu else ACCELERATOR_ENTRIES) // max(1, n_rows * n_features))
    ignored = counted.ignored_on(before.device)
    pieces = [slice(start, start + n_together) for start in range(0, max(1, n_tokens), n_together)]
    sums = torch.cat([_influence(before, after, ignored, piece) for piece in pieces], dim=1).sum(dim=1)
    if is_on_cpu:
        check_influence(sums)
    return sums


def check_influence(sums: Tensor) -> None:
    """Check the sums of `influence_sums`, [b].

    Raises:
        StatisticsError: a counted state is not finite.
    """
    finite = torch.isfinite(sums)
    if not bool(finite.all()):
        raise StatisticsError("a counted hidden state is not finite", row_in_batch=int((~finite).nonzero()[0]))


def _influence(before: Tensor, after: Tensor, ignored: Tensor, piece: slice) -> Tensor:
    """Return i(t) of some tokens, [b, s], 0 where a token does not count."""
    x, y = (states[:, piece].masked_fill(ignored[:, piece], 0).to(torch.float64) for states in (before, after))
    product, of_x, of_y = ((left * right).sum(dim=2) for left, right in ((x, y), (x, x), (y, y)))
    scale = (of_x * of_y).sqrt_()
    is_zero = (of_x == 0) & (of_y == 0)
    cosine = torch.where(is_zero, 1.0, product / torch.where(scale == 0, 1.0, scale))
    return (1.0 - cosine).clamp_(min=0.0)
