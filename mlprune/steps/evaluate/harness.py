"""Step `harness`: run tasks of lm-evaluation-harness on variants of a store, with one record per variant and task.

The dense weights are loaded once. A variant is applied only if one of its tasks has no record yet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import BadInputError
from mlprune.evaluation.harness.adapter import ChainModel
from mlprune.evaluation.harness.rows import DOCUMENTS_SCHEMA
from mlprune.evaluation.harness.task_requests import HarnessRun, HarnessTask, harness_version, requests_sha256, run_task
from mlprune.json_values import JsonObject, JsonValue
from mlprune.models.loading import load_tokenizer
from mlprune.steps.evaluate.jobs import apply_variant
from mlprune.steps.job import ChainLoader, Identity, ModelRef, computed_parameters, make_identity
from mlprune.store.records import Record
from mlprune.store.store import Store

KIND = "harness_evaluations"

REQUESTS_SCHEMA = {
    "doc_id": "int64",
    "request_index": "int32",
    "kind": "string",
    "context": "string",
    "continuation": "string",
    "log_likelihood": "double",
    "is_greedy": "bool",
    "output": "string",
}
"""Columns of the file with requests."""


@dataclass(frozen=True)
class HarnessOptions:
    """Options other than variants and tasks."""

    limit: int | None
    """Documents from the start of each task's split; None for all."""
    batch_tokens: int


@dataclass(frozen=True)
class Evaluated:
    """Result of one variant on one task."""

    variant_id: str
    task: str
    record: Record
    existed: bool
    """Whether the record existed before."""


def run_harness(
    store: Store,
    chain: ChainLoader,
    *,
    model: ModelRef,
    variant_ids: Sequence[str],
    tasks: Sequence[HarnessTask],
    options: HarnessOptions,
) -> Iterator[Evaluated]:
    """Run tasks on variants of one base model, except those with a complete record.

    Args:
        chain: loads the chain of the base model; called only if a task is run.
        model: the base model.
    Yields: each result as soon as its record is written, variant after variant.
    Raises:
        BadInputError: a variant has an intervention at run time, which this step does not apply.
        TaskFileError: the data or code of a task fails.
    """
    requests = {task.name: requests_sha256(task, limit=options.limit) for task in tasks}
    harness_model: ChainModel | None = None
    applied_id = ""
    for variant_id in variant_ids:
        _check_is_weights(store, variant_id)
        for task in tasks:
            identity = _identity(model, variant_id, task, requests=requests[task.name], options=options)
            record = store.read_record(*identity.key)
            existed = record is not None and store.is_complete(record)
            if record is None or not existed:
                if applied_id != variant_id:
                    apply_variant(chain(), store, variant_id)
                    applied_id = variant_id
                harness_model = harness_model or _harness_model(chain, model, options)
                record = _evaluate(store, harness_model, identity, variant_id=variant_id, task=task, options=options)
            yield Evaluated(variant_id, task.name, record, existed)


def _harness_model(chain: ChainLoader, model: ModelRef, options: HarnessOptions) -> ChainModel:
    tokenizer = load_tokenizer(Path(model.path))
    return ChainModel(
        chain(),
        tokenizer,
        max_positions=model.max_positions,
        batch_tokens=options.batch_tokens,
        device=model.device,
    )


def _identity(
    model: ModelRef, variant_id: str, task: HarnessTask, *, requests: str, options: HarnessOptions
) -> Identity:
    parameters = {
        "task": task.name,
        "task_version": task.version,
        "config_sha256": task.config_sha256,
        "n_shots": task.n_shots,
        "limit": options.limit,
        **computed_parameters(model, batch_tokens=options.batch_tokens),
        "harness_version": harness_version(),
    }
    return make_identity(KIND, parameters, parents={"variant": variant_id}, contents={"requests": requests})


def _evaluate(
    store: Store,
    harness_model: ChainModel,
    identity: Identity,
    *,
    variant_id: str,
    task: HarnessTask,
    options: HarnessOptions,
) -> Record:
    """Run one task on the applied variant, and write its record."""
    run = run_task(harness_model, task, limit=options.limit)
    artefacts = tuple(
        store.write_table(f"harness/{identity.id}/{name}.parquet", _columns(rows, schema), schema)
        for name, rows, schema in (
            ("documents", run.documents, DOCUMENTS_SCHEMA),
            ("requests", run.requests, REQUESTS_SCHEMA),
        )
    )
    record = identity.record(artefacts=artefacts, rows=_rows(identity, variant_id, run))
    store.write_record(record)
    return record


def _columns(rows: Sequence[JsonObject], schema: Mapping[str, str]) -> dict[str, list[JsonValue]]:
    return {name: [row[name] for row in rows] for name in schema}


def _rows(identity: Identity, variant_id: str, run: HarnessRun) -> dict[str, list[dict[str, JsonValue]]]:
    """Table -> rows of one evaluation."""
    names = ("task", "task_version", "config_sha256", "n_shots", "harness_version", "dtype")
    row: dict[str, JsonValue] = {
        "harness_id": identity.id,
        "variant_id": variant_id,
        **{name: identity.parameters[name] for name in names},
        "example_limit": identity.parameters["limit"],
        "n_documents": run.n_documents,
        "n_requests": len(run.requests),
    }
    results: list[dict[str, JsonValue]] = [
        {
            "harness_id": identity.id,
            "variant_id": variant_id,
            "task": row["task"],
            "metric": result.metric,
            "filter": result.filter,
            "value": result.value,
            "stderr": result.stderr,
            "higher_is_better": result.higher_is_better,
        }
        for result in run.results
    ]
    return {KIND: [row], "harness_results": results}


def _check_is_weights(store: Store, variant_id: str) -> None:
    intervention = store.require("variants", variant_id).rows["variants"][0]["intervention"]
    if intervention:
        message = "the variant has an intervention at run time, which the harness does not apply"
        raise BadInputError(message, variant_id=variant_id, got=intervention)
