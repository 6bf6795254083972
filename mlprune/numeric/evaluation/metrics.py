"""Metrics of an evaluation: classification, calibration, perplexity, BLEU and chrF.

Metrics of an evaluation: predictions, classification, calibration and perplexity.

A metric has two parts: statistics per item, and a function of their sums. A bootstrap then only adds statistics.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import ShapeError
from mlprune.numeric.arrays import Array

Quantity = Literal["precision", "recall", "f1"]
N_BINS = 10
"""Bins of confidence, of equal width and closed above: (0, 0.1], and so on; the first also contains 0."""
BLEU_ORDERS = 4
CHRF_BETA = 2
LARGEST = 1.0
"""Value of outputs that equal their references."""


def highest(scores: Array) -> NDArray[np.int64]:
    """Return the index of the highest score of each item, [items]; the lowest index of equal scores.

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
    """
    return np.asarray(np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=1), dtype=np.int64)


def shared_credit(scores: Array, gold: NDArray[np.int64]) -> Array:
    """Return 1/m if gold is one of m candidates with the highest score, else 0, [items].

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
        gold: [items], index of the right candidate.
    """
    top = scores == np.nanmax(scores, axis=1, keepdims=True)
    return np.asarray(top[np.arange(len(top)), gold] / top.sum(axis=1), dtype=np.float64)


def guess_credit(sizes: NDArray[np.int64], gold: NDArray[np.int64], *, labelled: bool) -> Array:
    """Return the credit that guessing is expected to have on each item, [n].

    It is 1 / number of candidates. With the same labels for all items, always answering with one label is as good as
    its share, so it is the share of the most frequent right label.

    Args:
        sizes: [n], number of candidates of each item.
        gold: [n], index of the right candidate.
        labelled: whether all items have the same candidates.
    """
    if labelled and len(gold) > 1:
        return np.full(len(gold), np.bincount(gold).max() / len(gold))
    return np.asarray(1.0 / sizes)


def confidence(scores: Array) -> Array:
    """Return the highest probability in the softmax of each item's scores, [items].

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
    """
    odds = np.exp(scores - np.nanmax(scores, axis=1, keepdims=True))
    return np.asarray(1.0 / np.nansum(odds, axis=1), dtype=np.float64)


def softmax(scores: Array) -> Array:
    """Return the softmax of each item's scores, [items, candidates]; NaN stays NaN.

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
    """
    odds = np.exp(scores - np.nanmax(scores, axis=1, keepdims=True))
    return np.asarray(odds / np.nansum(odds, axis=1, keepdims=True), dtype=np.float64)


def calibration_cells(confidences: Array, credit: Array) -> Array:
    """Return credit minus confidence in the bin of the confidence and 0 in the other bins, [items, N_BINS].

    Args:
        confidences: [items], in [0, 1].
        credit: [items], in [0, 1].
    """
    bins = np.searchsorted(np.arange(1, N_BINS) / N_BINS, confidences, side="left")
    cells = np.zeros((confidences.size, N_BINS))
    cells[np.arange(confidences.size), bins] = credit - confidences
    return cells


def calibration_error(cells: Array, n: Array) -> Array:
    """Return the expected calibration error: mean distance of confidence and accuracy over bins, weighted by items.

    ECE = sum over bins B of |B| / n * |mean credit in B - mean confidence in B|

    Args:
        cells: [..., N_BINS] sums of `calibration_cells`.
        n: [...] number of items in the sums.
    """
    return np.asarray(np.abs(cells).sum(axis=-1) / n)


def confusion_cells(gold: NDArray[np.int64], predictions: NDArray[np.int64], n_labels: int) -> Array:
    """Return 1 in the cell of (gold, prediction) and 0 elsewhere, [items, n_labels ** 2].

    Raises:
        ShapeError: the two are not vectors of one length, or contain a label that does not exist.
    """
    if gold.ndim != 1 or gold.shape != predictions.shape:
        raise ShapeError("need two vectors of one length", expected=gold.shape, got=predictions.shape)
    for labels in (gold, predictions):
        if ((labels < 0) | (labels >= n_labels)).any():
            got = (int(labels.min()), int(labels.max()))
            raise ShapeError("a label is unknown", expected=f"0 <= label < {n_labels}", got=got)
    cells = np.zeros((gold.size, n_labels * n_labels))
    cells[np.arange(gold.size), gold * n_labels + predictions] = 1.0
    return cells


def label_metric(cells: Array, quantity: Quantity, *, weighted: bool) -> Array:
    """Return precision, recall or F1: the mean over labels in gold or predictions, or the mean weighted by gold counts.

    A quotient with denominator 0 is 0.

    Args:
        cells: [..., n_labels ** 2] sums of `confusion_cells`.
    """
    n_labels = math.isqrt(cells.shape[-1])
    confusion = cells.reshape(*cells.shape[:-1], n_labels, n_labels)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    in_gold, in_predictions = confusion.sum(axis=-1), confusion.sum(axis=-2)
    below = {"precision": in_predictions, "recall": in_gold, "f1": (in_gold + in_predictions) / 2}[quantity]
    values = hits / np.where(below > 0, below, 1.0)
    weights = in_gold if weighted else (in_gold + in_predictions > 0).astype(np.float64)
    return np.asarray((values * weights).sum(axis=-1) / weights.sum(axis=-1))


def perplexity(log_likelihood: Array, n_tokens: Array) -> Array:
    """Return exp(-sum of log-likelihood / sum of scored tokens) over texts; inf if it is beyond float64.

    Args:
        log_likelihood: [...] sums over texts.
        n_tokens: [...] sums over texts of the scored tokens.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-log_likelihood / n_tokens))


def bleu(sums: Array) -> Array:
    """Return corpus BLEU as a fraction.

    BLEU = min(1, exp(1 - r / h)) * exp(mean over n of ln(m_n / t_n)), for h tokens in outputs, r in references, m_n of
    t_n n-grams matching. The k-th n without a match has m_n = 1 / 2^k (smoothing method `exp`, arXiv:1804.08771). The
    value is 0 if nothing matches or some t_n is 0, and at most 1: rounding errors of exp and ln are cut off.

    Args:
        sums: [..., 10]: h, r, m_1 to m_4, t_1 to t_4.
    """
    tokens, expected = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + BLEU_ORDERS], sums[..., 2 + BLEU_ORDERS :]
    has_value = (matches > 0).any(axis=-1) & (totals > 0).all(axis=-1)
    smoothed = np.where(matches > 0, matches, 0.5 ** (matches == 0).cumsum(axis=-1))
    precisions = smoothed / np.where(totals > 0, totals, 1.0)
    shortness = np.minimum(0.0, 1.0 - expected / np.where(tokens > 0, tokens, 1.0))
    values = np.where(has_value, np.exp(shortness + np.log(precisions).mean(axis=-1)), 0.0)
    return np.asarray(np.minimum(values, LARGEST))


def chrf(sums: Array) -> Array:
    """Return chrF (beta 2, character n-grams of 1 to 6, no word n-grams) as a fraction.

    chrF = min(1, (1 + b^2) * P * R / (b^2 * P + R)), with P and R the means of precision and recall over the orders
    that occur in both outputs and references; 0 if P + R is 0.

    Args:
        sums: [..., 18]: for each order the n-grams in outputs, in references, and matches.
    """
    in_outputs, in_references, matches = (sums[..., part::3] for part in range(3))
    occurs = (in_outputs > 0) & (in_references > 0)
    n_orders = np.maximum(1, occurs.sum(axis=-1))
    precision, recall = (
        np.where(occurs, matches / np.where(totals > 0, totals, 1.0), 0.0).sum(axis=-1) / n_orders
        for totals in (in_outputs, in_references)
    )
    below = CHRF_BETA**2 * precision + recall
    values = (1 + CHRF_BETA**2) * precision * recall / np.where(below > 0, below, 1.0)
    return np.asarray(np.minimum(values, LARGEST))
