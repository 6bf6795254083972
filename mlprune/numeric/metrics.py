"""Metrics of an evaluation: predictions, classification, calibration, perplexity and consistency across languages.

Everything here reads plain arrays; which rows belong together, and under which name a value is stored, the evaluation
decides. Intervals and p-values are in `significance`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError, PermanentError, ShapeError


def predicted(scores: NDArray[Any]) -> int:
    """Index of the highest score; of equal scores the earlier one.

    Args:
        scores: [n_candidates], one candidate's score each.
    Raises:
        ShapeError: there is no candidate.
        PermanentError: a score is not a number.
    """
    _check_candidates(scores)
    return int(np.argmax(scores))


def choice_credit(scores: NDArray[Any], gold: int) -> float:
    """Credit for an item: 1/m where gold is one of m candidates with the highest score, else 0.

    Args:
        scores: [n_candidates], one candidate's score each.
        gold: index of the right candidate.
    Raises:
        ShapeError: there is no candidate, or gold is none of them.
        PermanentError: a score is not a number.
    """
    _check_candidates(scores)
    if not 0 <= gold < scores.size:
        raise ShapeError("gold is no candidate", expected=f"0 <= gold < {scores.size}", got=gold)
    top = scores == scores.max()
    return 1.0 / int(top.sum()) if top[gold] else 0.0


def classification_metrics(gold: NDArray[Any], predictions: NDArray[Any], n_labels: int) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as macro and weighted means over labels.

    Macro means are over the labels that occur in gold or predictions; weighted means weigh a label by its gold count.
    A quotient with nothing below the line is 0.

    Args:
        gold: [n], int, in [0, n_labels).
        predictions: [n], int, in [0, n_labels).
        n_labels: number of labels of the task.
    Returns: fractions under accuracy and {precision, recall, f1}_{macro, weighted}.
    Raises:
        ShapeError: the two are not vectors of one length, are empty, or hold an unknown label.
    """
    _check_labels(gold, predictions, n_labels=n_labels)
    pairs = gold.astype(np.int64) * n_labels + predictions.astype(np.int64)
    confusion = np.bincount(pairs, minlength=n_labels * n_labels).reshape(n_labels, n_labels)
    hits, in_gold, in_predictions = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    occurs = in_gold + in_predictions > 0
    per_label = {
        "precision": _quotients(hits, in_predictions),
        "recall": _quotients(hits, in_gold),
        "f1": _quotients(2 * hits, in_gold + in_predictions),
    }
    metrics = {"accuracy": float(hits.sum() / gold.size)}
    for name, values in per_label.items():
        metrics[f"{name}_macro"] = float(values[occurs].mean())
        metrics[f"{name}_weighted"] = float((values * in_gold).sum() / gold.size)
    return metrics


def expected_calibration_error(confidence: NDArray[Any], correct: NDArray[Any], n_bins: int = 10) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by the items in a bin.

    ECE = sum over bins B of |B| / n * |mean correct in B - mean confidence in B|

    Bins are of equal width and closed above: (0, 1/n_bins], ..., the first also holds 0.

    Args:
        confidence: [n], in [0, 1].
        correct: [n], bool or 0/1.
        n_bins: number of bins, >= 1.
    Raises:
        ShapeError: the two are not vectors of one length, or are empty.
        PermanentError: a confidence is not in [0, 1].
        BadInputError: there is no bin.
    """
    if n_bins < 1:
        raise BadInputError("there is no bin", expected="n_bins >= 1", got=n_bins)
    _check_vectors(confidence, correct)
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise PermanentError("a confidence is out of range", expected="0 <= confidence <= 1")
    edges = np.arange(1, n_bins) / n_bins
    bins = np.searchsorted(edges, confidence, side="left")
    gaps = np.bincount(bins, weights=correct.astype(np.float64) - confidence.astype(np.float64), minlength=n_bins)
    return float(np.abs(gaps).sum() / confidence.size)


def perplexity(log_likelihoods: NDArray[Any], n_tokens: NDArray[Any]) -> float:
    """Perplexity of a split: exp(-sum of log-likelihood / sum of scored tokens); inf where it is beyond float64.

    Args:
        log_likelihoods: [n], sums over each text's scored tokens.
        n_tokens: [n], scored tokens of each text.
    Raises:
        ShapeError: the two are not vectors of one length, are empty, or no token was scored.
        PermanentError: a log-likelihood is not a number.
    """
    _check_vectors(log_likelihoods, n_tokens)
    total_tokens = int(n_tokens.sum())
    if total_tokens < 1:
        raise ShapeError("no token was scored", expected="n_tokens >= 1", got=total_tokens)
    if np.isnan(log_likelihoods).any():
        raise PermanentError("a log-likelihood is not a number", index=int(np.argmax(np.isnan(log_likelihoods))))
    with np.errstate(over="ignore"):
        return float(np.exp(-math.fsum(log_likelihoods) / total_tokens))


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


def _quotients(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(above / np.maximum(below, 1), dtype=np.float64)


def _check_candidates(scores: NDArray[Any]) -> None:
    if scores.size == 0:
        raise ShapeError("an item has no candidate", expected="at least 1", got=0)
    if np.isnan(scores).any():
        raise PermanentError("a candidate's score is not a number", n_wrong=int(np.isnan(scores).sum()))


def _check_vectors(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ShapeError("need two vectors of one length", expected=first.shape, got=second.shape)


def _check_labels(gold: NDArray[Any], predictions: NDArray[Any], *, n_labels: int) -> None:
    _check_vectors(gold, predictions)
    for labels in (gold, predictions):
        if labels.min() < 0 or labels.max() >= n_labels:
            got = (int(labels.min()), int(labels.max()))
            raise ShapeError("a label is unknown", expected=f"0 <= label < {n_labels}", got=got)
