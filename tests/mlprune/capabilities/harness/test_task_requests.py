"""Rows of documents and requests of the harness."""

import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from mlprune.capabilities.harness import task_requests
from mlprune.capabilities.harness.task_requests import (
    HarnessTask,
    document_row,
    load_tasks,
    plain_value,
    request_row,
    requests_sha256,
    run_task,
)
from mlprune.errors import TaskFileError
from tests.harness_tasks import N_DOCUMENTS, TASKS, documents, task_files
from tests.refusals import refused


def request(kind: str, arguments: tuple[Any, ...], answer: object) -> SimpleNamespace:
    return SimpleNamespace(doc_id=3, idx=1, request_type=kind, args=arguments, resps=[answer])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((-1.5, True), (-1.5, True, None)), (-2.0, (-2.0, None, None)), ("yes", (None, None, "yes"))],
)
def test_an_answer_is_a_likelihood_with_or_without_a_flag_or_a_text(
    answer: object, expected: tuple[float | None, bool | None, str | None]
) -> None:
    row = request_row(request("kind", ("Q:", " yes"), answer))
    assert (row["log_likelihood"], row["is_greedy"], row["output"]) == expected
    assert (row["doc_id"], row["request_index"], row["context"], row["continuation"]) == (3, 1, "Q:", " yes")


def test_a_request_without_a_continuation_has_none() -> None:
    assert request_row(request("loglikelihood_rolling", ("text",), -1.0))["continuation"] is None


def test_a_document_and_its_metrics_are_json_with_sorted_keys() -> None:
    sample = {"doc_id": 2, "filter": "none", "target": 1, "doc": {"b": "é", "a": np.int64(4)}, "metrics": ["acc"]}
    row = document_row({**sample, "acc": np.float64(0.5)})
    assert row == {
        "doc_id": 2,
        "filter": "none",
        "target": "1",
        "document": '{"a": 4, "b": "é"}',
        "metrics": '{"acc": 0.5}',
    }


def test_values_without_a_json_type_become_plain() -> None:
    assert plain_value({"set": {2, 1}, "array": np.arange(2), "function": len, "nan": float("nan")}) == {
        "set": [1, 2],
        "array": [0, 1],
        "function": "len",
        "nan": "NaN",
    }


pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install -e '.[harness]'")


class Parrot(LM):
    """Model that prefers longer continuations and repeats its prompts."""

    def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
        return [(float(len(request.args[1])), len(request.args[1]) > 4) for request in requests]

    def loglikelihood_rolling(self, requests: Any) -> list[float]:
        return [-float(len(request.args[0])) for request in requests]

    def generate_until(self, requests: Any) -> list[str]:
        return [request.args[0] for request in requests]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return task_files(tmp_path_factory.mktemp("harness") / "tasks")


@pytest.fixture(scope="module")
def loaded(folder: Path) -> dict[str, HarnessTask]:
    return {task.name: task for task in load_tasks(TASKS, include_path=folder)}


def test_metrics_are_those_of_the_answers(loaded: dict[str, HarnessTask]) -> None:
    run = run_task(Parrot(), loaded["local_choice"], limit=None)
    right = 0
    for document in documents():
        lengths = [len(choice) for choice in document["choices"]]
        right += lengths.index(max(lengths)) == document["answer"]
    results = {result.metric: result for result in run.results}
    assert results["acc"].value == pytest.approx(right / N_DOCUMENTS)
    assert (results["acc"].filter, results["acc"].higher_is_better, run.n_documents) == ("none", True, N_DOCUMENTS)
    assert results["acc"].stderr is not None
    assert set(results) == {"acc", "acc_norm"}


def test_every_request_and_document_is_stored(loaded: dict[str, HarnessTask]) -> None:
    run = run_task(Parrot(), loaded["local_choice"], limit=None)
    asked = [
        (n, index, f" {choice}")
        for n, document in enumerate(documents())
        for index, choice in enumerate(document["choices"])
    ]
    assert [(row["doc_id"], row["request_index"], row["continuation"]) for row in run.requests] == asked
    assert [row["log_likelihood"] for row in run.requests] == [len(continuation) for _, _, continuation in asked]
    assert [row["is_greedy"] for row in run.requests] == [len(continuation) > 4 for _, _, continuation in asked]
    assert {row["output"] for row in run.requests} == {None}
    assert [row["doc_id"] for row in run.documents] == list(range(N_DOCUMENTS))
    assert documents()[1]["question"] in run.documents[1]["document"]
    assert '"acc": ' in run.documents[0]["metrics"]


def test_scored_and_generated_texts_are_stored_separately(loaded: dict[str, HarnessTask]) -> None:
    text = run_task(Parrot(), loaded["local_text"], limit=2).requests[1]
    assert (text["context"], text["log_likelihood"]) == (documents()[1]["text"], -len(documents()[1]["text"]))
    assert text["continuation"] is text["is_greedy"] is text["output"] is None
    made = run_task(Parrot(), loaded["local_made"], limit=2).requests[1]
    assert made["output"] == made["context"]
    assert made["log_likelihood"] is None
    assert '"until": ["e"]' in made["continuation"]


def test_a_limit_takes_documents_from_the_start(loaded: dict[str, HarnessTask]) -> None:
    run = run_task(Parrot(), loaded["local_choice"], limit=2)
    assert {row["doc_id"] for row in run.requests} == {0, 1}
    assert run.n_documents == 2


def test_the_same_shots_are_drawn_every_time(loaded: dict[str, HarnessTask]) -> None:
    task = loaded["local_made"]
    assert task.n_shots == 1
    first, second = (run_task(Parrot(), task, limit=None).requests for _ in range(2))
    assert first == second
    assert requests_sha256(task, limit=None) == requests_sha256(task, limit=None)


def test_shots_can_be_set_unless_the_task_forbids_them(folder: Path) -> None:
    assert [task.n_shots for task in load_tasks(["local_made"], include_path=folder, num_fewshot=2)] == [2]


def test_random_states_are_restored_after_a_task(loaded: dict[str, HarnessTask]) -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    expected = draws()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    run_task(Parrot(), loaded["local_made"], limit=1)
    assert draws() == expected


def test_tasks_write_nothing_to_stdout(loaded: dict[str, HarnessTask], capfd: pytest.CaptureFixture[str]) -> None:
    run_task(Parrot(), loaded["local_score"], limit=None)
    sys.stdout.flush()
    assert capfd.readouterr().out == ""


def test_the_content_of_the_data_identifies_a_task_and_their_location_does_not(
    folder: Path, loaded: dict[str, HarnessTask], tmp_path: Path
) -> None:
    elsewhere = task_files(tmp_path / "elsewhere")
    (moved,) = load_tasks(["local_choice"], include_path=elsewhere)
    here = loaded["local_choice"]
    assert moved.config_sha256 == here.config_sha256
    assert requests_sha256(moved, limit=None) == requests_sha256(here, limit=None)
    assert requests_sha256(moved, limit=2) != requests_sha256(here, limit=None)
    data = elsewhere / "documents.jsonl"
    data.write_text(data.read_text(encoding="utf-8").replace("blue", "pink"), encoding="utf-8")
    (changed,) = load_tasks(["local_choice"], include_path=elsewhere)
    assert requests_sha256(changed, limit=None) != requests_sha256(here, limit=None)


def test_another_way_to_compute_metrics_is_another_task(
    folder: Path, loaded: dict[str, HarnessTask], tmp_path: Path
) -> None:
    settings = yaml.safe_load((folder / "local_choice.yaml").read_text(encoding="utf-8"))
    settings["metric_list"] = settings["metric_list"][:1]
    (tmp_path / "local_choice.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    (changed,) = load_tasks(["local_choice"], include_path=tmp_path)
    assert changed.config_sha256 != loaded["local_choice"].config_sha256


def test_the_error_for_an_unknown_task_suggests_similar_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def own_tasks_only(include_path: str, *, include_defaults: bool = True) -> TaskManager:
        return TaskManager(include_path=include_path, include_defaults=False)

    monkeypatch.setattr(task_requests, "TaskManager", own_tasks_only)  # the harness has thousands of files to read
    with refused(TaskFileError, got="local_choise", nearest="local_choice, local_score, local_text"):
        load_tasks(["local_choise"], include_path=folder)


@pytest.mark.parametrize(
    "changes",
    [{"dataset_kwargs": {"data_files": {"test": "nowhere.jsonl"}}}, {"test_split": "exam"}, {"output_type": "magic"}],
)
def test_a_task_that_cannot_be_loaded_raises_one_error(folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = yaml.safe_load((folder / "local_choice.yaml").read_text(encoding="utf-8"))
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump({**settings, "task": "broken", **changes}), encoding="utf-8")
    with refused(TaskFileError, task="broken"):
        requests_sha256(load_tasks(["broken"], include_path=tmp_path)[0], limit=None)


def test_a_task_that_fails_while_it_runs_raises_one_error(folder: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((folder / "local_choice.yaml").read_text(encoding="utf-8"))
    settings |= {"task": "failing", "doc_to_text": "{{question / 0}}"}
    (tmp_path / "failing.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with refused(TaskFileError, task="failing"):
        run_task(Parrot(), load_tasks(["failing"], include_path=tmp_path)[0], limit=None)
