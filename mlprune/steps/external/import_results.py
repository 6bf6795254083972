"""Import results of lm-evaluation-harness that were computed elsewhere: one record per task of a results file.

They have tables of their own, so that no query takes them for results of this store. An id covers the results, the
samples and the variant that they are attributed to: importing a copy of a file again changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlprune.errors import BadInputError
from mlprune.evaluation.harness.rows import DOCUMENTS_SCHEMA
from mlprune.hashing import canonical_json
from mlprune.json_values import JsonValue
from mlprune.standards.lm_eval_results import ReportedMetric, ReportedTask, read_results
from mlprune.standards.lm_eval_samples import TaskSamples, read_samples, samples_file
from mlprune.steps.job import Identity, make_identity
from mlprune.store.records import Artefact
from mlprune.store.store import Store

KIND = "external_results"
TOOL = "lm-evaluation-harness"

Row = dict[str, JsonValue]


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
            raise BadInputError("there are no results here", path=str(path), expected=expected)
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
        identity = _identity(task, samples, variant_id)
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


def _identity(task: ReportedTask, samples: TaskSamples | None, variant_id: str | None) -> Identity:
    contents = {"results": task.content, **({"samples": samples.sha256} if samples else {})}
    return make_identity(KIND, {"tool": TOOL, "task": task.name}, parents={"variant": variant_id}, contents=contents)


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
        columns = _columns(samples)
        artefacts = (store.write_table(f"external/{identity.id}/documents.parquet", columns, DOCUMENTS_SCHEMA),)
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
        "ci_low": interval.low if interval else None,
        "ci_high": interval.high if interval else None,
        "interval": found.method if found and interval else None,
        "n": found.n if found else None,
        "higher_is_better": metric.higher_is_better,
    }


def _columns(samples: TaskSamples) -> Mapping[str, Sequence[JsonValue]]:
    rows = samples.documents
    return {
        "doc_id": [row.doc_id for row in rows],
        "filter": [row.filter for row in rows],
        "target": [row.target for row in rows],
        "document": [row.document for row in rows],
        "metrics": [canonical_json(row.metrics) for row in rows],
    }
