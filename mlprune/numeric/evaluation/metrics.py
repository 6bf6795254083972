"""Metrics of an evaluation from numbers alone: predictions, classification, calibration, perplexity, consistency.

Metrics are written as statistics of single items and as values of their sums, so that a bootstrap only adds. Which
rows belong together, and under which name a value is stored, the evaluation decides. Intervals and p-values are in
`significance`.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import PermanentError, ShapeError

Array = NDArray[np.float64]

Quantity = Literal["precision", "recall", "f1"]

N_BINS = 10
"""Bins of confidence, of equal width and closed above: (0, 0.1], ..., the first also holds 0."""


def highest(scores: Array) -> NDArray[np.int64]:
    """[items] index of the highest score of each item, of equal ones the earlier.

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
    """
    return np.asarray(np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=1), dtype=np.int64)


def shared_credit(scores: Array, gold: NDArray[np.int64]) -> Array:
    """[items] 1/m where gold is one of m candidates with the highest score, else 0.

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
        gold: [items], index of the right candidate.
    """
    top = scores == np.nanmax(scores, axis=1, keepdims=True)
    return np.asarray(top[np.arange(len(top)), gold] / top.sum(axis=1), dtype=np.float64)


def confidence(scores: Array) -> Array:
    """[items] the highest probability in the softmax of an item's scores.

    Args:
        scores: [items, candidates], NaN where an item has fewer candidates than others.
    """
    odds = np.exp(scores - np.nanmax(scores, axis=1, keepdims=True))
    return np.asarray(1.0 / np.nansum(odds, axis=1), dtype=np.float64)


def calibration_cells(confidences: Array, credit: Array) -> Array:
    """[items, N_BINS]: credit minus confidence in the bin of the confidence, elsewhere 0.

    Args:
        confidences: [items], in [0, 1].
        credit: [items], in [0, 1].
    """
    bins = np.searchsorted(np.arange(1, N_BINS) / N_BINS, confidences, side="left")
    cells = np.zeros((confidences.size, N_BINS))
    cells[np.arange(confidences.size), bins] = credit - confidences
    return cells


def calibration_error(cells: Array, n: Array) -> Array:
    """Expected calibration error: mean distance of confidence and accuracy over bins, weighted by their items.

    ECE = sum over bins B of |B| / n * |mean credit in B - mean confidence in B|

    Args:
        cells: [..., N_BINS] sums of `calibration_cells`.
        n: [...] items that were added.
    """
    return np.asarray(np.abs(cells).sum(axis=-1) / n)


def confusion_cells(gold: NDArray[np.int64], predictions: NDArray[np.int64], n_labels: int) -> Array:
    """[items, n_labels ** 2]: 1 in the cell of (gold, prediction), elsewhere 0.

    Raises:
        ShapeError: the two are not vectors of one length, or hold a label that is none.
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
    """Precision, recall or F1: mean over the labels that occur in gold or predictions, or weighted by gold counts.

    A quotient with nothing below the line is 0.

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
    """exp(-sum of log-likelihood / sum of scored tokens) over texts; inf where it is beyond float64.

    Args:
        log_likelihood: [...] sums over texts.
        n_tokens: [...] sums of their scored tokens.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-log_likelihood / n_tokens))


def rank_consistency(
    scores_a: Sequence[NDArray[Any]], scores_b: Sequence[NDArray[Any]], tie_keys: Sequence[Sequence[str]]
) -> tuple[float, int]:
    """RankC: how alike two languages rank the candidates of the same items        (Qi et al., arXiv:2310.10378).

    w_j = exp(n - j) / sum_k exp(n - k),   RankC = mean over items of sum_j w_j * |top_j(a) & top_j(b)| / j

    Candidates are ranked by descending score (the published script ranks ascending), equal scores by ascending tie key.
    Items whose candidate counts differ are left out. Weights are computed as exp(1 - j), which no n can overflow.

    Args:
        scores_a: for each item, [n_candidates] scores in one language.
        scores_b: the same items in the other language, candidates in the same order.
        tie_keys: for each item one key per candidate: SHA-256 hex of "example_id:candidate_index".
    Returns: the value (NaN where no item is used), and the number of items used.
    Raises:
        ShapeError: the three differ in items, or an item's keys in candidates, or an item has no candidate.
        PermanentError: a score is not a number.
    """
    if not len(scores_a) == len(scores_b) == len(tie_keys):
        lengths = (len(scores_a), len(scores_b), len(tie_keys))
        raise ShapeError("items do not fit each other", expected="three of one length", got=lengths)
    by_size: dict[int, list[int]] = {}
    for item, (a, b) in enumerate(zip(scores_a, scores_b, strict=True)):
        if a.shape == b.shape:
            by_size.setdefault(a.size, []).append(item)
    values: list[float] = []
    for size, items in by_size.items():
        if any(len(tie_keys[item]) != size for item in items):
            raise ShapeError("tie keys do not fit the candidates", expected=size)
        key_places = _places(np.array([tie_keys[item] for item in items]))
        places_a = _ranks(np.stack([scores_a[item] for item in items]), key_places)
        places_b = _ranks(np.stack([scores_b[item] for item in items]), key_places)
        values.extend(_item_consistency(places_a, places_b).tolist())
    return (math.fsum(values) / len(values) if values else math.nan), len(values)


def _item_consistency(ranks_a: NDArray[np.int64], ranks_b: NDArray[np.int64]) -> NDArray[np.float64]:
    """[items] values from [items, n] ranks: a candidate is in both top j from j = its worse rank + 1 on."""
    n_items, n = ranks_a.shape
    entry = np.maximum(ranks_a, ranks_b) + n * np.arange(n_items)[:, None]
    shared = np.bincount(entry.reshape(-1), minlength=n_items * n).reshape(n_items, n).cumsum(axis=1)
    weights = np.exp(-np.arange(n, dtype=np.float64))
    terms = weights / weights.sum() * (shared / np.arange(1, n + 1))
    return np.asarray(terms.sum(axis=1), dtype=np.float64)


def _ranks(scores: NDArray[Any], key_places: NDArray[np.int64]) -> NDArray[np.int64]:
    """[items, n] rank of each candidate, 0 for the highest score."""
    _check_candidates(scores)
    order = np.lexsort((key_places, -scores.astype(np.float64)), axis=-1)
    return _inverse(order)


def _places(keys: NDArray[Any]) -> NDArray[np.int64]:
    """[items, n] place of each key in the ascending order of its row."""
    return _inverse(np.argsort(keys, axis=-1, kind="stable"))


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[-1])[None, :], axis=-1)
    return places


def _check_candidates(scores: NDArray[Any]) -> None:
    if scores.size == 0:
        raise ShapeError("an item has no candidate", expected="at least 1", got=0)
    if np.isnan(scores).any():
        raise PermanentError("a candidate's score is not a number", n_wrong=int(np.isnan(scores).sum()))
