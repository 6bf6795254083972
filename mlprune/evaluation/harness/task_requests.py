"""The tasks of lm-evaluation-harness: found by name, loaded, run on a model, their results as plain rows.

Data come from local files where a task's YAML says so, else from a hub, which only then has to be reached. A task may
bring Python code along, and it runs: that of the installed harness, and that in a folder the user names; none comes
from a hub. Tasks that execute what a model writes are refused.
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

SEEDS = {"random": 0, "numpy": 1234, "torch": 1234, "fewshot": 1234}
"""The harness's own defaults."""
BOOTSTRAP = 1000
"""Resamples of the standard errors that have no formula."""
PLACES = ("dataset_path", "dataset_name", "dataset_kwargs", "task_alias", "tag")
"""What a task's YAML says of where its data lie: no part of what it is, its requests are."""
INTERNAL = ("name", "alias", "sample_len")
"""Keys of the harness's results that are no metrics."""


@dataclass(frozen=True)
class HarnessTask:
    """A task, loaded."""

    name: str
    version: str
    config_sha256: str
    """Of its YAML as the harness resolves it, code included, but for where its data lie."""
    n_shots: int
    task: Any
    """The harness's own object."""


@dataclass(frozen=True)
class HarnessResult:
    """One metric of a task."""

    metric: str
    filter: str
    """Which of the task's filters of answers it is computed behind; `none` is the plain one."""
    value: float
    stderr: float | None
    higher_is_better: bool | None


@dataclass(frozen=True)
class HarnessRun:
    """What a model made of a task."""

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
    """Load tasks, the members of groups and tags in their place.

    Args:
        names: of tasks, groups or tags.
        include_path: folder of the user's own task files; those go before the harness's.
        num_fewshot: shots, where a task does not fix them at 0; by default what each task says.
    Raises:
        TaskFileError: there is no such task, or it or its data cannot be loaded.
    """
    manager = _manager(names, include_path)
    loaded: dict[str, Any] = {}
    for name in names:
        with _quietly():
            try:
                loaded |= manager.load([name])["tasks"]
            except Exception as err:  # a task's YAML, code and data fail in whatever way they fail
                raise TaskFileError("a task cannot be loaded", task=name, reason=_first_line(err)) from err
    return [_prepared(name, task, num_fewshot) for name, task in loaded.items()]


def requests_sha256(task: HarnessTask, *, limit: int | None) -> str:
    """SHA-256 over everything that is asked of a model in a task, in order, and the documents it is asked about.

    Raises:
        TaskFileError: the task's data do not fit it.
    """
    asked = _built(task, limit=limit)
    return digest([[one.doc_id, one.idx, one.request_type, _plain(one.args), _plain(one.doc)] for one in asked])


def run_task(model: LM, task: HarnessTask, *, limit: int | None) -> HarnessRun:
    """Ask a model everything of a task, and let the harness compute its metrics.

    Args:
        limit: documents from the start of the split; None for all.
    Raises:
        TaskFileError: the task's data or code fail.
    """
    _reseed(task)
    with _quietly(), _seeded():
        try:
            found = evaluate(model, {"tasks": {task.name: task.task}}, limit=limit, bootstrap_iters=BOOTSTRAP)
        except MlpruneError:
            raise
        except Exception as err:  # as in load_tasks
            raise TaskFileError("a task fails", task=task.name, reason=_first_line(err)) from err
    samples = found["samples"][task.name]
    return HarnessRun(
        results=tuple(_results(found["results"][task.name], found["higher_is_better"].get(task.name) or {})),
        documents=tuple(_document_row(sample) for sample in samples),
        requests=tuple(_request_row(request) for request in task.task.instances),
        n_documents=len({sample["doc_id"] for sample in samples}),
    )


def _manager(names: Sequence[str], include_path: Path | None) -> TaskManager:
    """An index that has all names; the harness's own tasks, thousands of files, are read where one is asked for."""
    with _quietly():
        if include_path is not None:
            own = TaskManager(include_path=str(include_path), include_defaults=False)
            if set(names) <= set(own.all_tasks):
                return own
        manager = TaskManager(include_path=None if include_path is None else str(include_path))
    for name in names:
        if name not in manager.all_tasks:
            raise unknown("task of the evaluation harness", name, manager.all_tasks, error=TaskFileError, n_nearest=3)
    return manager


def _prepared(name: str, task: Any, num_fewshot: int | None) -> HarnessTask:
    """A task with its number of shots settled, by the harness's rule."""
    own = task.get_config("num_fewshot")
    if num_fewshot is not None and own != 0:
        task.set_config(key="num_fewshot", value=num_fewshot)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    config = {key: _plain(value) for key, value in task.dump_config().items() if key not in PLACES}
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
    """Draw the same shots whenever the requests are built."""
    task.task.set_fewshot_seed(seed=SEEDS["fewshot"])


@contextmanager
def _seeded() -> Iterator[None]:
    """The harness's seeds, for code of tasks that draws; what was drawn from before is put back."""
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
    """stdout is for results, and standard errors are computed in this process: forks do not go with threads."""
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


def _results(found: Mapping[str, object], higher_is_better: Mapping[str, bool]) -> Iterator[HarnessResult]:
    """The numbers among the results; what is none is left out with a warning."""
    for key, value in found.items():
        metric, _, filter_name = key.partition(",")
        if key in INTERNAL or metric.endswith("_stderr"):
            continue
        if not _is_number(value):
            logger.warning("the harness's %s is no number and is left out: %r", key, value)
            continue
        stderr = found.get(f"{metric}_stderr,{filter_name}")
        error = float(stderr) if _is_number(stderr) else None
        yield HarnessResult(metric, filter_name, float(value), error, higher_is_better.get(metric))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _document_row(sample: Mapping[str, Any]) -> dict[str, JsonValue]:
    return {
        "doc_id": int(sample["doc_id"]),
        "filter": str(sample["filter"]),
        "target": _text(sample["target"]),
        "document": _text(_plain(sample["doc"])),
        "metrics": _text(_plain({name: sample[name] for name in sample["metrics"]})),
    }


def _request_row(request: Any) -> dict[str, JsonValue]:
    """One request with its first answer: a number and a flag, a number alone, or a text."""
    answer = request.resps[0]
    is_pair, is_text = isinstance(answer, tuple), isinstance(answer, str)
    return {
        "doc_id": int(request.doc_id),
        "request_index": int(request.idx),
        "kind": str(request.request_type),
        "context": str(request.args[0]),
        "continuation": _text(_plain(request.args[1])) if len(request.args) > 1 else None,
        "log_likelihood": None if is_text else float(answer[0] if is_pair else answer),
        "is_greedy": bool(answer[1]) if is_pair else None,
        "output": answer if is_text else None,
    }


def _text(value: object) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _plain(value: object) -> Any:
    """A value as JSON has it: what JSON does not have becomes text."""
    return json.loads(json.dumps(value, default=_unknown, sort_keys=True), parse_constant=str)


def _unknown(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else value.tolist()
    return getattr(value, "__name__", None) or str(value)


def _first_line(err: Exception) -> str:
    return f"{type(err).__name__}: {str(err).strip().partition(chr(10))[0]}"
