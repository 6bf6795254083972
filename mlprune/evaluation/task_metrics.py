"""Registry of metrics: the statistics of each example, and the value as a function of their sums.

Nothing here is random: inference resamples the sums. BLEU and chrF are those of sacreBLEU.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from mlprune.errors import BadInputError
from mlprune.evaluation import languages
from mlprune.evaluation.languages import installed_detector
from mlprune.evaluation.scoring import choice_statistics as choices
from mlprune.evaluation.scoring.generated_answers import Answers
from mlprune.evaluation.scoring.predictions import Predictions
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.tasks.registry import TASKS
from mlprune.evaluation.tasks.task import Task
from mlprune.numeric.arrays import Array
from mlprune.numeric.evaluation import metrics as numbers
from mlprune.numeric.evaluation.metrics import Quantity
from mlprune.vocabulary import METRIC_TRAITS, Scale, computable_metrics, traits_of

DETECTOR = "@"
"""Between the name of a metric and the detector that it needs, or the range of scores from outside."""
FROM_OUTSIDE = "outside"
"""Column of predictions with the scores of outputs that another program gave, as shares of their range."""
_SCORE_RANGE = re.compile(r"scores from outside, (?P<worst>\S+) \(worst\) to (?P<best>\S+) \(best\)")
InferenceName = Literal["credit", "log_likelihood", "ratio", "resampled", "calibration"]
"""Name of a method for intervals and tests."""
PASS_RATES: Mapping[str, Callable[[Array], Array]] = {
    "line_pass_rate": languages.line_pass_rate,
    "word_pass_rate": languages.word_pass_rate,
    "judged_share": languages.judged_share,
}
"""Metrics of language confusion, whose names in ids end with that of the detector: `line_pass_rate@py3langid-0.4.0`."""
SHARED_TIES: Mapping[str, Callable[[Predictions], Array]] = {
    "accuracy": partial(choices.accuracy_statistics, credit=choices.divided_credit),
    "ece": partial(choices.calibration_statistics, credit=choices.divided_credit),
    "ece_sum": partial(choices.calibration_of_sums, credit=choices.divided_credit),
}
"""Statistics of metrics for tasks in which candidates of equal score share the credit."""


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
    log-likelihood, its scored tokens), `ratio` reads (a sum, its size), the others read any statistics."""
    signature: str | None = None
    """sacreBLEU's description of how it computes the metric, or the language detector; None for other metrics."""
    least: float = 0.0
    """Smallest possible value of a metric whose inference is `resampled`; the largest is 1."""

    def of(self, predictions: Any) -> float:
        """Return the value of the metric for predictions of the kind that it reads."""
        return float(self.value(self.statistics(predictions).sum(axis=0)))

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return traits_of(self.name).higher_is_better

    @property
    def is_tested(self) -> bool:
        """Whether every comparison tests its differences, or only what asks for the metric."""
        return traits_of(self.name).is_tested

    @property
    def scale(self) -> Scale:
        """Scale of its differences."""
        return traits_of(self.name).scale

    @property
    def best(self) -> float | None:
        """The best possible value; None if it is inside the range, or that of the dense model by definition."""
        if self.least < 0 or self.inference == "ratio":
            return None
        return 0.0 if self.inference == "calibration" else 1.0


def _exact_matches(predictions: Translations) -> Array:
    return choices.with_ones(np.array(predictions.matches, dtype=np.float64))


def _token_f1(predictions: Answers) -> Array:
    return choices.with_ones(np.array(predictions.token_f1, dtype=np.float64))


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
        return np.asarray(min(score, numbers.LARGEST))
    return numbers.chrf(sums) if isinstance(metric, CHRF) else numbers.bleu(sums)


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


def _passes(name: str, value: Callable[[Array], Array], *, target: str, detector: str) -> Metric:
    return Metric(name, languages.translation_passes(target, detector), value, signature=detector or None)


def outside_metric_id(name: str, *, worst: float, best: float) -> str:
    """Return the name in ids of a metric whose scores another program gives, with the range of these scores."""
    return f"{name}{DETECTOR}scores from outside, {worst:g} (worst) to {best:g} (best)"


def _outside_scores(predictions: Translations) -> Array:
    return choices.with_ones(predictions.measures[FROM_OUTSIDE])


def _measured(name: str) -> Metric:
    traits = METRIC_TRAITS[name]
    return Metric(
        name, partial(choices.measured_sums, measure=traits.measure, over=traits.over), choices.ratio, "ratio"
    )


def _label(name: str, *, quantity: Quantity, weighted: bool = False) -> Metric:
    return Metric(
        name, choices.confusion_statistics, partial(numbers.label_metric, quantity=quantity, weighted=weighted)
    )


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(
        "accuracy", partial(choices.accuracy_statistics, credit=choices.first_credit), choices.mean, "credit"
    ),
    "f1_macro": _label("f1_macro", quantity="f1"),
    "f1_weighted": _label("f1_weighted", quantity="f1", weighted=True),
    "precision_macro": _label("precision_macro", quantity="precision"),
    "recall_macro": _label("recall_macro", quantity="recall"),
    "precision_weighted": _label("precision_weighted", quantity="precision", weighted=True),
    "recall_weighted": _label("recall_weighted", quantity="recall", weighted=True),
    "ece": Metric(
        "ece",
        partial(choices.calibration_statistics, credit=choices.first_credit),
        choices.calibration_error,
        "calibration",
    ),
    "ece_sum": Metric(
        "ece_sum",
        partial(choices.calibration_of_sums, credit=choices.first_credit),
        choices.calibration_error,
        "calibration",
    ),
    "accuracy_ambiguous": Metric(
        "accuracy_ambiguous", partial(choices.context_accuracy, context="ambiguous"), choices.ratio
    ),
    "accuracy_disambiguated": Metric(
        "accuracy_disambiguated", partial(choices.context_accuracy, context="disambiguated"), choices.ratio
    ),
    "bias_ambiguous": Metric("bias_ambiguous", choices.ambiguous_bias, choices.ratio, least=-1.0),
    "bias_disambiguated": Metric(
        "bias_disambiguated", choices.disambiguated_bias, choices.difference_of_ratios, least=-1.0
    ),
    "perplexity": Metric("perplexity", choices.likelihood_statistics, choices.perplexity, "log_likelihood"),
    "exact_match": Metric("exact_match", _exact_matches, choices.mean, "credit"),
    "token_f1": Metric("token_f1", _token_f1, choices.mean, "credit"),
    "bleu": bleu_metric("en"),
    "chrf": _overlap_metric("chrf", CHRF, target="en"),
    **{name: _passes(name, value, target="en", detector="") for name, value in PASS_RATES.items()},
    **{name: _measured(name) for name, traits in METRIC_TRAITS.items() if traits.measure},
}
"""All metrics except perplexity and those in nats are fractions, or differences of fractions (bias); sacreBLEU's bleu
and chrf are divided by 100.

The confidence of `ece` is the softmax of the candidates' scores. Under the rules `mean` and `candidate_mean` these are
mean log-probabilities per token, so it is not a probability of the candidate. `ece_sum` takes the softmax of the summed
log-probabilities of the candidate part, whatever the rule: the probability of the chosen candidate given the context,
if one of the candidates follows it.
"""


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
    computable = computable_metrics(definition.name, definition.reads)
    for name in map(plain_name, (name for name in names if not is_from_outside(name))):
        if name not in computable:
            raise BadInputError("no such metric of this task", task=definition.name, expected=computable, got=name)
    return tuple(_metric(name, definition, language) for name in names or definition.metrics)


def is_from_outside(name: str) -> bool:
    """Return whether the name of a metric in ids is that of scores which another program gave."""
    return _SCORE_RANGE.fullmatch(name.partition(DETECTOR)[2]) is not None


def plain_name(name: str) -> str:
    """Return the name of a metric without its detector."""
    return name.partition(DETECTOR)[0]


def with_detectors(names: Sequence[str]) -> tuple[str, ...]:
    """Add the installed detector to the names of the metrics that need one.

    Raises:
        BadInputError: it is not installed.
    """
    return tuple(f"{name}{DETECTOR}{installed_detector()}" if name in PASS_RATES else name for name in names)


def _metric(name: str, task: Task, language: str) -> Metric:
    plain, _, detector = name.partition(DETECTOR)
    if is_from_outside(name):
        return Metric(plain, _outside_scores, choices.mean, signature=detector)
    if plain in PASS_RATES:
        if plain == "word_pass_rate" and not languages.has_word_rate(language):
            expected = "a language that is not written in Latin letters: select it with --language"
            raise BadInputError("no words differ from English", metric=plain, expected=expected, got=language)
        if detector:
            languages.check_language(language)
        return _passes(plain, PASS_RATES[plain], target=language, detector=detector)
    if name == "bleu":
        return bleu_metric(language)
    if name in SHARED_TIES and task.ties == "shared":
        return replace(METRICS[name], statistics=SHARED_TIES[name])
    return METRICS[name]
