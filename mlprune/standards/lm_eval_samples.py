"""Samples files of lm-evaluation-harness: `samples_<task>_<time>.jsonl`, one line per document and filter."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlprune.errors import BadInputError
from mlprune.evaluation.harness.rows import text_or_json
from mlprune.evaluation.inference.credit import CreditInference
from mlprune.evaluation.inference.estimates import MetricValue
from mlprune.evaluation.inference.samples import Sample
from mlprune.evaluation.task_metrics import METRICS
from mlprune.given_files import read_given
from mlprune.json_values import JsonObject, JsonValue, parse_given_json
from mlprune.standards.lm_eval_results import MOST_MIB, NO_FILTER, ReportedMetric

RELATIVE_TOLERANCE = 1e-9
"""Largest difference of a reported mean from that of the documents, relative to the values."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d.-]+")


@dataclass(frozen=True)
class DocumentSample:
    """A document after one filter."""

    doc_id: int
    filter: str
    target: str
    document: str
    """As JSON."""
    metrics: Mapping[str, JsonValue]


@dataclass(frozen=True)
class TaskSamples:
    """The documents of one task."""

    documents: tuple[DocumentSample, ...]
    sha256: str
    """Of the file."""

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len({sample.doc_id for sample in self.documents})

    def value(self, metric: ReportedMetric) -> MetricValue | None:
        """Return a reported mean with its interval.

        Returns: None if the metric is not the mean over the documents of a number in [0, 1]: perplexity and BLEU, for
            example, are computed from sums.
        """
        values = [sample.metrics.get(metric.name) for sample in self.documents if sample.filter == metric.filter]
        numbers = [float(value) for value in values if isinstance(value, bool | int | float)]
        if not numbers or len(numbers) < len(values):
            return None
        credit = np.array(numbers, dtype=np.float64)
        is_mean = abs(float(credit.mean()) - metric.value) <= RELATIVE_TOLERANCE * max(1.0, abs(metric.value))
        if not is_mean or credit.min() < 0 or credit.max() > 1:
            return None
        (found,) = CreditInference().measure([METRICS["accuracy"]], Sample(_with_ones(credit), np.arange(len(credit))))
        return found


def samples_file(results: Path, task: str) -> Path | None:
    """Return the samples of a task that the harness wrote together with a results file; None if there are none."""
    time = _TIME.search(results.stem)
    if time is None:
        return None
    found = results.parent / f"samples_{task}_{time.group()}.jsonl"
    return found if found.is_file() else None


def read_samples(path: Path) -> TaskSamples:
    """Read a samples file.

    Raises:
        BadInputError: it cannot be read, or a line is not a sample of the harness.
    """
    try:
        data = read_given(path, most_mib=MOST_MIB)
    except OSError as err:
        raise BadInputError("a samples file cannot be read", path=str(path), reason=err.strerror or str(err)) from err
    return TaskSamples(tuple(_samples(path, data)), sha256(data).hexdigest())


def _samples(path: Path, data: bytes) -> Iterator[DocumentSample]:
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row, reason = parse_given_json(line), "no doc_id"
        except ValueError as err:
            row, reason = None, str(err)
        if not isinstance(row, Mapping) or type(row.get("doc_id")) is not int:
            expected = "a JSON object with doc_id, as lm_eval --log_samples writes it"
            context = {"path": str(path), "line": number, "expected": expected, "reason": reason}
            raise BadInputError("not a sample of lm-evaluation-harness", context)
        yield _sample(row)


def _sample(row: JsonObject) -> DocumentSample:
    names = row.get("metrics")
    if isinstance(names, list):
        known = [name for name in names if isinstance(name, str)]
    else:  # versions before 0.4.3 list no names
        known = [name for name, value in row.items() if name != "doc_id" and isinstance(value, int | float)]
    return DocumentSample(
        doc_id=int(str(row["doc_id"])),
        filter=str(row.get("filter", NO_FILTER)),
        target=text_or_json(row.get("target")),
        document=json.dumps(row.get("doc"), sort_keys=True, ensure_ascii=False),
        metrics={name: row.get(name) for name in known},
    )


def _with_ones(credit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([credit, np.ones(len(credit))])
