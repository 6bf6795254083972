"""every_eval_ever: one JSON file with the results of an evaluated variant on a task.

Schema 0.3.0: `every_eval_ever/schemas/eval.schema.json` of https://github.com/evaleval/every_eval_ever, commit 9bce4136
of 2026-08-13. Files are at `data/<collection>/<developer>/<model>/<uuid>.json`. The id of the model is that of the base
model: settings are not part of it. The variant is in the model's name and details and in the id of the evaluation.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlprune.errors import BadInputError, unknown
from mlprune.hashing import digest
from mlprune.json_values import JsonValue

SCHEMA_VERSION = "0.3.0"
LIBRARY = "mlprune"
CONFIDENCE = 0.95
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")
_UNPORTABLE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_METHODS = {"wilson": "Wilson", "wilson_effective": "Wilson with the effective number of items", "bca": "BCa bootstrap"}
"""Interval -> its name outside this project; others keep theirs."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A variant, and the base model that it is made from."""

    variant_id: str
    label: str
    """Text that describes the variant; `dense` for the base model itself."""
    base_model: str
    """Name on a hub, or the name of a folder."""
    settings: Mapping[str, str]
    """Further columns of the variant as text, without those that are NULL."""

    @property
    def developer(self) -> str:
        """The organisation in the name of the base model; `unknown` if there is none."""
        organisation, slash, _ = self.base_model.rpartition("/")
        return organisation.rpartition("/")[2] if slash else "unknown"

    @property
    def name(self) -> str:
        """The name of the base model without its organisation."""
        return self.base_model.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class EvaluatedMetric:
    """One metric of one evaluation."""

    evaluation_id: str
    task: str
    language: str
    split: str
    metric: str
    value: float
    """A fraction, never percent; a perplexity is per token."""
    ci_low: float | None
    ci_high: float | None
    interval: str | None
    """Method of the 95 % interval."""
    standard_error: float | None
    n: int | None
    """Items."""
    n_clusters: int | None
    chance: float | None
    higher_is_better: bool
    settings: Mapping[str, str]
    """Further columns of the evaluation as text, without those that are NULL."""
    evaluated_at: str | None = None
    """ISO 8601, UTC; None if no run file says so."""
    dataset: str | None = None
    """Id of the data set on a hub; None if the items were read from files."""
    dataset_revision: str | None = None
    """Commit of the data set."""

    @property
    def result_id(self) -> str:
        """Id of this number: of the evaluation, and the metric."""
        return f"{self.evaluation_id}/{self.metric}"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What the results themselves do not say.

    Raises:
        BadInputError: the relationship is not one of the schema.
    """

    organisation: str
    """Who publishes the results."""
    library_version: str
    """Version of mlprune."""
    retrieved_at: int
    """When the files are written, seconds since 1970."""
    relationship: str = "third_party"
    """Of the evaluator to the developer of the model."""

    def __post_init__(self) -> None:
        if self.relationship not in RELATIONSHIPS:
            raise unknown("relationship", self.relationship, RELATIONSHIPS, error=BadInputError)


@dataclass(frozen=True, kw_only=True)
class SamplesFile:
    """The file with the single items of a log."""

    sha256: str
    n_rows: int


def log_uuid(model: EvaluatedModel, task: str, metrics: Sequence[EvaluatedMetric]) -> str:
    """Return the name of the files of a log: a UUID of version 4 made of the content. Equal results have equal names.

    Args:
        metrics: those of the log.
    """
    content = [model.variant_id, task, [[metric.result_id, metric.value] for metric in metrics]]
    return str(uuid.UUID(hex=digest(content)[:32].ljust(32, "0"), version=4))


def folder_of(model: EvaluatedModel, task: str) -> str:
    """Return the folder of the logs of a variant on a task."""
    return "/".join(("data", *map(_portable, (f"{LIBRARY}-{task}", model.developer, model.name))))


def evaluation_id(model: EvaluatedModel, task: str, submission: Submission) -> str:
    """Return the id of a log: task, base model, variant and time."""
    return "/".join((task, model.base_model, model.variant_id, str(submission.retrieved_at)))


def evaluation_log(
    model: EvaluatedModel,
    task: str,
    metrics: Sequence[EvaluatedMetric],
    *,
    submission: Submission,
    samples: SamplesFile | None = None,
) -> dict[str, JsonValue]:
    """Return the log of a variant on a task.

    Args:
        metrics: all of this variant and task, at least one.
        samples: None if single items are not published.
    """
    log: dict[str, JsonValue] = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": evaluation_id(model, task, submission),
        "retrieved_timestamp": str(submission.retrieved_at),
        "source_metadata": {
            "source_name": LIBRARY,
            "source_type": "evaluation_run",
            "source_organization_name": submission.organisation,
            "evaluator_relationship": submission.relationship,
        },
        "eval_library": {"name": LIBRARY, "version": submission.library_version},
        "model_info": _model_info(model),
        "evaluation_results": [_result(metric) for metric in metrics],
    }
    if samples is not None:
        name = log_uuid(model, task, metrics)
        log["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": f"{folder_of(model, task)}/{name}_samples.jsonl",
            "hash_algorithm": "sha256",
            "checksum": samples.sha256,
            "total_rows": samples.n_rows,
        }
    return log


def _model_info(model: EvaluatedModel) -> dict[str, JsonValue]:
    details = {"deployment_type": "self_deployed", "model_availability": "open_weights"}
    details |= {"variant_id": model.variant_id, "variant": model.label, **model.settings}
    name = model.base_model if model.label == "dense" else f"{model.base_model}, {model.label}"
    return {
        "name": name,
        "id": model.base_model,
        "developer": model.developer,
        "inference_engine": {"name": LIBRARY},
        "additional_details": details,
    }


def _result(metric: EvaluatedMetric) -> dict[str, JsonValue]:
    score: dict[str, JsonValue] = {"score": metric.value, "details": {"language": metric.language, **_counts(metric)}}
    if uncertainty := _uncertainty(metric):
        score["uncertainty"] = uncertainty
    result: dict[str, JsonValue] = {
        "evaluation_result_id": metric.result_id,
        "evaluation_name": f"{metric.task}.{metric.language}.{metric.split}",
        "source_data": _source(metric),
        "metric_config": _metric_config(metric),
        "score_details": score,
    }
    if metric.evaluated_at is not None:
        result["evaluation_timestamp"] = _seconds(metric.evaluated_at)
    if metric.settings:
        result["generation_config"] = {"generation_args": {}, "additional_details": dict(metric.settings)}
    return result


def _counts(metric: EvaluatedMetric) -> dict[str, str]:
    counts = {"n_clusters": metric.n_clusters, "chance": metric.chance}
    return {name: repr(value) for name, value in counts.items() if value is not None}


def _uncertainty(metric: EvaluatedMetric) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    if metric.standard_error is not None:
        found["standard_error"] = {"value": metric.standard_error, "method": "clusters of items are independent"}
    if metric.ci_low is not None and metric.ci_high is not None:
        interval: dict[str, JsonValue] = {"lower": metric.ci_low, "upper": metric.ci_high}
        interval["confidence_level"] = CONFIDENCE
        if metric.interval is not None:
            interval["method"] = _METHODS.get(metric.interval, metric.interval)
        found["confidence_interval"] = interval
    if metric.n is not None:
        found["num_samples"] = metric.n
    return found


def _source(metric: EvaluatedMetric) -> dict[str, JsonValue]:
    details = {"language": metric.language, "split": metric.split}
    if metric.dataset is None:
        return {"dataset_name": metric.task, "source_type": "other", "additional_details": details}
    if metric.dataset_revision is not None:
        details["revision"] = metric.dataset_revision
    source: dict[str, JsonValue] = {"dataset_name": metric.task, "source_type": "hf_dataset", "hf_repo": metric.dataset}
    return {**source, "hf_split": metric.split, "additional_details": details}


def _metric_config(metric: EvaluatedMetric) -> dict[str, JsonValue]:
    """Describe a metric: all are fractions but perplexity, which is at least 1."""
    is_perplexity = metric.metric == "perplexity"
    bounds: Mapping[str, JsonValue] = {
        "min_score": 1.0 if is_perplexity else 0.0,
        "max_score": "Infinity" if is_perplexity else 1.0,
    }
    return {
        "metric_id": metric.metric,
        "metric_name": metric.metric,
        "metric_kind": metric.metric.partition("_")[0],
        "metric_unit": "perplexity per token" if is_perplexity else "proportion",
        "lower_is_better": not metric.higher_is_better,
        "score_type": "continuous",
        **bounds,
    }


def _seconds(moment: str) -> str:
    return str(int(datetime.fromisoformat(moment).timestamp()))


def _portable(name: str) -> str:
    """Return a name that is a folder on every system."""
    return _UNPORTABLE.sub("_", name).rstrip(". ") or "unknown"
