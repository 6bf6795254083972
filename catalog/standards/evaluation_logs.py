"""Files of every_eval_ever: one log per variant and task, and its items."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from catalog.standards.evaluated import EvaluatedVariant
from catalog.standards.request import Request, ResultsExport
from catalog.standards.samples import SampleReader
from catalog.store import Catalog
from mlprune.standards.evaluated import EvaluatedMetric
from mlprune.standards.every_eval_ever import SamplesFile, evaluation_id, evaluation_log, folder_of, log_uuid


def write_evaluation_logs(
    catalog: Catalog, variants: Sequence[EvaluatedVariant], folder: Path, request: Request
) -> ResultsExport:
    """Write one log per variant and task, and its items."""
    done, reader = ResultsExport(), SampleReader(catalog) if request.with_samples else None
    for variant in variants:
        done.leave_out("results without a finite value", len(variant.rows) - len(variant.metrics))
        for task, metrics in variant.tasks.items():
            target = folder / folder_of(variant.model, task)
            target.mkdir(parents=True, exist_ok=True)
            name = log_uuid(variant.model, task, metrics)
            samples = None
            if reader is not None:
                log_id = evaluation_id(variant.model, task, request.submission)
                samples = _write_samples(reader, variant, metrics, path=target / f"{name}_samples.jsonl", log_id=log_id)
            log = evaluation_log(variant.model, task, metrics, submission=request.submission, samples=samples)
            text = json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (target / f"{name}.json").write_text(text, encoding="utf-8")
            done.n_files += 1 + (samples is not None)
            done.n_results += len(metrics)
            done.n_samples += samples.n_rows if samples else 0
    return done


def _write_samples(
    reader: SampleReader, variant: EvaluatedVariant, metrics: Sequence[EvaluatedMetric], *, path: Path, log_id: str
) -> SamplesFile | None:
    """Write the items of a log; None if no metric has any."""
    total, n_rows = sha256(), 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for metric in metrics:
            for line in reader.lines(variant, metric, log_id=log_id):
                out.write(line)
                total.update(line.encode())
                n_rows += 1
    if not n_rows:
        path.unlink()
        return None
    return SamplesFile(sha256=total.hexdigest(), n_rows=n_rows)
