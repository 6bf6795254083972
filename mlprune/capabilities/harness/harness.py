"""lm-evaluation-harness: run its tasks on variants of a store, or import results computed elsewhere.

A run writes one record per variant and task. The dense weights are loaded once. A variant is applied only if one of its
tasks has no record yet.

An import writes one record per task of a results file. Imported results have tables of their own, so that no query
takes them for results of this store. An id covers the results, the samples and the variant that they are attributed
to: importing a copy of a file again changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.capabilities.harness import task_requests
from mlprune.capabilities.harness.adapter import ChainModel
from mlprune.capabilities.harness.lm_eval_results import (
    ReportedMetric,
    ReportedTask,
    TaskSamples,
    read_results,
    read_samples,
    samples_file,
)
from mlprune.errors import BadInputError
from mlprune.evaluation.inference.estimates import interval_columns
from mlprune.hashing import canonical_json
from mlprune.json_values import JsonObject, JsonValue, Row
from mlprune.models.loading import load_tokenizer
from mlprune.steps.evaluate.model_evaluation import apply_variant
from mlprune.steps.job import ChainLoader, Identity, ModelRef, computed_parameters, make_identity
from mlprune.steps.variants.variant_rows import require_weights
from mlprune.store.records import Artefact, Record
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
IMPORT_KIND = "external_results"
TOOL = "lm-evaluation-harness"


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
    tasks: Sequence[task_requests.HarnessTask],
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
    requests = {task.name: task_requests.requests_sha256(task, limit=options.limit) for task in tasks}
    harness_model: ChainModel | None = None
    applied_id = ""
    for variant_id in variant_ids:
        message = "the variant has an intervention at run time, which the harness does not apply"
        require_weights(store.require("variants", variant_id), message)
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
        whole_texts=model.runs_whole_texts,
    )


def _identity(
    model: ModelRef, variant_id: str, task: task_requests.HarnessTask, *, requests: str, options: HarnessOptions
) -> Identity:
    parameters = {
        "task": task.name,
        "task_version": task.version,
        "config_sha256": task.config_sha256,
        "n_shots": task.n_shots,
        "limit": options.limit,
        **computed_parameters(model, batch_tokens=options.batch_tokens),
        "harness_version": task_requests.harness_version(),
    }
    return make_identity(KIND, parameters, parents={"variant": variant_id}, contents={"requests": requests})


def _evaluate(
    store: Store,
    harness_model: ChainModel,
    identity: Identity,
    *,
    variant_id: str,
    task: task_requests.HarnessTask,
    options: HarnessOptions,
) -> Record:
    """Run one task on the applied variant, and write its record."""
    run = task_requests.run_task(harness_model, task, limit=options.limit)
    artefacts = tuple(
        store.write_table(f"harness/{identity.id}/{name}.parquet", _columns(rows, schema), schema)
        for name, rows, schema in (
            ("documents", run.documents, task_requests.DOCUMENTS_SCHEMA),
            ("requests", run.requests, REQUESTS_SCHEMA),
        )
    )
    record = identity.record(artefacts=artefacts, rows=_rows(identity, variant_id, run))
    store.write_record(record)
    return record


def _columns(rows: Sequence[JsonObject], schema: Mapping[str, str]) -> dict[str, list[JsonValue]]:
    return {name: [row[name] for row in rows] for name in schema}


def _rows(identity: Identity, variant_id: str, run: task_requests.HarnessRun) -> dict[str, list[dict[str, JsonValue]]]:
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


@dataclass(frozen=True)
class ImportedTask:
    """One imported task."""

    record_id: str
    task: ReportedTask
    samples: TaskSamples | None
    existed: bool
    """Whether the store had it already."""


def results_files(paths: Sequence[Path]) -> list[Path]:
    """Return results files: those that are named, and `results_*.json` in folders that are named, at any depth.

    Raises:
        BadInputError: a path does not exist, or a folder has no such file.
    """
    found: list[Path] = []
    for path in paths:
        files = sorted(path.rglob("results_*.json")) if path.is_dir() else [path]
        if not files or not all(file.is_file() for file in files):
            expected = "results_*.json of lm-evaluation-harness, or a folder with some"
            raise BadInputError("no results were found here", path=str(path), expected=expected)
        found += files
    return list(dict.fromkeys(found))


def import_results(store: Store, paths: Sequence[Path], *, variant_id: str | None = None) -> Iterator[ImportedTask]:
    """Import the tasks of some results files. All files are read before the first record is written.

    Args:
        variant_id: variant of the store that the results are about; None if the store does not have it.
    Yields: each task when its record is written.
    Raises:
        BadInputError: a file cannot be read, is not one of the harness, or the samples are not those of the results.
    """
    read = [(path, task, _samples_of(path, task)) for path in results_files(paths) for task in read_results(path)]
    for path, task, samples in read:
        identity = _import_identity(task, samples, variant_id)
        record = store.read_record(*identity.key)
        existed = record is not None and store.is_complete(record)
        if not existed:
            _write(store, identity, task, samples, variant_id=variant_id, file=path.name)
        yield ImportedTask(identity.id, task, samples, existed)


def _samples_of(path: Path, task: ReportedTask) -> TaskSamples | None:
    found = samples_file(path, task.name)
    if found is None:
        return None
    samples = read_samples(found)
    if task.n_documents is not None and samples.n_documents != task.n_documents:
        message = "the samples are not those of the results"
        expected, got = f"{task.n_documents} documents", f"{samples.n_documents}"
        raise BadInputError(message, path=str(found), task=task.name, expected=expected, got=got)
    return samples


def _import_identity(task: ReportedTask, samples: TaskSamples | None, variant_id: str | None) -> Identity:
    contents = {"results": task.content, **({"samples": samples.sha256} if samples else {})}
    return make_identity(
        IMPORT_KIND, {"tool": TOOL, "task": task.name}, parents={"variant": variant_id}, contents=contents
    )


def _write(
    store: Store,
    identity: Identity,
    task: ReportedTask,
    samples: TaskSamples | None,
    *,
    variant_id: str | None,
    file: str,
) -> None:
    """Write the documents, then the record with the rows of the catalog."""
    artefacts: tuple[Artefact, ...] = ()
    if samples is not None:
        columns = _import_columns(samples)
        artefacts = (
            store.write_table(f"external/{identity.id}/documents.parquet", columns, task_requests.DOCUMENTS_SCHEMA),
        )
    rows = {
        "external_evaluations": [_evaluation_row(identity, task, samples, variant_id=variant_id, file=file)],
        "external_results": [_result_row(identity, metric, samples) for metric in task.metrics],
    }
    store.write_record(identity.record(artefacts=artefacts, rows=rows))


def _evaluation_row(
    identity: Identity, task: ReportedTask, samples: TaskSamples | None, *, variant_id: str | None, file: str
) -> Row:
    return {
        "external_id": identity.id,
        "variant_id": variant_id,
        "model": task.model,
        "tool": TOOL,
        "tool_version": task.harness_version,
        "task": task.name,
        "task_version": task.version,
        "n_shots": task.n_shots,
        "example_limit": task.limit,
        "n_documents": task.n_documents if task.n_documents is not None or samples is None else samples.n_documents,
        "has_samples": samples is not None,
        "evaluated_at": task.evaluated_at,
        "source_file": file,
        "content_sha256": task.content,
        "samples_sha256": samples.sha256 if samples else None,
        "provenance": task.provenance,
    }


def _result_row(identity: Identity, metric: ReportedMetric, samples: TaskSamples | None) -> Row:
    found = samples.value(metric) if samples else None
    interval = found.interval if found else None
    return {
        "external_id": identity.id,
        "metric": metric.name,
        "filter": metric.filter,
        "value": metric.value,
        "stderr": metric.stderr,
        **interval_columns("ci", interval),
        "interval": found.method if found and interval else None,
        "n": found.n if found else None,
        "higher_is_better": metric.higher_is_better,
    }


def _import_columns(samples: TaskSamples) -> Mapping[str, Sequence[JsonValue]]:
    rows = samples.documents
    return {
        "doc_id": [row.doc_id for row in rows],
        "filter": [row.filter for row in rows],
        "target": [row.target for row in rows],
        "document": [row.document for row in rows],
        "metrics": [canonical_json(row.metrics) for row in rows],
    }
