"""Language-specific feed-forward neurons, and the weights that a mask removes from each.

Neurons are language-specific by language activation probability entropy (LAPE, Tang et al., arXiv:2402.16438). The
choice follows the authors' code (RUCAIBox/Language-Specific-Neurons, `identify.py`). The catalog's query
`language_specific_neurons` finds the same neurons from stored counts.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mlprune.errors import ShapeError, StatisticsError
from mlprune.hashing import ordered_by_hash


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
