"""Tasks of lm-evaluation-harness: find, load and run them, and their rows as plain values.

Data come from local files if the YAML of a task says so, otherwise from a hub. Python code of a task runs if it belongs
to the installed harness or is in a folder that the user names; no code comes from a hub. Tasks that execute the output
of a model are refused.
"""

import json
import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from mlprune.errors import MlpruneError, TaskFileError, unknown
from mlprune.hashing import digest
from mlprune.json_values import JsonObject, JsonValue

logger = logging.getLogger(__name__)
DOCUMENTS_SCHEMA = {
    "doc_id": "int64",
    "filter": "string",
    "target": "string",
    "document": "string",
    "metrics": "string",
}
"""Columns of a file with documents; document and metrics are JSON."""
SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}
"""The harness's own defaults."""
BOOTSTRAP = 1000
"""Number of resamples for standard errors that have no formula."""
DATA_LOCATION_KEYS = ("dataset_path", "dataset_name", "dataset_kwargs", "task_alias", "tag")
"""Keys of a task's YAML with the location of its data. They are not part of its identity, but its requests are."""
INTERNAL = ("name", "alias", "sample_len")
"""Keys of the harness's results that are not metrics."""


def document_row(sample: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Row of one document after one filter, with its metrics."""
    return {
        "doc_id": int(sample["doc_id"]),
        "filter": str(sample["filter"]),
        "target": text_or_json(sample["target"]),
        "document": text_or_json(plain_value(sample["doc"])),
        "metrics": text_or_json(plain_value({name: sample[name] for name in sample["metrics"]})),
    }


def request_row(request: Any) -> dict[str, JsonValue]:
    """Row of one request with its first answer: a number and a flag, a number, or a text."""
    answer = request.resps[0]
    is_pair, is_text = isinstance(answer, tuple), isinstance(answer, str)
    return {
        "doc_id": int(request.doc_id),
        "request_index": int(request.idx),
        "kind": str(request.request_type),
        "context": str(request.args[0]),
        "continuation": text_or_json(plain_value(request.args[1])) if len(request.args) > 1 else None,
        "log_likelihood": None if is_text else float(answer[0] if is_pair else answer),
        "is_greedy": bool(answer[1]) if is_pair else None,
        "output": answer if is_text else None,
    }


def text_or_json(value: object) -> str:
    """Return a text unchanged, and any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def plain_value(value: object) -> Any:
    """Convert a value to JSON types; values without a JSON type become text."""
    return json.loads(json.dumps(value, default=_unknown, sort_keys=True), parse_constant=str)


def _unknown(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else value.tolist()
    return getattr(value, "__name__", None) or str(value)


@dataclass(frozen=True)
class HarnessTask:
    """A loaded task."""

    name: str
    version: str
    config_sha256: str
    """Hash of its YAML as resolved by the harness, including code, without the location of its data."""
    n_shots: int
    task: Any
    """The object of the harness."""


@dataclass(frozen=True)
class HarnessResult:
    """One metric of a task."""

    metric: str
    filter: str
    """Filter of the task that is applied to the answers first; `none` for no filter."""
    value: float
    stderr: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class HarnessRun:
    """Results of a model on a task."""

    results: tuple[HarnessResult, ...]
    documents: tuple[JsonObject, ...]
    """One row per document and filter: doc_id, filter, target, document and metrics, the last two as JSON."""
    requests: tuple[JsonObject, ...]
    """One row per request: doc_id, request_index, kind, context, continuation, log_likelihood, is_greedy, output."""
    n_documents: int


def harness_version() -> str:
    """Version of the installed harness."""
    return version("lm_eval")


def load_tasks(
    names: Sequence[str], *, include_path: Path | None = None, num_fewshot: int | None = None
) -> list[HarnessTask]:
    """Load tasks; groups and tags are replaced by their members.

    Args:
        names: names of tasks, groups or tags.
        include_path: folder of the user's task files, which take precedence over those of the harness.
        num_fewshot: number of shots for tasks that do not fix it at 0; None for the number of each task.
    Raises:
        TaskFileError: there is no such task, or it or its data cannot be loaded.
    """
    manager = _manager(names, include_path)
    loaded: dict[str, Any] = {}
    for name in names:
        with _quietly():
            try:
                loaded |= manager.load([name])["tasks"]
            except Exception as err:  # the YAML, code and data of a task can raise anything
                raise TaskFileError("a task cannot be loaded", task=name, reason=_first_line(err)) from err
    return [_prepared(name, task, num_fewshot) for name, task in loaded.items()]


def requests_sha256(task: HarnessTask, *, limit: int | None) -> str:
    """SHA-256 of all requests of a task, in order, and of their documents.

    Raises:
        TaskFileError: the data do not fit the task.
    """
    requests = _built(task, limit=limit)
    return digest(
        [[each.doc_id, each.idx, each.request_type, plain_value(each.args), plain_value(each.doc)] for each in requests]
    )


def run_task(model: LM, task: HarnessTask, *, limit: int | None) -> HarnessRun:
    """Answer all requests of a task with a model; the harness computes the metrics.

    Args:
        limit: number of documents from the start of the split; None for all.
    Raises:
        TaskFileError: the data or code of the task fails.
    """
    _reseed(task)
    with _quietly(), _seeded():
        try:
            evaluated = evaluate(model, {"tasks": {task.name: task.task}}, limit=limit, bootstrap_iters=BOOTSTRAP)
        except MlpruneError:
            raise
        except Exception as err:  # as in load_tasks
            raise TaskFileError("a task fails", task=task.name, reason=_first_line(err)) from err
    samples = evaluated["samples"][task.name]
    return HarnessRun(
        results=tuple(_results(evaluated["results"][task.name], evaluated["higher_is_better"].get(task.name) or {})),
        documents=tuple(document_row(sample) for sample in samples),
        requests=tuple(request_row(request) for request in task.task.instances),
        n_documents=len({sample["doc_id"] for sample in samples}),
    )


def _manager(names: Sequence[str], include_path: Path | None) -> TaskManager:
    """Index all named tasks. The thousands of files of the harness are only read if one of its tasks is named."""
    with _quietly():
        if include_path is not None:
            of_user = TaskManager(include_path=str(include_path), include_defaults=False)
            if set(names) <= set(of_user.all_tasks):
                return of_user
        manager = TaskManager(include_path=None if include_path is None else str(include_path))
    for name in names:
        if name not in manager.all_tasks:
            raise unknown("task of the evaluation harness", name, manager.all_tasks, error=TaskFileError, n_nearest=3)
    return manager


def _prepared(name: str, task: Any, num_fewshot: int | None) -> HarnessTask:
    """Set the number of shots of a task by the rule of the harness."""
    configured = task.get_config("num_fewshot")
    if num_fewshot is not None and configured != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif configured is None:
        task.set_config(key="num_fewshot", value=0)
    config = {key: plain_value(value) for key, value in task.dump_config().items() if key not in DATA_LOCATION_KEYS}
    config.get("metadata", {}).pop("config_source", None)
    return HarnessTask(name, str(task.VERSION), digest(config), int(task.get_config("num_fewshot")), task)


def _built(task: HarnessTask, *, limit: int | None) -> list[Any]:
    _reseed(task)
    with _quietly(), _seeded():
        try:
            task.task.build_all_requests(limit=limit)
        except Exception as err:  # as in load_tasks
            raise TaskFileError("a task's requests cannot be built", task=task.name, reason=_first_line(err)) from err
    return list(task.task.instances)


def _reseed(task: HarnessTask) -> None:
    """Reset the seed of the shots, so that requests are always built with the same shots."""
    task.task.set_fewshot_seed(seed=SEEDS["fewshot"])


@contextmanager
def _seeded() -> Iterator[None]:
    """Set the harness's seeds for code of tasks that draws random numbers, and restore the previous states."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(SEEDS["random"])
    np.random.seed(SEEDS["numpy"])
    torch.manual_seed(SEEDS["torch"])
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@contextmanager
def _quietly() -> Iterator[None]:
    """Send stdout to stderr, and compute standard errors in this process, since forking is unsafe with threads."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before


def _results(values: Mapping[str, object], higher_is_better: Mapping[str, bool]) -> Iterator[HarnessResult]:
    """Yield the results that are numbers; others are left out with a warning."""
    for key, value in values.items():
        metric, _, filter_name = key.partition(",")
        if key in INTERNAL or metric.endswith("_stderr"):
            continue
        if not _is_number(value):
            logger.warning("the harness's %s is not a number and is left out: %r", key, value)
            continue
        stderr = values.get(f"{metric}_stderr,{filter_name}")
        error = float(stderr) if _is_number(stderr) else None
        yield HarnessResult(metric, filter_name, float(value), error, higher_is_better.get(metric))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _first_line(err: Exception) -> str:
    return f"{type(err).__name__}: {str(err).strip().partition(chr(10))[0]}"
