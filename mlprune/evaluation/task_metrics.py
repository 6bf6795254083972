"""Registry of metrics: the statistics of each example, and the value as a function of their sums.

Nothing here is random: inference resamples the sums. BLEU and chrF are those of sacreBLEU.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from mlprune.errors import BadInputError, ShapeError
from mlprune.evaluation.scoring.predictions import Predictions, matrix_of
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task
from mlprune.numeric.evaluation import metrics as numbers
from mlprune.numeric.evaluation import text_overlap
from mlprune.numeric.evaluation.metrics import Array, Quantity
from mlprune.vocabulary import METRIC_TRAITS

InferenceName = Literal["credit", "log_likelihood", "resampled", "calibration"]
"""Name of a method for intervals and tests."""


@dataclass(frozen=True)
class Metric:
    """A metric as a function of summed statistics."""

    name: str
    statistics: Callable[[Any], Array]
    """Predictions -> [n, k] float64."""
    value: Callable[[Array], Array]
    """[..., k] sums over examples -> [...] values."""
    inference: InferenceName = "resampled"
    """Method of its intervals and tests. `credit` reads (an example's credit, 1), `log_likelihood` reads (a text's
    log-likelihood, its scored tokens), the others read any statistics."""
    signature: str | None = None
    """sacreBLEU's description of how it computes the metric; None for other metrics."""

    def of(self, predictions: Any) -> float:
        """Return the value of the metric for predictions of the kind that it reads."""
        return float(self.value(self.statistics(predictions).sum(axis=0)))

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return METRIC_TRAITS[self.name].higher_is_better

    @property
    def best(self) -> float:
        """The best possible value."""
        return 0.0 if self.inference == "calibration" else 1.0


# Choices


def _credit(predictions: Predictions) -> Array:
    """[n] 1 where the prediction is right."""
    return np.asarray(numbers.highest(predictions.score_matrix) == predictions.gold, dtype=np.float64)


def _shared_credit(predictions: Predictions) -> Array:
    """[n] share of each example in a tie for the highest score."""
    return numbers.shared_credit(predictions.score_matrix, predictions.gold)


def _with_ones(values: Array) -> Array:
    """[n, k + 1]: values of shape [n] or [n, k], and ones, so that sums give a mean."""
    columns = values.reshape(len(values), -1)
    return np.concatenate([columns, np.ones((len(values), 1))], axis=1)


def _mean(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / sums[..., 1])


def _accuracy_statistics(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    return _with_ones(credit(predictions))


def _calibration_statistics(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    """[n, bins + 1]."""
    confidences = numbers.confidence(predictions.score_matrix)
    return _with_ones(numbers.calibration_cells(confidences, credit(predictions)))


def _calibration_of_sums(predictions: Predictions, *, credit: Callable[[Predictions], Array]) -> Array:
    """[n, bins + 1] with the probability of the chosen candidate, or the mean over those that share the credit."""
    probabilities = numbers.softmax(matrix_of(predictions.likelihoods.part, predictions.starts))
    scores = predictions.score_matrix
    if credit is _credit:
        confidences = probabilities[np.arange(len(scores)), numbers.highest(scores)]
    else:
        chosen = scores == np.nanmax(scores, axis=1, keepdims=True)
        confidences = np.where(chosen, probabilities, 0.0).sum(axis=1) / chosen.sum(axis=1)
    return _with_ones(numbers.calibration_cells(confidences, credit(predictions)))


def _calibration_error(sums: Array) -> Array:
    return numbers.calibration_error(sums[..., :-1], sums[..., -1])


def _confusion_statistics(predictions: Predictions) -> Array:
    """[n, labels ** 2]."""
    n_labels = predictions.score_matrix.shape[1]
    if (np.diff(predictions.starts) != n_labels).any():
        raise ShapeError("items differ in their number of labels", expected=n_labels, got="fewer")
    return numbers.confusion_cells(predictions.gold, numbers.highest(predictions.score_matrix), n_labels)


def _likelihood_statistics(predictions: Predictions) -> Array:
    """[n, 2]: log-likelihood and number of scored tokens of each text."""
    columns = (predictions.likelihoods.whole, predictions.likelihoods.n_whole.astype(np.float64))
    return np.stack([np.add.reduceat(column, predictions.starts[:-1]) for column in columns], axis=1)


def _perplexity(sums: Array) -> Array:
    return numbers.perplexity(sums[..., 0], sums[..., 1])


# Translations


def _exact_matches(predictions: Translations) -> Array:
    pairs = zip(predictions.outputs, predictions.references, strict=True)
    return _with_ones(np.array([output.strip() == reference.strip() for output, reference in pairs], dtype=np.float64))


def _overlap_statistics(predictions: Translations, *, make: Callable[[], BLEU | CHRF]) -> Array:
    """[n, k] n-gram counts of each sentence, which sacreBLEU computes for its own significance tests."""
    counts = make()._extract_corpus_statistics(list(predictions.outputs), [list(predictions.references)])
    return np.array(counts, dtype=np.float64)


def _overlap_value(sums: Array, *, make: Callable[[], BLEU | CHRF]) -> Array:
    """Return sacreBLEU's own value for one row of sums; for several rows, those of `text_overlap`, which is faster.

    sacreBLEU's value of equal texts, 100.00000000000004, is cut to 1.
    """
    metric = make()
    if sums.ndim == 1:
        score = metric._compute_score_from_stats(sums.astype(np.int64).tolist()).score / 100
        return np.asarray(min(score, text_overlap.LARGEST))
    return text_overlap.chrf(sums) if isinstance(metric, CHRF) else text_overlap.bleu(sums)


def _overlap_metric(name: str, make: Callable[[], BLEU | CHRF], *, target: str) -> Metric:
    statistics, value = partial(_overlap_statistics, make=make), partial(_overlap_value, make=make)
    return Metric(name, statistics, value, signature=signature(name, target))


def bleu_metric(target: str) -> Metric:
    """Corpus BLEU of `sacrebleu.corpus_bleu` as a fraction, with tokenizer zh for Chinese targets, else 13a."""
    return _overlap_metric("bleu", partial(BLEU, tokenize=_tokenizer_for(target)), target=target)


def signature(name: str, target: str) -> str:
    """sacreBLEU's signature of bleu or chrf for a target language."""
    metric = CHRF() if name == "chrf" else BLEU(tokenize=_tokenizer_for(target))
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature())


def _tokenizer_for(target: str) -> str:
    return "zh" if target.partition("-")[0] == "zh" else "13a"


def _label(name: str, *, quantity: Quantity, weighted: bool = False) -> Metric:
    return Metric(name, _confusion_statistics, partial(numbers.label_metric, quantity=quantity, weighted=weighted))


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("accuracy", partial(_accuracy_statistics, credit=_credit), _mean, "credit"),
    "f1_macro": _label("f1_macro", quantity="f1"),
    "f1_weighted": _label("f1_weighted", quantity="f1", weighted=True),
    "precision_macro": _label("precision_macro", quantity="precision"),
    "recall_macro": _label("recall_macro", quantity="recall"),
    "precision_weighted": _label("precision_weighted", quantity="precision", weighted=True),
    "recall_weighted": _label("recall_weighted", quantity="recall", weighted=True),
    "ece": Metric("ece", partial(_calibration_statistics, credit=_credit), _calibration_error, "calibration"),
    "ece_sum": Metric("ece_sum", partial(_calibration_of_sums, credit=_credit), _calibration_error, "calibration"),
    "perplexity": Metric("perplexity", _likelihood_statistics, _perplexity, "log_likelihood"),
    "exact_match": Metric("exact_match", _exact_matches, _mean, "credit"),
    "bleu": bleu_metric("en"),
    "chrf": _overlap_metric("chrf", CHRF, target="en"),
}
"""All metrics except perplexity are fractions; sacreBLEU's bleu and chrf are divided by 100.

The confidence of `ece` is the softmax of the candidates' scores. Under the rules `mean` and `candidate_mean` these are
mean log-probabilities per token, so it is not a probability of the candidate. `ece_sum` takes the softmax of the summed
log-probabilities of the candidate part, whatever the rule: the probability of the chosen candidate given the context,
if one of the candidates follows it.
"""

SHARED_TIES: Mapping[str, Callable[[Predictions], Array]] = {
    "accuracy": partial(_accuracy_statistics, credit=_shared_credit),
    "ece": partial(_calibration_statistics, credit=_shared_credit),
    "ece_sum": partial(_calibration_of_sums, credit=_shared_credit),
}
"""Statistics of metrics for tasks in which candidates of equal score share the credit."""


def task_metrics(task: str | Task, language: str, *, names: tuple[str, ...] = ()) -> tuple[Metric, ...]:
    """Return the metrics of a task in a language.

    Args:
        task: a task, or the name of one in `TASKS`.
        language: for translation the target language, which determines BLEU's tokenizer.
        names: metrics to return instead of those of the task.
    Raises:
        BadInputError: a metric does not exist, or cannot be computed for this task.
    """
    definition = TASKS[task] if isinstance(task, str) else task
    computable = tuple(name for name, traits in METRIC_TRAITS.items() if traits.reads == definition.reads)
    for name in names:
        if name not in computable:
            raise BadInputError("no such metric of this task", task=definition.name, expected=computable, got=name)
    return tuple(_metric(name, definition, language) for name in names or definition.metrics)


def _metric(name: str, task: Task, language: str) -> Metric:
    if name == "bleu":
        return bleu_metric(language)
    if name in SHARED_TIES and task.ties == "shared":
        return replace(METRICS[name], statistics=SHARED_TIES[name])
    return METRICS[name]
