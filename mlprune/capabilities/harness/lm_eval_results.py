"""Results and samples files of lm-evaluation-harness, as versions 0.3 to 0.4 write them.

A file has the results of several tasks of one model. Averages over groups of tasks are left out: they follow from the
members, which are in the same file.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np

from mlprune.capabilities.harness.task_requests import text_or_json
from mlprune.errors import BadInputError
from mlprune.evaluation.inference.estimates import MetricValue, Sample
from mlprune.evaluation.inference.methods import CreditInference
from mlprune.evaluation.task_metrics import METRICS
from mlprune.given_files import read_given
from mlprune.hashing import digest
from mlprune.json_values import JsonObject, JsonValue

NO_FILTER = "none"
MOST_RESULTS_MIB, MOST_SAMPLES_MIB = 32, 1024
"""Largest files that are read. As Python values, JSON can need 25 times its size."""
MOST_TASKS, MOST_METRICS = 10_000, 1_000
"""Most tasks of a results file, and most numbers of one."""
MOST_SAMPLES = 1_000_000
"""Most lines of a samples file."""
MOST_COUNTED = 2**31 - 1
"""Largest number of documents or shots: that of the columns of the catalog."""
MOST_DIGITS = 20
"""Characters of the longest integer of 64 bits."""
_STDERR = "_stderr"
_MODEL_KEYS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Keys of the model's arguments that name it, in the order in which the harness reads them."""
_PROVENANCE = (
    "lm_eval_version",
    "git_hash",
    "transformers_version",
    "date",
    "model_name",
    "model_source",
    "chat_template_sha",
    "system_instruction_sha",
)
"""Keys of a file whose values are kept as they are."""
_NOT_METRICS = ("alias", "samples", "sample_len", "sample_count", "name")
RELATIVE_TOLERANCE = 1e-9
"""Largest difference of a reported mean from that of the documents, relative to the values."""
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T[\d.-]+")


@dataclass(frozen=True)
class ReportedMetric:
    """One number of a task."""

    name: str
    filter: str
    """Filter that answers pass before; `none` without one."""
    value: float
    stderr: float | None
    higher_is_better: bool | None

    @property
    def key(self) -> str:
        """Name and filter as in the file."""
        return f"{self.name},{self.filter}"


@dataclass(frozen=True)
class ReportedTask:
    """The results of one task, and what the file says of how they were made."""

    name: str
    metrics: tuple[ReportedMetric, ...]
    model: str
    """Name or path of the model, as the harness was given it."""
    version: str | None
    """Version of the task."""
    n_shots: int | None
    n_documents: int | None
    """Evaluated documents."""
    limit: float | None
    """Documents, or a share of them, that were asked for; None for all."""
    harness_version: str | None
    evaluated_at: str | None
    """ISO 8601, UTC."""
    provenance: JsonObject
    """Everything else that the file says of the model, the task and the machine."""

    @property
    def content(self) -> str:
        """Hash of the results and their provenance, whatever the file is called and how it is indented."""
        return digest([self.name, self.provenance])


def read_results(path: Path) -> tuple[ReportedTask, ...]:
    """Read the tasks of a results file.

    Raises:
        BadInputError: the file cannot be read, or is not a results file of the harness.
    """
    try:
        content = parse_given_json(read_given(path, most_mib=MOST_RESULTS_MIB))
    except OSError as err:
        raise BadInputError("a results file cannot be read", path=str(path), reason=err.strerror or str(err)) from err
    except ValueError as err:
        raise _not_results(path, f"no JSON: {err}") from err
    if not isinstance(content, Mapping) or not isinstance(content.get("results"), Mapping):
        raise _not_results(path, "no key `results`")
    try:
        tasks = tuple(_tasks(content, path))
    except ValueError as err:
        raise _not_results(path, str(err)) from err
    if not tasks:
        raise _not_results(path, "no task with a number")
    return tasks


def _not_results(path: Path, got: str) -> BadInputError:
    expected = "results_*.json of lm-evaluation-harness (lm_eval --output_path)"
    return BadInputError("not a results file of lm-evaluation-harness", path=str(path), expected=expected, got=got)


def _tasks(content: JsonObject, path: Path) -> Iterator[ReportedTask]:
    groups = {name for name, members in _object(content, "group_subtasks").items() if members}
    results = _object(content, "results")
    if len(results) > MOST_TASKS:
        raise _not_results(path, f"{len(results):,} tasks, more than {MOST_TASKS:,}")
    for name, values in results.items():
        if not isinstance(values, Mapping):
            raise _not_results(path, f"results of {name} that are not a mapping")
        if len(values) > MOST_METRICS:
            raise _not_results(path, f"{len(values):,} results of {name}, more than {MOST_METRICS:,}")
        metrics = tuple(_metrics(values, _object(_object(content, "higher_is_better"), name)))
        if name not in groups and metrics:
            yield _task(content, name, metrics)


def _task(content: JsonObject, name: str, metrics: tuple[ReportedMetric, ...]) -> ReportedTask:
    config, own = _object(content, "config"), _object(_object(content, "configs"), name)
    results, sizes = _object(_object(content, "results"), name), _object(_object(content, "n-samples"), name)
    version = _object(content, "versions").get(name)
    shots = _object(content, "n-shot").get(name, own.get("num_fewshot", config.get("num_fewshot")))
    provenance: dict[str, JsonValue] = {key: content[key] for key in _PROVENANCE if key in content}
    provenance |= {"config": config, "task": own, "results": results}
    if (hashes := _object(content, "task_hashes")).get(name):
        provenance["task_hash"] = hashes[name]
    return ReportedTask(
        name,
        metrics,
        model=_model(content, config),
        version=None if version is None else str(version),
        n_shots=_count(shots, "n-shot"),
        n_documents=_count(sizes.get("effective", results.get("sample_len")), "n-samples"),
        limit=_number(config.get("limit")),
        harness_version=str(content["lm_eval_version"]) if content.get("lm_eval_version") else None,
        evaluated_at=_moment(content.get("date")),
        provenance=provenance,
    )


def _metrics(values: JsonObject, better: JsonObject) -> Iterator[ReportedMetric]:
    """Yield the numbers of a task; those that the harness could not compute are texts or not finite."""
    for key, value in values.items():
        name, _, filter_name = key.partition(",")
        number = _number(value)
        if number is None or name in _NOT_METRICS or name.endswith(_STDERR):
            continue
        error = _number(values.get(f"{name}{_STDERR},{filter_name}" if filter_name else f"{name}{_STDERR}"))
        higher = better.get(name)
        yield ReportedMetric(
            name, filter_name or NO_FILTER, number, error, higher if isinstance(higher, bool) else None
        )


def _model(content: JsonObject, config: JsonObject) -> str:
    arguments = config.get("model_args")
    if isinstance(arguments, str):
        arguments = dict(re.findall(r"(\w+)=([^,]*)", arguments))
    if isinstance(arguments, Mapping):
        for key in _MODEL_KEYS:
            if key in arguments:
                return str(arguments[key])
    return str(content.get("model_name") or config.get("model") or "unknown")


def _object(values: JsonObject, key: str) -> JsonObject:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _count(value: JsonValue, name: str) -> int | None:
    """Return a count; None for what is not an integer. A ValueError says that it is out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    if not 0 <= value <= MOST_COUNTED:
        raise ValueError(f"{name} is not a count from 0 to {MOST_COUNTED}: {value}")
    return value


def _moment(value: JsonValue) -> str | None:
    """Return a time in seconds since 1970 as ISO 8601; a ValueError says that it is out of bounds."""
    seconds = _number(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, OSError) as err:
        raise ValueError(f"date is not a time: {seconds}") from err


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
        sample = Sample(np.column_stack([credit, np.ones(len(credit))]), np.arange(len(credit)))
        (found,) = CreditInference().measure([METRICS["accuracy"]], sample)
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
        data = read_given(path, most_mib=MOST_SAMPLES_MIB)
    except OSError as err:
        raise BadInputError("a samples file cannot be read", path=str(path), reason=err.strerror or str(err)) from err
    return TaskSamples(tuple(_samples(path, data)), sha256(data).hexdigest())


def _samples(path: Path, data: bytes) -> Iterator[DocumentSample]:
    for number, line in enumerate(BytesIO(data), start=1):
        if number > MOST_SAMPLES:
            expected = f"at most {MOST_SAMPLES:,} lines"
            raise BadInputError("a samples file has too many lines", path=str(path), expected=expected, got="more")
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


def parse_given_json(text: str | bytes) -> JsonValue:
    """Parse JSON that another program or person wrote, so that every value of it fits the catalog.

    Numbers that are not finite become texts such as `NaN`.

    Raises:
        ValueError: it is not JSON or is nested too deeply, an integer has more than 64 bits, or a text contains half of
            a surrogate pair.
    """
    try:
        value: JsonValue = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=str)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as err:
        raise ValueError("the JSON is nested too deeply") from err
    except UnicodeEncodeError as err:
        raise ValueError("a text contains half of a surrogate pair, which is not a character") from err
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= MOST_DIGITS else None
    if value is None or not -(2**63) <= value < 2**63:
        raise ValueError(f"an integer has more than 64 bits: {text[:MOST_DIGITS]}")
    return value


def _finite(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text[:MOST_DIGITS]
