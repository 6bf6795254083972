"""Statistics of predictions of choices, whose sums give their metrics."""

from collections.abc import Callable

import numpy as np

from mlprune.errors import ShapeError
from mlprune.evaluation.scoring.predictions import Predictions, matrix_of
from mlprune.numeric.evaluation import metrics as numbers
from mlprune.numeric.evaluation.metrics import Array


def first_credit(predictions: Predictions) -> Array:
    """[n] 1 where the prediction is right."""
    return np.asarray(numbers.highest(predictions.score_matrix) == predictions.gold, dtype=np.float64)


def divided_credit(predictions: Predictions) -> Array:
    """[n] share of each example in a tie for the highest score."""
    return numbers.shared_credit(predictions.score_matrix, predictions.gold)


def with_ones(values: Array) -> Array:
    """[n, k + 1]: values of shape [n] or [n, k], and ones, so that sums give a mean."""
    columns = values.reshape(len(values), -1)
    return np.concatenate([columns, np.ones((len(values), 1))], axis=1)


def mean(sums: Array) -> Array:
    """[...] from [..., 2] sums of values and ones: their mean."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def accuracy_statistics(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    """[n, 2]: credit, and 1."""
    return with_ones(credit(predictions))


def calibration_statistics(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    """[n, bins + 1] cells with the softmax of the scores as confidence, and 1."""
    confidences = numbers.confidence(predictions.score_matrix)
    return with_ones(numbers.calibration_cells(confidences, credit(predictions)))


def calibration_of_sums(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    """[n, bins + 1] with the probability of the chosen candidate, or the mean over those that share the credit."""
    probabilities = numbers.softmax(matrix_of(predictions.likelihoods.part, predictions.starts))
    scores = predictions.score_matrix
    if credit is first_credit:
        confidences = probabilities[np.arange(len(scores)), numbers.highest(scores)]
    else:
        chosen = scores == np.nanmax(scores, axis=1, keepdims=True)
        confidences = np.where(chosen, probabilities, 0.0).sum(axis=1) / chosen.sum(axis=1)
    return with_ones(numbers.calibration_cells(confidences, credit(predictions)))


def calibration_error(sums: Array) -> Array:
    """[...] from [..., bins + 1] sums of `calibration_statistics` or `calibration_of_sums`."""
    return numbers.calibration_error(sums[..., :-1], sums[..., -1])


def confusion_statistics(predictions: Predictions) -> Array:
    """[n, labels ** 2] cells of the confusion matrix.

    Raises:
        ShapeError: items differ in their number of labels.
    """
    n_labels = predictions.score_matrix.shape[1]
    if (np.diff(predictions.starts) != n_labels).any():
        raise ShapeError("items differ in their number of labels", expected=n_labels, got="fewer")
    return numbers.confusion_cells(predictions.gold, numbers.highest(predictions.score_matrix), n_labels)


def likelihood_statistics(predictions: Predictions) -> Array:
    """[n, 2]: log-likelihood and number of scored tokens of each text."""
    columns = (predictions.likelihoods.whole, predictions.likelihoods.n_whole.astype(np.float64))
    return np.stack([np.add.reduceat(column, predictions.starts[:-1]) for column in columns], axis=1)


def perplexity(sums: Array) -> Array:
    """[...] from [..., 2] sums of `likelihood_statistics`."""
    return numbers.perplexity(sums[..., 0], sums[..., 1])
