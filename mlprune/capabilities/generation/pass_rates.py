"""Pass rates of generated texts: whether they are in the language that their prompt names.

No model runs for them. They are those of translations (`mlprune.evaluation.languages`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mlprune.capabilities.generation.generation import generated_texts
from mlprune.errors import BadInputError
from mlprune.evaluation.inference.estimates import MetricValue, interval_columns
from mlprune.evaluation.inference.methods import measure
from mlprune.evaluation.languages import has_word_rate
from mlprune.evaluation.scoring.translation import Translations
from mlprune.evaluation.task_metrics import PASS_RATES, Metric, task_metrics, with_detectors
from mlprune.json_values import JsonValue
from mlprune.languages import language_tag
from mlprune.steps.job import Identity, make_identity
from mlprune.store.records import Record
from mlprune.store.store import Store


@dataclass(frozen=True)
class RatedTexts:
    """Result of rating generated texts."""

    record_ids: tuple[str, ...]
    """Ids of the records, including those that already existed."""
    n_new: int
    """Number of records written."""


def rate_generated_texts(store: Store, metrics: Sequence[str], *, language: str | None = None) -> RatedTexts:
    """Compute pass rates of stored generated texts, and record them.

    Args:
        metrics: names in `PASS_RATES`; empty for all that a language has.
        language: only texts of this language.
    Raises:
        BadInputError: a metric is not a pass rate or does not exist for a language, no texts are selected, or the
            language detector is not installed or does not know the language.
    """
    for name in metrics:
        if name not in PASS_RATES:
            raise BadInputError("not a metric of generated texts", expected=tuple(PASS_RATES), got=name)
    tag = None if language is None else language_tag(language)
    selected = [record for record in store.records("generated_texts") if tag in (None, _language(record))]
    if not selected:
        expected = "a set of kind generated in the recipe"
        raise BadInputError("no generated texts are stored", language=language, expected=expected, got=0)
    planned = [(record, _names(metrics, _language(record))) for record in selected]
    rated = [
        (record, _identity(record, names), task_metrics("translation", _language(record), names=names))
        for record, names in planned
    ]
    n_new = sum(_rate(store, record, identity, metrics=chosen) for record, identity, chosen in rated)
    return RatedTexts(tuple(sorted(identity.id for _, identity, _ in rated)), n_new)


def _language(record: Record) -> str:
    return str(record.rows["generated_texts"][0]["language"])


def _names(metrics: Sequence[str], language: str) -> tuple[str, ...]:
    """Return the metrics to compute, with their detectors."""
    every = (name for name in PASS_RATES if name != "word_pass_rate" or has_word_rate(language))
    return with_detectors(tuple(metrics) or tuple(every))


def _identity(record: Record, names: Sequence[str]) -> Identity:
    return make_identity("text_pass_rates", {"metrics": list(names)}, parents={"generated_texts": record.id})


def _rate(store: Store, record: Record, identity: Identity, *, metrics: Sequence[Metric]) -> bool:
    """Write one record unless it exists; return whether it was written."""
    if store.has_record(*identity.key):
        return False
    texts = generated_texts(store, record.id)
    numbers = tuple(map(str, range(len(texts))))
    values = measure(metrics, Translations(numbers, texts, ("",) * len(texts)))
    rows = [_row(record, identity, metric=metric, value=values[metric.name]) for metric in metrics]
    store.write_record(identity.record(rows={"text_pass_rates": rows}))
    return True


def _row(record: Record, identity: Identity, *, metric: Metric, value: MetricValue) -> dict[str, JsonValue]:
    source = record.rows["generated_texts"][0]
    return {
        "text_pass_rates_id": identity.id,
        "generated_texts_id": record.id,
        "base_model_id": source["base_model_id"],
        "language": source["language"],
        "metric": metric.name,
        "value": value.value,
        **interval_columns("ci", value.interval),
        "interval": value.method,
        "n": value.n,
        "detector": metric.signature,
    }
