"""Paired means over two crossed samples: the demonstration sets and the evaluated items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlprune.errors import ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairedMean:
    """A mean difference, its interval and its p-value."""

    mean: float
    ci_low: float
    ci_high: float
    p_value: float
    n_below: int
    """Cells (a set in a language) whose difference is below 0."""
    n_cells: int
    n_sets: int
    n_items: int


def paired_mean(differences: Array, counts: Array, *, n_resamples: int = 2000, seed: int = 0) -> PairedMean:
    """Return the mean over sets and languages of the difference per counted unit, with a two-sided test against 0.

    d[s, l] = sum over i of differences[s, l, i] / sum over i of counts[s, l, i]

    Sets and items are resampled independently of each other (Owen 2007, arXiv:0712.1111), the items equally in all sets
    and languages, because a line means the same in each. The standard error of the mean over the resamples is used with
    Student's t of `sets - 1` degrees of freedom.

    Args:
        differences: [sets, languages, items], paired differences of the sums of two variants.
        counts: [sets, languages, items], > 0: tokens of a sentence, or 1.
    Raises:
        ShapeError: the shapes do not match, or there are fewer than two sets.
    """
    if differences.ndim != 3 or counts.shape != differences.shape or len(differences) < 2:
        expected, got = "[sets >= 2, languages, items] twice", (differences.shape, counts.shape)
        raise ShapeError("paired differences do not fit", expected=expected, got=got)
    n_sets, n_languages, n_items = differences.shape
    cells = differences.sum(axis=2) / counts.sum(axis=2)
    item_weights = _weights(n_items, n_resamples, seed)
    set_weights = _weights(n_sets, n_resamples, seed + 1)
    ratios = (differences @ item_weights.T) / (counts @ item_weights.T)
    means = np.einsum("slr,rs->r", ratios, set_weights) / (n_sets * n_languages)
    mean, error = float(cells.mean()), float(means.std())
    margin = float(special.stdtrit(n_sets - 1, 0.975)) * error
    p_value = 2.0 * float(special.stdtr(n_sets - 1, -abs(mean) / error)) if error > 0 else float(mean == 0)
    return PairedMean(mean, mean - margin, mean + margin, p_value, int((cells < 0).sum()), cells.size, n_sets, n_items)


def resampled_indices(n: int, *, n_resamples: int, seed: int) -> NDArray[np.int32]:
    """Draw elements of each resample from a PCG64 generator, [n_resamples, n]."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, n, size=(n_resamples, n), dtype=np.int32)


def _weights(n: int, n_resamples: int, seed: int) -> Array:
    """Return [n_resamples, n]: how often each resample draws each element."""
    draws = resampled_indices(n, n_resamples=n_resamples, seed=seed)
    rows = np.arange(n_resamples)[:, None] * n
    return np.bincount((draws + rows).ravel(), minlength=n_resamples * n).reshape(n_resamples, n).astype(np.float64)
