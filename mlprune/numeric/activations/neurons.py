"""Active and language-specific feed-forward neurons, and the influence of a block.

Feed-forward neurons: count the tokens at which each fires, and the weights that a mask removes from each.

The catalog's query `language_specific_neurons` finds language-specific neurons from these counts (LAPE, Tang et al.,
arXiv:2402.16438).

Language-specific feed-forward neurons by language activation probability entropy (LAPE).

Tang et al., arXiv:2402.16438. The choice follows the authors' code (RUCAIBox/Language-Specific-Neurons, `identify.py`).

Block influence: how much a block turns the hidden states that pass through it.

i(t) = 1 - <x_t, y_t> / sqrt(<x_t, x_t> * <y_t, y_t>)        (Men et al., ShortGPT, arXiv:2403.03853)

with x_t and y_t, the hidden state of token t before and after the block. The influence of a block is the mean over
tokens. It is between 0 (no direction changes) and 2. It ignores lengths: a block that only rescales states has
influence 0, and so has one that does not change them, exactly. A state of zeros keeps its direction if the other one is
zeros too; otherwise its cosine is 0.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.hashing import ordered_by_hash
from mlprune.numeric.activations.statistics import CountedTokens, check_mask

CPU_ENTRIES, ACCELERATOR_ENTRIES = 2**18, 2**23
"""Entries of the states that are widened at once: about 10 and 320 MiB with all products. Results do not depend on
them."""


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


def language_neurons(
    active: Mapping[str, Tensor], n_tokens: Mapping[str, int], *, share: float, quantile: float
) -> dict[str, Tensor]:
    """Find the neurons that are specific to each language.

    p[l, j] = active[l][j] / n_tokens[l],   q[l, j] = p[l, j] / sum over k of p[k, j]
    LAPE[j] = - sum over l of q[l, j] ln q[l, j]

    T is the round(quantile * n)-th smallest of all n values p, at least the first. Of the neurons with p[l, j] > T in
    some language, the round(share * number of neurons) with the lowest LAPE are specific (ties: the lower index), each
    to every language with p[l, j] > T. Halves are rounded to even. Deviation from the authors' code: ties are ordered.

    Args:
        active: language -> [neurons] int64, counted tokens at which each neuron of the model fires, block after block.
        n_tokens: language -> its counted tokens.
        share: of all neurons, in (0, 1].
        quantile: in [0, 1].
    Returns: language -> bool [neurons].
    Raises:
        ShapeError: the languages have different numbers of neurons, or there are fewer than two.
        StatisticsError: a language has no counted tokens.
    """
    languages = sorted(active)
    shapes = sorted({tuple(active[language].shape) for language in languages})
    if len(languages) < 2 or len(shapes) != 1:
        message = "counts of neurons do not fit together"
        raise ShapeError(message, expected="two or more languages with the same neurons", got=f"{languages} {shapes}")
    empty = [language for language in languages if n_tokens[language] < 1]
    if empty:
        raise StatisticsError("a language has no counted tokens", languages=empty)
    probabilities = torch.stack([active[language].double() / n_tokens[language] for language in languages])
    values = probabilities.flatten().sort().values
    threshold = values[max(1, round(quantile * len(values))) - 1]
    is_high = probabilities > threshold
    entropy = torch.where(is_high.any(dim=0), _entropy(probabilities), torch.inf)
    first = entropy.sort(stable=True).indices[: round(share * entropy.numel())]
    is_specific = torch.zeros(entropy.numel(), dtype=torch.bool).index_fill(0, first, value=True)
    return {language: is_high[row] & is_specific for row, language in enumerate(languages)}


def _entropy(probabilities: Tensor) -> Tensor:
    """Return the entropy of each neuron over the languages, which are added in their order: [languages, n] to [n]."""
    total, entropy = torch.zeros_like(probabilities[0]), torch.zeros_like(probabilities[0])
    for of_language in probabilities:
        total += of_language
    for of_language in probabilities:
        part = of_language / total
        entropy += torch.where(of_language > 0, -part * part.log(), 0.0)
    return entropy


def random_neurons(excluded: Sequence[Tensor], *, seed: int) -> list[Tensor]:
    """Draw as many neurons of each block as are excluded there, among the others.

    The neurons of a block are ordered by the SHA-256 of `"seed:block:neuron"`.

    Args:
        excluded: per block, bool [neurons].
    Returns: per block, bool [neurons].
    Raises:
        StatisticsError: more than half of the neurons of a block are excluded.
    """
    return [_drawn(block, of_block, seed=seed) for block, of_block in enumerate(excluded)]


def _drawn(block: int, excluded: Tensor, *, seed: int) -> Tensor:
    others = torch.nonzero(~excluded).flatten().tolist()
    n_drawn = int(excluded.sum())
    if n_drawn > len(others):
        message = "a block has too few other neurons for a random control"
        raise StatisticsError(message, block=block, expected=f"at least {n_drawn}", got=len(others))
    names = ordered_by_hash(seed, (f"{block}:{neuron}" for neuron in others)) if n_drawn else []
    drawn = torch.zeros_like(excluded)
    drawn[[int(name.partition(":")[2]) for name in names[:n_drawn]]] = True
    return drawn


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
