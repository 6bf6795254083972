"""Predictions written by hand, as input for tests of metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlprune.evaluation.scoring.predictions import Likelihoods, Predictions


def whole_texts(
    ids: Sequence[str],
    starts: NDArray[Any],
    *,
    gold: NDArray[Any],
    log_likelihoods: NDArray[Any],
    n_tokens: NDArray[Any],
) -> Predictions:
    """Predictions in which the candidate is the whole text."""
    unconditional = np.full(log_likelihoods.size, np.nan)
    likelihoods = Likelihoods(log_likelihoods, n_tokens, log_likelihoods, n_tokens, unconditional)
    return Predictions(tuple(ids), starts, gold, tuple("abcdefgh"[i % 8] for i in range(n_tokens.size)), likelihoods)


def with_scores(scores: list[list[float]], gold: list[int]) -> Predictions:
    """Predictions with these mean scores and two tokens per text."""
    flat = np.array([value for row in scores for value in row])
    starts = np.cumsum([0, *map(len, scores)])
    ids = [str(number) for number in range(len(scores))]
    n_tokens = np.full(flat.size, 2)
    return whole_texts(ids, starts, gold=np.array(gold), log_likelihoods=2.0 * flat, n_tokens=n_tokens)
