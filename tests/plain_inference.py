"""Tests over clusters as plain loops over all sign vectors, and small predictions for them."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from mlprune.evaluation.scoring.predictions import Predictions
from tests.example_predictions import with_scores


def plain_p_value(n_clusters: int, difference: Callable[[Sequence[int]], float]) -> float:
    """Mid-p-value over all exchanges: `difference` returns the difference after the exchange of clusters of sign -1."""
    observed = abs(difference([1] * n_clusters))
    if observed < 1e-12:
        return 1.0
    others = [abs(difference(signs)) for signs in product((1, -1), repeat=n_clusters)]
    larger = sum(other > observed + 1e-9 for other in others)
    equal = sum(abs(other - observed) <= 1e-9 for other in others)
    return (0.5 + larger + 0.5 * equal) / len(others)


def answers(right: Sequence[float], clusters: Sequence[str] = (), *, ids: Sequence[str] = ()) -> Predictions:
    """Choices between two candidates, of which the first is right; a credit of 0.5 is a tie."""
    scores = {1.0: [-1.0, -2.0], 0.0: [-2.0, -1.0], 0.5: [-1.0, -1.0]}
    predictions = with_scores([scores[float(value)] for value in right], [0] * len(right))
    names = tuple(ids) or predictions.example_ids
    return Predictions(
        names,
        predictions.starts,
        predictions.gold,
        predictions.candidates,
        predictions.likelihoods,
        clusters=tuple(clusters) or names,
    )


def texts(log_likelihoods: Sequence[float], n_tokens: Sequence[int], clusters: Sequence[str] = ()) -> Predictions:
    """Texts of a perplexity task."""
    predictions = with_scores([[0.0]] * len(n_tokens), [0] * len(n_tokens))
    likelihoods = predictions.likelihoods
    whole, tokens = np.asarray(log_likelihoods, dtype=np.float64), np.asarray(n_tokens, dtype=np.int64)
    return Predictions(
        predictions.example_ids,
        predictions.starts,
        predictions.gold,
        predictions.candidates,
        type(likelihoods)(whole, tokens, whole, tokens, likelihoods.alone),
        clusters=tuple(clusters),
    )
